from __future__ import annotations

from typing import Any

import pytest

from tests.sql.helpers import ANNA, NO_TENANT, START, Engine, after, refused, second_session

NOTHING = (0, 0, 0, False)


def test_a_lease_runs_out_at_its_end_not_before(engine: Engine) -> None:
    lease = engine.hold(lease_seconds=30)
    engine.clock.advance(29.999)
    assert engine.sweep() == NOTHING
    assert engine.status(lease["job_id"]) == "running"
    engine.clock.advance(0.001)
    assert engine.sweep() == (1, 0, 0, False)
    assert engine.status(lease["job_id"]) == "pending"
    assert engine.sweep() == NOTHING


def test_a_begun_job_waits_for_the_backoff_with_its_attempt_spent(engine: Engine) -> None:
    lease = engine.hold(tenant_id=ANNA, queue="a", priority=3, expires_in=1000)
    engine.clock.advance(60)
    engine.sweep()
    [ready] = engine.rows("ready", lease["job_id"])
    run_at = ready.pop("run_at")
    assert after(60.8) <= run_at <= after(61.2)
    assert ready == {
        "job_id": lease["job_id"],
        "tenant_id": ANNA,
        "queue": "a",
        "priority": 3,
        "attempt": 1,
        "lease_epoch": 1,
        "lost": 0,
        "expires_at": after(1000),
    }
    [failure] = engine.rows("failure", lease["job_id"])
    assert failure == {
        "job_id": lease["job_id"],
        "lease_epoch": 1,
        "attempt": 1,
        "reported_by": "sweep",
        "agent_id": "agent",
        "error_code": "lease_expired",
        "error_message": None,
        "failed_at": after(60),
    }


@pytest.mark.parametrize("job_type", ["work", "trade"])
def test_a_job_that_was_not_begun_is_back_at_once_with_no_attempt_spent(
    engine: Engine, job_type: str
) -> None:
    lease = engine.hold(job_type, started=False)
    engine.clock.advance(60)
    assert engine.sweep() == (1, 0, 0, False)
    [ready] = engine.rows("ready", lease["job_id"])
    assert (ready["run_at"], ready["attempt"], ready["lease_epoch"]) == (after(60), 0, 1)
    assert ready["lost"] == 1
    assert engine.size("failure") == 0


def test_after_the_last_attempt_the_job_has_failed(engine: Engine) -> None:
    job_id = engine.enqueue(max_attempts=2, live_key="a")
    for _ in range(2):
        engine.take(job_id)
        engine.clock.advance(60)
        answer = engine.sweep()
        engine.clock.advance(2)
    assert answer == (0, 1, 0, False)
    [ended] = engine.rows("ended", job_id)
    assert ended == {
        "job_id": job_id,
        "tenant_id": NO_TENANT,
        "status": "failed",
        "output": None,
        "error_code": "lease_expired",
        "error_message": None,
        "attempt": 2,
        "lease_epoch": 2,
        "agent_id": "agent",
        "claimed_at": after(62),
        "started_at": after(62),
        "finished_at": after(122),
        "settled_status": None,
        "settle_error": None,
        "settle_tries": 0,
        "settle_at": None,
    }
    assert len(engine.rows("failure", job_id)) == 2
    assert engine.size("live_key") == 0


@pytest.mark.parametrize("asked", ["asked", "not asked"])
@pytest.mark.parametrize("attempts", [1, 5])
def test_a_begun_at_most_once_job_becomes_unknown(
    engine: Engine, attempts: int, asked: str
) -> None:
    lease = engine.hold("trade", max_attempts=attempts)
    if asked == "asked":
        engine.cancel(lease["job_id"])
    engine.clock.advance(60)
    assert engine.sweep() == (0, 1, 0, False)
    job = engine.job(lease["job_id"])
    assert (job["status"], job["error_code"]) == ("unknown", "lease_expired")
    [failure] = engine.rows("failure", lease["job_id"])
    assert failure["reported_by"] == "sweep"
    engine.clock.advance(1_000_000)
    assert engine.sweep() == NOTHING
    assert engine.claim(10) == []


