from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from psycopg.rows import DictRow

from tests.sql.helpers import ANNA, BERT, NOBODY, Engine, after, everything, refused
from tests.sql.parents import Parents

OK = ("ok", "pending")


def failed(engine: Engine, **item: Any) -> DictRow:
    """Return the lease of a job that failed in its second attempt, the first having been lost."""
    lease = engine.hold("work", **item)
    engine.clock.advance(60)
    engine.sweep()
    engine.clock.advance(2)
    lease = engine.take(lease["job_id"])
    assert engine.finish(lease, "rejected", error_code="E1") == ("ok", "failed")
    return lease


def cancelled(engine: Engine) -> UUID:
    job_id = engine.enqueue()
    engine.cancel(job_id)
    return job_id


def expired(engine: Engine) -> UUID:
    job_id = engine.enqueue(expires_in=1)
    engine.clock.advance(1)
    engine.sweep()
    return job_id


def test_a_failed_job_waits_again_with_all_its_attempts_and_its_epoch(engine: Engine) -> None:
    lease = failed(engine, priority=2, queue="a", tenant_id=ANNA)
    assert engine.retry(lease["job_id"]) == [OK]
    [ready] = engine.rows("ready", lease["job_id"])
    assert ready == {
        "job_id": lease["job_id"],
        "tenant_id": ANNA,
        "queue": "a",
        "priority": 2,
        "run_at": after(62),
        "attempt": 0,
        "lease_epoch": 2,
        "lost": 0,
        "expires_at": None,
    }
    assert engine.size("ended") == 0
    assert len(engine.rows("failure", lease["job_id"])) == 2
    again = engine.take(lease["job_id"])
    assert (again["attempt"], again["lease_epoch"]) == (1, 3)
    assert engine.finish(again, "completed") == ("ok", "completed")


def test_no_stale_effect_of_an_old_lease_after_a_retry(engine: Engine) -> None:
    lease = failed(engine)
    engine.retry(lease["job_id"])
    before = everything(engine.db)
    assert engine.finish(lease, "completed") == ("stale_lease", None)
    assert engine.finish(lease, "rejected") == ("duplicate", None)
    assert engine.verdict("extend", lease) == "stale_lease"
    assert everything(engine.db) == before


def test_cancelled_and_expired_jobs_wait_again(engine: Engine) -> None:
    job_ids = [cancelled(engine), expired(engine)]
    assert engine.retry(*job_ids) == [OK] * 2
    assert len(engine.claim(10)) == 2


def test_run_at_and_expires_at_are_taken(engine: Engine) -> None:
    job_id = expired(engine)
    engine.retry(job_id, run_at=after(50), expires_at=after(60))
    job = engine.job(job_id)
    assert (job["run_at"], job["expires_at"]) == (after(50), after(60))


@pytest.mark.parametrize("outcome, status", [("completed", "completed"), ("unknown", "unknown")])
def test_completed_and_unknown_jobs_are_a_conflict(
    engine: Engine, outcome: str, status: str
) -> None:
    lease = engine.hold("trade")
    engine.finish(lease, outcome)
    before = everything(engine.db)
    assert engine.retry(lease["job_id"]) == [("conflict", status)]
    assert everything(engine.db) == before


def test_jobs_that_live_are_a_conflict(engine: Engine) -> None:
    pending, claimed, running = [engine.enqueue(queue=f"q{n}") for n in range(3)]
    engine.take(claimed, started=False)
    engine.take(running)
    before = everything(engine.db)
    assert engine.retry(pending, claimed, running) == [
        ("conflict", "pending"),
        ("conflict", "claimed"),
        ("conflict", "running"),
    ]
    assert everything(engine.db) == before


def test_a_lapsed_job_is_a_conflict_until_the_sweep_has_ended_it(engine: Engine) -> None:
    job_id = engine.enqueue(expires_in=1)
    engine.clock.advance(1)
    engine.claim()
    assert engine.retry(job_id) == [("conflict", "expired")]
    engine.sweep()
    assert engine.retry(job_id) == [OK]


def test_a_second_retry_is_a_conflict(engine: Engine) -> None:
    job_id = cancelled(engine)
    assert engine.retry(job_id) == [OK]
    assert engine.retry(job_id) == [("conflict", "pending")]


def test_each_id_is_answered_once(engine: Engine) -> None:
    job_id = cancelled(engine)
    rows = engine.call("retry", job_ids=[NOBODY, job_id, job_id, NOBODY])
    assert {row["job_id"]: (row["verdict"], row["status"]) for row in rows} == {
        job_id: OK,
        NOBODY: ("not_found", None),
    }
    assert len(rows) == 2


