from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from tests.sql.helpers import Engine, everything, refused, second_session
from tests.sql.parents import Parents

WEEK = 604_800.0


def prune(engine: Engine, keep_seconds: float = 0, **arguments: Any) -> tuple[Any, ...]:
    """Prune: removed, last id looked at, more."""
    [row] = engine.call("prune", keep_seconds=keep_seconds, **arguments)
    return row["pruned"], row["last_job_id"], row["more"]


def ended(engine: Engine, outcome: str = "completed", **item: Any) -> UUID:
    lease = engine.hold("trade", **item)
    engine.finish(lease, outcome)
    job_id: UUID = lease["job_id"]
    return job_id


def test_jobs_that_ended_long_ago_are_removed_with_all_they_left(engine: Engine) -> None:
    jobs = [ended(engine, outcome) for outcome in ("completed", "rejected", "cancelled")]
    expired = engine.enqueue(expires_in=1)
    engine.clock.advance(1)
    engine.sweep()
    engine.clock.advance(WEEK + 1)
    assert prune(engine, WEEK) == (4, max([*jobs, expired]), False)
    tables = ("job", "ready", "lease", "ended", "failure", "live_key")
    assert [engine.size(table) for table in tables] == [0] * 6


def test_what_ended_within_the_time_stays(engine: Engine) -> None:
    job_id = ended(engine)
    engine.clock.advance(WEEK)
    assert prune(engine, WEEK)[0] == 0
    engine.clock.advance(0.001)
    assert prune(engine, WEEK)[0] == 1
    assert engine.call("get", job_ids=[job_id]) == []


def test_the_age_counts_from_the_end_not_from_the_beginning(engine: Engine) -> None:
    lease = engine.hold("trade")
    engine.clock.advance(WEEK)
    engine.finish(lease, "completed")
    engine.clock.advance(WEEK)
    assert prune(engine, WEEK)[0] == 0


def test_jobs_that_live_stay_whatever_their_age(engine: Engine) -> None:
    engine.enqueue(queue="a")
    engine.hold("work", started=False)
    engine.hold("trade")
    before = everything(engine.db)
    engine.clock.advance(10 * WEEK)
    assert prune(engine) == (0, None, False)
    assert everything(engine.db) == before


def test_unknown_and_unsettled_jobs_stay_whatever_their_age(
    engine: Engine, parents: Parents
) -> None:
    unknown = ended(engine, "unknown", input=parents.add("p"))
    parents.break_("p")
    unsettled = ended(engine, "completed", input={"parent": "p"})
    engine.clock.advance(10 * WEEK)
    before = everything(engine.db)
    assert prune(engine) == (0, max(unknown, unsettled), False)
    assert everything(engine.db) == before
    parents.mend()
    engine.sweep()
    lease = {"job_id": unknown, "lease_epoch": 1}
    assert engine.finish(lease, "completed") == ("ok", "completed")
    engine.clock.advance(1)
    assert prune(engine)[0] == 2


def test_a_parent_that_is_gone_is_no_bar(engine: Engine, parents: Parents) -> None:
    ended(engine, input={"parent": "gone"})
    engine.clock.advance(1)
    assert prune(engine)[0] == 1


def test_a_dedup_key_is_free_again(engine: Engine) -> None:
    first = ended(engine, dedup_key="a")
    [row] = engine.call("enqueue", job_types=["work"], dedup_keys=["a"])
    assert (row["job_id"], row["verdict"]) == (first, "duplicate")
    engine.clock.advance(1)
    prune(engine)
    [row] = engine.call("enqueue", job_types=["work"], dedup_keys=["a"])
    assert row["verdict"] == "ok"
    assert row["job_id"] != first


def test_pruning_walks_on_with_p_after(engine: Engine) -> None:
    # The unknown ones stay: without p_after each call would meet them again.
    engine.enqueue_many(6, "trade")
    leases = engine.claim(6)
    outcomes = ["unknown", "completed", "unknown", "unknown", "completed", "completed"]
    for lease, outcome in zip(leases, outcomes, strict=True):
        engine.finish(lease, outcome)
    engine.clock.advance(1)
    job_ids = [lease["job_id"] for lease in leases]
    assert prune(engine, limit=2) == (1, job_ids[1], True)
    assert prune(engine, limit=2, after=job_ids[1]) == (0, job_ids[3], True)
    assert prune(engine, limit=2, after=job_ids[3]) == (2, job_ids[5], True)
    assert prune(engine, limit=2, after=job_ids[5]) == (0, None, False)
    assert engine.size("job") == 3


def test_rows_that_others_hold_are_skipped(engine: Engine) -> None:
    held, free = ended(engine), ended(engine)
    engine.clock.advance(1)
    with second_session(engine.db) as other, other.transaction():
        other.execute("select from jobengine.ended where job_id = %s for update", (held,))
        assert prune(engine) == (1, free, False)
    assert prune(engine) == (1, held, False)


@pytest.mark.parametrize(
    "arguments, field",
    [
        ({"keep_seconds": None}, "keep_seconds"),
        ({"keep_seconds": -1}, "keep_seconds"),
        ({"keep_seconds": 315360001}, "keep_seconds"),
        ({"keep_seconds": float("nan")}, "keep_seconds"),
        ({"keep_seconds": 1, "limit": 0}, "limit"),
        ({"keep_seconds": 1, "limit": 100001}, "limit"),
        ({"keep_seconds": 1, "limit": None}, "limit"),
    ],
)
def test_broken_arguments_are_refused(
    engine: Engine, arguments: dict[str, Any], field: str
) -> None:
    assert refused(engine.db, "prune", **arguments) == (field, None)