def test_a_job_that_was_asked_to_stop_ends_cancelled_instead_of_waiting(engine: Engine) -> None:
    lease = engine.hold()
    engine.cancel(lease["job_id"], reason="enough")
    engine.clock.advance(60)
    assert engine.sweep() == (0, 1, 0, False)
    job = engine.job(lease["job_id"])
    shown = (job["status"], job["error_code"], job["error_message"])
    assert shown == ("cancelled", "cancelled", "enough")


def test_on_its_last_attempt_a_job_that_was_asked_to_stop_has_failed(engine: Engine) -> None:
    lease = engine.hold(max_attempts=1)
    engine.cancel(lease["job_id"])
    engine.clock.advance(60)
    engine.sweep()
    assert engine.status(lease["job_id"]) == "failed"


def lose(engine: Engine, job_id: Any, times: int) -> None:
    for _ in range(times):
        engine.take(job_id, started=False)
        engine.clock.advance(60)
        engine.sweep()


@pytest.mark.parametrize("job_type", ["work", "trade"])
def test_twenty_losses_in_a_row_are_undeliverable(engine: Engine, job_type: str) -> None:
    job_id = engine.enqueue(job_type, max_attempts=1)
    lose(engine, job_id, 19)
    assert engine.status(job_id) == "pending"
    lose(engine, job_id, 1)
    job = engine.job(job_id)
    assert (job["status"], job["error_code"]) == ("failed", "undeliverable")
    [failure] = engine.rows("failure", job_id)
    assert (failure["lease_epoch"], failure["error_code"]) == (20, "undeliverable")
    assert engine.retry(job_id) == [("ok", "pending")]
    lose(engine, job_id, 19)
    assert engine.status(job_id) == "pending"


@pytest.mark.parametrize("reset", ["start", "snooze", "claim in one phase"])
def test_losses_count_from_zero_after(engine: Engine, reset: str) -> None:
    job_id = engine.enqueue("work")
    lose(engine, job_id, 19)
    lease = engine.take(job_id, started=reset == "claim in one phase")
    if reset == "snooze":
        engine.finish(lease, "snooze")
    else:
        engine.verdict("start", lease)
        engine.finish(lease, "failed", delay=0)
    lose(engine, job_id, 19)
    assert engine.status(job_id) == "pending"
    lose(engine, job_id, 1)
    assert engine.status(job_id) == "failed"


def test_a_release_between_losses_does_not_reset_them(engine: Engine) -> None:
    job_id = engine.enqueue()
    lose(engine, job_id, 19)
    engine.verdict("release", engine.take(job_id, started=False))
    lose(engine, job_id, 1)
    assert engine.status(job_id) == "failed"


def test_waiting_jobs_expire(engine: Engine) -> None:
    job_id = engine.enqueue(expires_in=10, delay=100, live_key="a")
    other = engine.enqueue(expires_in=11)
    engine.clock.advance(10)
    assert engine.sweep() == (0, 1, 0, False)
    [ended] = engine.rows("ended", job_id)
    shown = [ended[name] for name in ("status", "error_code", "attempt", "agent_id")]
    assert shown == ["expired", "expired", 0, None]
    assert engine.size("live_key") == 0
    assert engine.status(other) == "pending"


def test_lapsed_leases_expire(engine: Engine) -> None:
    engine.enqueue_many(3, expires_in=1)
    engine.clock.advance(1)
    engine.claim()
    assert engine.sweep() == (0, 3, 0, False)
    assert engine.call("count", status="expired") == [{"count": 3}]
    assert (engine.size("lease"), engine.size("failure")) == (0, 0)


def test_an_unbegun_lease_past_the_jobs_expiry_ends_expired(engine: Engine) -> None:
    lease = engine.hold(started=False, expires_in=60)
    engine.clock.advance(60)
    engine.sweep()
    assert engine.status(lease["job_id"]) == "expired"


