"""Reports that come twice, late, or from somebody who is no longer the holder."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from tests.sql.helpers import NOBODY, Engine, after, everything, named

OUTCOMES = ["completed", "failed", "rejected", "snooze", "cancelled", "unknown"]


def repeat(engine: Engine, lease: DictRow, outcome: str) -> tuple[str, str | None]:
    """Report what must change nothing."""
    before = everything(engine.db)
    answer = engine.finish(lease, outcome, output=Jsonb("late"), error_code="late")
    assert everything(engine.db) == before
    return answer


@pytest.mark.parametrize(
    "job_type, first, same",
    [
        ("work", "completed", {"completed"}),
        ("work", "rejected", {"failed", "rejected", "unknown"}),
        ("work", "cancelled", {"cancelled"}),
        ("trade", "completed", {"completed"}),
        ("trade", "failed", {"failed", "rejected"}),
        ("trade", "cancelled", {"cancelled"}),
    ],
)
@pytest.mark.parametrize("outcome", OUTCOMES)
def test_a_repeat_of_an_end_is_a_duplicate_another_outcome_a_conflict(
    engine: Engine, job_type: str, first: str, same: set[str], outcome: str
) -> None:
    lease = engine.hold(job_type)
    verdict, status = engine.finish(lease, first)
    assert verdict == "ok"
    assert repeat(engine, lease, outcome) == (
        "duplicate" if outcome in same else "conflict",
        status,
    )


def wait_again(engine: Engine, lease: DictRow) -> str | None:
    return None


def take_again(engine: Engine, lease: DictRow) -> str | None:
    engine.take(lease["job_id"])
    return None


def complete(engine: Engine, lease: DictRow) -> str | None:
    engine.finish(engine.take(lease["job_id"]), "completed")
    return "completed"


def cancel(engine: Engine, lease: DictRow) -> str | None:
    engine.cancel(lease["job_id"])
    return "cancelled"


def expire(engine: Engine, lease: DictRow) -> str | None:
    engine.clock.advance(1000)
    engine.sweep()
    return "expired"


def redrive(engine: Engine, lease: DictRow) -> str | None:
    engine.cancel(lease["job_id"])
    engine.retry(lease["job_id"])
    return None


MEANWHILE = [wait_again, take_again, complete, cancel, expire, redrive]


@pytest.mark.parametrize("meanwhile", MEANWHILE)
@pytest.mark.parametrize("outcome", ["failed", "rejected", "unknown"])
def test_a_repeat_of_a_retried_failure_is_a_duplicate_whatever_came_after(
    engine: Engine, meanwhile: Callable[[Engine, DictRow], str | None], outcome: str
) -> None:
    lease = engine.hold(expires_in=1000)
    engine.finish(lease, "failed", delay=0)
    status = meanwhile(engine, lease)
    assert repeat(engine, lease, outcome) == ("duplicate", status)


@pytest.mark.parametrize("meanwhile", [wait_again, take_again, complete, redrive])
@pytest.mark.parametrize("outcome", ["completed", "snooze", "cancelled"])
def test_no_stale_effect_after_a_retried_failure(
    engine: Engine, meanwhile: Callable[[Engine, DictRow], str | None], outcome: str
) -> None:
    lease = engine.hold()
    engine.finish(lease, "failed", delay=0)
    status = meanwhile(engine, lease)
    assert repeat(engine, lease, outcome) == ("stale_lease", status)


@pytest.mark.parametrize("outcome", ["failed", "rejected", "unknown"])
def test_a_failure_that_ended_cancelled_is_a_duplicate_when_repeated(
    engine: Engine, outcome: str
) -> None:
    lease = engine.hold()
    engine.cancel(lease["job_id"])
    assert engine.finish(lease, "failed") == ("ok", "cancelled")
    assert repeat(engine, lease, outcome) == ("duplicate", "cancelled")
    assert repeat(engine, lease, "cancelled") == ("duplicate", "cancelled")
    assert repeat(engine, lease, "completed") == ("conflict", "cancelled")


def snooze(engine: Engine, lease: DictRow) -> None:
    engine.finish(lease, "snooze")


def release(engine: Engine, lease: DictRow) -> None:
    engine.verdict("release", lease)


def lose(engine: Engine, lease: DictRow) -> None:
    engine.clock.advance(60)
    engine.sweep()


def lose_and_take(engine: Engine, lease: DictRow) -> None:
    lose(engine, lease)
    engine.clock.advance(2)
    engine.take(lease["job_id"])


@pytest.mark.parametrize("meanwhile", [snooze, release, lose, lose_and_take])
@pytest.mark.parametrize("outcome", OUTCOMES)
def test_no_stale_effect(
    engine: Engine, meanwhile: Callable[[Engine, DictRow], None], outcome: str
) -> None:
    lease = engine.hold()
    meanwhile(engine, lease)
    assert repeat(engine, lease, outcome) == ("stale_lease", None)
    assert repeat(engine, {**lease, "lease_epoch": 99}, outcome) == ("stale_lease", None)


def test_no_stale_effect_of_a_lapsed_lease(engine: Engine) -> None:
    lease = engine.hold(started=False, expires_in=10)
    engine.clock.advance(10)
    engine.verdict("start", lease)
    for outcome in OUTCOMES:
        assert repeat(engine, lease, outcome) == ("stale_lease", None)


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_a_job_that_does_not_exist_is_not_found(engine: Engine, outcome: str) -> None:
    assert repeat(engine, {"job_id": NOBODY, "lease_epoch": 1}, outcome) == ("not_found", None)


def report_unknown(engine: Engine) -> DictRow:
    """Return the lease of a trade whose holder does not know what became of it."""
    lease = engine.hold("trade")
    assert engine.finish(lease, "unknown", error_code="E1") == ("ok", "unknown")
    return lease


def vanish(engine: Engine) -> DictRow:
    """Return the lease of a trade whose holder was never heard of again."""
    lease = engine.hold("trade")
    lose(engine, lease)
    assert engine.status(lease["job_id"]) == "unknown"
    return lease


both = pytest.mark.parametrize("become_unknown", [report_unknown, vanish])


@both
@pytest.mark.parametrize(
    "outcome, status", [("completed", "completed"), ("failed", "failed"), ("rejected", "failed")]
)
def test_an_unknown_job_is_resolved_by_its_newest_lease_however_late(
    engine: Engine, become_unknown: Callable[[Engine], DictRow], outcome: str, status: str
) -> None:
    lease = become_unknown(engine)
    engine.clock.advance(1_000_000)
    answer = engine.finish(lease, outcome, output=Jsonb([1]), error_code="E2", error_message="late")
    assert answer == ("ok", status)
    job = engine.job(lease["job_id"])
    assert (job["status"], job["output"]) == (status, [1])
    assert (job["error_code"], job["error_message"]) == ("E2", "late")
    assert job["finished_at"] >= after(1_000_000)
    assert repeat(engine, lease, outcome) == ("duplicate", status)
    other = "failed" if status == "completed" else "completed"
    assert repeat(engine, lease, other) == ("conflict", status)
    assert len(engine.rows("failure", lease["job_id"])) == 1


@both
def test_an_unknown_job_stays_so_after_other_reports(
    engine: Engine, become_unknown: Callable[[Engine], DictRow]
) -> None:
    lease = become_unknown(engine)
    assert repeat(engine, lease, "unknown") == ("duplicate", "unknown")
    assert repeat(engine, lease, "snooze") == ("conflict", "unknown")
    assert repeat(engine, lease, "cancelled") == ("conflict", "unknown")
    for epoch in (0, 2, 99):
        answer = repeat(engine, {**lease, "lease_epoch": epoch}, "completed")
        assert answer == ("stale_lease", "unknown")


def test_no_stale_effect_of_an_older_lease_on_an_unknown_job(engine: Engine) -> None:
    old = engine.hold("trade", started=False)
    lose(engine, old)
    new = engine.take(old["job_id"])
    lose(engine, new)
    assert repeat(engine, old, "completed") == ("stale_lease", "unknown")
    assert engine.finish(new, "completed") == ("ok", "completed")


@pytest.mark.parametrize(
    "job_type, outcomes, answers",
    [
        ("work", ["completed"] * 2, [("ok", "completed"), ("duplicate", "completed")]),
        ("work", ["completed", "failed"], [("ok", "completed"), ("conflict", "completed")]),
        ("work", ["failed"] * 2, [("retried", "pending"), ("duplicate", None)]),
        ("work", ["failed", "completed"], [("retried", "pending"), ("stale_lease", None)]),
        ("work", ["snooze"] * 2, [("retried", "pending"), ("stale_lease", None)]),
        ("trade", ["unknown", "completed"], [("ok", "unknown"), ("ok", "completed")]),
    ],
)
def test_of_one_lease_twice_in_a_batch_the_first_counts(
    engine: Engine, job_type: str, outcomes: list[str], answers: list[tuple[str, str | None]]
) -> None:
    engine.enqueue_many(100, job_type)
    leases = engine.claim(100)
    rows = engine.call(
        "finish",
        **named(*leases[::-1], *leases),
        outcomes=[outcomes[0]] * 100 + [outcomes[1]] * 100,
    )
    rows.sort(key=lambda row: row["item"])
    given = [(row["verdict"], row["status"]) for row in rows]
    assert given == [answers[0]] * 100 + [answers[1]] * 100


def test_of_two_resolutions_in_a_batch_the_first_counts(engine: Engine) -> None:
    lease = report_unknown(engine)
    outcomes = ["snooze", "failed", "completed", "failed"]
    rows = engine.call("finish", **named(*[lease] * 4), outcomes=outcomes)
    rows.sort(key=lambda row: row["item"])
    assert [(row["verdict"], row["status"]) for row in rows] == [
        ("conflict", "failed"),
        ("ok", "failed"),
        ("conflict", "failed"),
        ("duplicate", "failed"),
    ]


def test_two_leases_of_one_job_in_a_batch(engine: Engine) -> None:
    old = engine.hold()
    engine.verdict("release", old)
    new = engine.take(old["job_id"])
    rows = engine.call("finish", **named(old, new), outcomes=["failed", "completed"])
    assert {row["item"]: row["verdict"] for row in rows} == {1: "stale_lease", 2: "ok"}
    assert engine.status(old["job_id"]) == "completed"