def test_tenant_isolated_jobs_of_another_tenant_are_not_found(engine: Engine) -> None:
    lease = failed(engine, tenant_id=BERT)
    before = everything(engine.db)
    assert engine.retry(lease["job_id"], tenant_id=ANNA) == [("not_found", None)]
    assert everything(engine.db) == before
    assert engine.retry(lease["job_id"], tenant_id=BERT) == [OK]


def test_the_live_key_is_taken_again(engine: Engine) -> None:
    lease = failed(engine, live_key="a")
    engine.retry(lease["job_id"])
    [row] = engine.call("enqueue", job_types=["work"], live_keys=["a"])
    assert (row["job_id"], row["verdict"]) == (lease["job_id"], "duplicate")


def test_a_live_key_that_another_job_has_is_a_conflict(engine: Engine) -> None:
    lease = failed(engine, live_key="a")
    engine.enqueue(live_key="a")
    before = everything(engine.db)
    assert engine.retry(lease["job_id"]) == [("conflict", "failed")]
    assert everything(engine.db) == before


def test_of_two_jobs_with_one_live_key_the_first_gets_it(engine: Engine) -> None:
    jobs = [failed(engine, live_key="a")["job_id"] for _ in range(2)]
    plain = cancelled(engine)
    answers = engine.retry(*jobs[::-1], plain)
    assert answers == [("conflict", "failed"), OK, OK]
    assert engine.size("live_key") == 1


def test_an_unsettled_job_is_a_conflict(engine: Engine, parents: Parents) -> None:
    job_id = engine.enqueue(input=parents.add("p"))
    parents.break_("p")
    engine.cancel(job_id)
    parents.mend()
    before = everything(engine.db)
    assert engine.retry(job_id) == [("conflict", "cancelled")]
    assert everything(engine.db) == before
    engine.clock.advance(2)
    assert engine.sweep() == (0, 0, 1, False)
    assert engine.retry(job_id) == [OK]


def test_the_parents_hear_first_that_a_job_waits_again(engine: Engine, parents: Parents) -> None:
    lease = failed(engine, input=parents.add("p"), meta={"m": 1}, tenant_id=ANNA)
    assert parents.get("p") == (0, "failed")
    assert engine.retry(lease["job_id"]) == [OK]
    assert parents.get("p") == (0, "pending")
    told = parents.told(lease["job_id"])
    del told["call"]
    assert told == {
        "job_id": lease["job_id"],
        "tenant_id": ANNA,
        "job_type": "work",
        "status": "pending",
        "prior_status": "failed",
        "input": {"parent": "p"},
        "output": None,
        "error_code": None,
        "error_message": None,
        "meta": {"m": 1},
        "agent_id": None,
    }


@pytest.mark.parametrize("sqlstate", ["22023", "JE010", "40001", "42501", "55P03"])
def test_settle_failed_changes_nothing(engine: Engine, parents: Parents, sqlstate: str) -> None:
    lease = failed(engine, input=parents.add("p"), live_key="a")
    parents.break_("p", sqlstate)
    before = everything(engine.db)
    assert engine.retry(lease["job_id"]) == [("settle_failed", "failed")]
    assert everything(engine.db) == before
    assert parents.get("p") == (0, "failed")
    parents.mend()
    assert engine.retry(lease["job_id"]) == [OK]


def test_one_refusing_parent_stops_only_its_own_jobs(engine: Engine, parents: Parents) -> None:
    jobs = []
    for name in "abcde":
        parents.add(name)
        jobs.append(engine.enqueue(input={"parent": name}))
        engine.cancel(jobs[-1])
    parents.break_("c")
    answers = engine.retry(*jobs)
    assert answers == [OK, OK, ("settle_failed", "cancelled"), OK, OK]
    assert [parents.get(name)[1] for name in "abcde"] == [
        "pending",
        "pending",
        "cancelled",
        "pending",
        "pending",
    ]


@pytest.mark.parametrize(
    "arguments, field",
    [
        ({"job_ids": None}, "job_ids"),
        ({"job_ids": []}, "job_ids"),
        ({"job_ids": [NOBODY, None]}, "job_ids"),
        ({"job_ids": [NOBODY] * 10001}, "job_ids"),
        ({"job_ids": [NOBODY], "run_at": "infinity"}, "run_at"),
        ({"job_ids": [NOBODY], "run_at": "-infinity"}, "run_at"),
        ({"job_ids": [NOBODY], "expires_at": "infinity"}, "expires_at"),
    ],
)
def test_broken_arguments_are_refused(
    engine: Engine, arguments: dict[str, Any], field: str
) -> None:
    assert refused(engine.db, "retry", **arguments) == (field, None)