def test_a_begun_lease_past_the_jobs_expiry_is_left_to_its_holder(engine: Engine) -> None:
    lease = engine.hold(expires_in=1)
    engine.clock.advance(59)
    assert engine.sweep() == NOTHING
    assert engine.status(lease["job_id"]) == "running"


def test_everything_is_done_in_one_call(engine: Engine) -> None:
    engine.hold()
    engine.hold("trade")
    engine.enqueue(expires_in=1)
    engine.clock.advance(60)
    assert engine.sweep() == (1, 2, 0, False)


def test_the_limit_bounds_leases_and_says_that_there_is_more(engine: Engine) -> None:
    job_ids = engine.enqueue_many(5)
    for _ in job_ids:
        engine.claim()
        engine.clock.advance(1)
    engine.clock.advance(60)
    assert engine.sweep(limit=2) == (2, 0, 0, True)
    statuses = [engine.status(job_id) for job_id in job_ids]
    assert statuses == ["pending"] * 2 + ["running"] * 3
    assert engine.sweep(limit=2) == (2, 0, 0, True)
    assert engine.sweep(limit=2) == (1, 0, 0, False)


def test_the_limit_bounds_expiries_and_says_that_there_is_more(engine: Engine) -> None:
    engine.enqueue_many(3, expires_in=1)
    engine.clock.advance(1)
    assert [engine.sweep(limit=2) for _ in range(2)] == [(0, 2, 0, True), (0, 1, 0, False)]


def test_one_sweep_at_a_time_another_answers_zeros_at_once(engine: Engine) -> None:
    engine.hold()
    engine.hold()
    engine.clock.advance(60)
    with second_session(engine.db) as other, other.transaction():
        assert Engine(other, engine.clock).sweep(limit=1) == (1, 0, 0, True)
        assert engine.sweep() == NOTHING
    assert engine.sweep() == (1, 0, 0, False)


def test_leases_and_jobs_that_others_hold_are_skipped(engine: Engine) -> None:
    held, free = engine.hold()["job_id"], engine.hold()["job_id"]
    expiring = engine.enqueue(expires_in=1)
    engine.clock.advance(60)
    with second_session(engine.db) as other, other.transaction():
        other.execute("select from jobengine.lease where job_id = %s for update", (held,))
        other.execute("select from jobengine.ready where job_id = %s for update", (expiring,))
        engine.db.execute("set lock_timeout = '1s'")
        assert engine.sweep() == (1, 0, 0, False)
    assert engine.status(free) == "pending"
    assert engine.sweep() == (1, 1, 0, False)


@pytest.mark.parametrize("limit", [0, 100001, None])
def test_a_limit_out_of_bounds_is_refused(engine: Engine, limit: int | None) -> None:
    assert refused(engine.db, "sweep", limit=limit) == ("limit", None)


@pytest.mark.parametrize(
    "tries, base, most, middle",
    [
        (0, 2, 100, 2),
        (1, 2, 100, 2),
        (2, 2, 100, 4),
        (5, 2, 100, 32),
        (7, 2, 100, 100),
        (2_000_000_000, 2, 100, 100),
        (3, 0, 100, 0),
    ],
)
def test_backoff_doubles_up_to_its_maximum_within_a_fifth(
    engine: Engine, tries: int, base: float, most: float, middle: float
) -> None:
    query = """
        select min(extract(epoch from b)) as least, max(extract(epoch from b)) as most,
               count(distinct b) as different
        from generate_series(1, 500) n, lateral (select jobengine._backoff(%s, %s, %s), n) r (b)"""
    [row] = engine.db.execute(query, (tries, base, most)).fetchall()
    assert 0.8 * middle <= row["least"] <= 0.85 * middle
    assert 1.15 * middle <= row["most"] <= 1.2 * middle
    assert (row["different"] > 100) == (middle > 0)


def test_the_clock_of_these_tests_stands_still(engine: Engine) -> None:
    assert engine.db.execute("select jobengine._now() as now").fetchall() == [{"now": START}]
