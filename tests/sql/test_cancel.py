from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg import IsolationLevel

from tests.sql.helpers import ANNA, BERT, NOBODY, START, Engine, after, everything, refused

CANCELLED = ("ok", "cancelled")
RUNNING = ("ok", "running")


def cancelled_queue(engine: Engine, **arguments: Any) -> list[tuple[Any, ...]]:
    rows = engine.call("cancel", **arguments)
    return sorted((row["job_id"], row["verdict"], row["status"]) for row in rows)


def test_a_pending_job_is_cancelled_at_once(engine: Engine) -> None:
    job_id = engine.enqueue(live_key="a", delay=100)
    engine.clock.advance(1)
    assert engine.cancel(job_id, reason="enough") == [CANCELLED]
    [ended] = engine.rows("ended", job_id)
    shown = [ended[name] for name in ("status", "error_code", "error_message", "finished_at")]
    assert shown == ["cancelled", "cancelled", "enough", after(1)]
    assert [ended[name] for name in ("agent_id", "claimed_at", "started_at")] == [None] * 3
    assert (ended["attempt"], ended["lease_epoch"]) == (0, 0)
    assert engine.size("ready") == engine.size("live_key") == 0


def test_a_claimed_job_is_cancelled_at_once(engine: Engine) -> None:
    lease = engine.hold(started=False, live_key="a")
    assert engine.cancel(lease["job_id"], reason="enough") == [CANCELLED]
    [ended] = engine.rows("ended", lease["job_id"])
    shown = [ended[name] for name in ("status", "error_message", "agent_id", "claimed_at")]
    assert shown == ["cancelled", "enough", "agent", START]
    assert (ended["started_at"], ended["lease_epoch"]) == (None, 1)
    assert engine.size("lease") == engine.size("live_key") == 0
    assert engine.verdict("start", lease) == "stale_lease"


def test_a_running_job_is_asked_to_stop_and_its_report_counts(engine: Engine) -> None:
    lease = engine.hold(live_key="a")
    assert engine.cancel(lease["job_id"], reason="enough") == [RUNNING]
    job = engine.job(lease["job_id"])
    assert (job["status"], job["cancel_reason"]) == ("running", "enough")
    assert engine.size("live_key") == 1
    assert engine.finish(lease, "completed") == ("ok", "completed")


def test_a_second_request_to_stop_keeps_the_first_reason(engine: Engine) -> None:
    lease = engine.hold()
    engine.cancel(lease["job_id"], reason="first")
    assert engine.cancel(lease["job_id"], reason="second") == [RUNNING]
    assert engine.job(lease["job_id"])["cancel_reason"] == "first"


def test_without_a_reason_the_reason_is_cancelled(engine: Engine) -> None:
    pending = engine.enqueue()
    engine.cancel(pending)
    assert engine.job(pending)["error_message"] == "cancelled"
    lease = engine.hold()
    engine.cancel(lease["job_id"])
    assert engine.job(lease["job_id"])["cancel_reason"] == "cancelled"


@pytest.mark.parametrize(
    "outcome, status", [("completed", "completed"), ("rejected", "failed"), ("unknown", "unknown")]
)
def test_an_ended_job_is_a_conflict(engine: Engine, outcome: str, status: str) -> None:
    lease = engine.hold("trade")
    engine.finish(lease, outcome)
    before = everything(engine.db)
    assert engine.cancel(lease["job_id"]) == [("conflict", status)]
    assert everything(engine.db) == before


def test_a_cancelled_job_is_a_duplicate(engine: Engine) -> None:
    job_id = engine.enqueue()
    engine.cancel(job_id, reason="first")
    before = everything(engine.db)
    assert engine.cancel(job_id, reason="second") == [("duplicate", "cancelled")]
    assert everything(engine.db) == before


def test_an_expired_job_is_a_conflict_before_and_after_the_sweep(engine: Engine) -> None:
    job_id = engine.enqueue(expires_in=1)
    engine.clock.advance(1)
    assert engine.claim() == []
    before = everything(engine.db)
    assert engine.cancel(job_id) == [("conflict", "expired")]
    assert everything(engine.db) == before
    engine.sweep()
    assert engine.cancel(job_id) == [("conflict", "expired")]


def test_ids_are_answered_once_each_wherever_the_jobs_are(engine: Engine) -> None:
    pending, gone, claimed, running, done = [engine.enqueue(queue=f"q{n}") for n in range(5)]
    engine.cancel(gone)
    engine.take(claimed, started=False)
    engine.take(running)
    engine.finish(engine.take(done), "completed")
    everywhere = [pending, gone, claimed, running, done, NOBODY]
    answers = {
        row["job_id"]: (row["verdict"], row["status"])
        for row in engine.call("cancel", job_ids=[*everywhere, *everywhere, None])
    }
    assert answers == {
        pending: CANCELLED,
        gone: ("duplicate", "cancelled"),
        claimed: CANCELLED,
        running: RUNNING,
        done: ("conflict", "completed"),
        NOBODY: ("not_found", None),
    }
    assert engine.call("cancel", job_ids=[]) == []


def test_a_job_that_keeps_moving_is_busy(engine: Engine) -> None:
    job_id = engine.enqueue()
    engine.db.execute("delete from jobengine.ready")  # stands for a job in flight at every look
    assert engine.cancel(job_id) == [("busy", None)]
    assert engine.size("ended") == 0


def test_tenant_isolated_ids_of_another_tenant_are_not_found(engine: Engine) -> None:
    jobs = [engine.enqueue(tenant_id=BERT, queue=f"q{n}") for n in range(5)]
    pending, claimed, running, done, lapsed = jobs
    engine.take(claimed, started=False)
    engine.take(running)
    engine.finish(engine.take(done), "completed")
    lapsing = engine.enqueue(tenant_id=BERT, queue="q", expires_in=1)
    engine.clock.advance(1)
    engine.claim(queues=["q"], tenant_id=BERT)
    before = everything(engine.db)
    answers = engine.cancel(pending, claimed, running, done, lapsing, tenant_id=ANNA)
    assert answers == [("not_found", None)] * 5
    assert everything(engine.db) == before
    assert engine.cancel(pending, lapsed, tenant_id=BERT) == [CANCELLED] * 2


def test_a_queue_of_a_tenant_is_cancelled_held_jobs_included(engine: Engine) -> None:
    mine: dict[str, Any] = {"tenant_id": ANNA, "queue": "a"}
    running, claimed, pending = engine.enqueue_many(3, **mine)
    engine.take(running)
    engine.take(claimed, started=False)
    done = engine.enqueue(**mine, priority=0)
    engine.finish(engine.take(done), "completed")
    others = [
        engine.enqueue(tenant_id=ANNA, queue="b"),
        engine.enqueue(tenant_id=BERT, queue="a"),
        engine.enqueue(queue="a"),
    ]
    assert cancelled_queue(engine, **mine, reason="enough") == sorted(
        [(running, *RUNNING), (claimed, *CANCELLED), (pending, *CANCELLED)]
    )
    assert [engine.status(job_id) for job_id in others] == ["pending"] * 3
    assert engine.job(running)["cancel_reason"] == "enough"
    assert engine.job(pending)["error_message"] == "enough"
    assert cancelled_queue(engine, **mine) == []


def test_a_type_narrows_the_queue(engine: Engine) -> None:
    work = engine.hold("work", tenant_id=ANNA)
    trade = engine.hold("trade", tenant_id=ANNA, started=False)
    pending_work = engine.enqueue("work", tenant_id=ANNA)
    pending_trade = engine.enqueue("trade", tenant_id=ANNA)
    answers = cancelled_queue(engine, tenant_id=ANNA, queue="default", job_type="trade")
    assert answers == sorted([(trade["job_id"], *CANCELLED), (pending_trade, *CANCELLED)])
    assert engine.status(work["job_id"]) == "running"
    assert engine.status(pending_work) == "pending"


def test_the_limit_takes_the_oldest_and_goes_on_where_it_stopped(engine: Engine) -> None:
    job_ids = engine.enqueue_many(5, tenant_id=ANNA)
    engine.take(job_ids[0])
    engine.verdict("release", engine.take(job_ids[1]))  # the last that came, not the newest
    queue: dict[str, Any] = {"tenant_id": ANNA, "queue": "default", "limit": 2}
    answers = [cancelled_queue(engine, **queue) for _ in range(4)]
    assert answers == [
        [(job_ids[0], *RUNNING), (job_ids[1], *CANCELLED)],
        [(job_ids[2], *CANCELLED), (job_ids[3], *CANCELLED)],
        [(job_ids[4], *CANCELLED)],
        [],
    ]


@pytest.mark.parametrize("join", ["hashjoin", "mergejoin", "nestloop"])
def test_the_limit_takes_the_oldest_however_the_jobs_are_found(engine: Engine, join: str) -> None:
    """The oldest job came last and waits behind the others, so no scan meets it first."""
    young = engine.enqueue_many(3, tenant_id=ANNA)
    engine.clock.advance(-10)
    old = engine.enqueue(tenant_id=ANNA, priority=9, delay=3600)
    assert old < min(young)
    for other in {"hashjoin", "mergejoin", "nestloop"} - {join}:
        engine.db.execute(f"set enable_{other} = off")
    engine.db.execute("set enable_indexscan = off")
    engine.db.execute("set enable_indexonlyscan = off")
    answers = cancelled_queue(engine, tenant_id=ANNA, queue="default", limit=1)
    assert answers == [(old, *CANCELLED)]


def test_the_limit_does_not_bound_ids(engine: Engine) -> None:
    job_ids = engine.enqueue_many(3)
    assert engine.cancel(*job_ids, limit=1) == [CANCELLED] * 3


def test_the_default_limit_is_a_thousand(engine: Engine) -> None:
    engine.enqueue_many(1001, tenant_id=ANNA)
    assert len(cancelled_queue(engine, tenant_id=ANNA, queue="default")) == 1000
    assert engine.size("ready") == 1


def test_jobs_of_the_queue_that_have_lapsed_are_left_out(engine: Engine) -> None:
    engine.enqueue(tenant_id=ANNA, expires_in=1)
    engine.clock.advance(1)
    engine.claim(tenant_id=ANNA)
    assert cancelled_queue(engine, tenant_id=ANNA, queue="default") == []


@pytest.mark.parametrize(
    "arguments, field",
    [
        ({}, "job_ids"),
        ({"tenant_id": ANNA}, "job_ids"),
        ({"queue": "default"}, "job_ids"),
        ({"job_type": "work"}, "job_ids"),
        ({"job_ids": [NOBODY], "reason": "a" * 1001}, "reason"),
        ({"job_ids": [NOBODY], "limit": 0}, "limit"),
        ({"job_ids": [NOBODY], "limit": 10001}, "limit"),
        ({"job_ids": [NOBODY], "limit": None}, "limit"),
    ],
)
def test_broken_arguments_are_refused(
    engine: Engine, arguments: dict[str, Any], field: str
) -> None:
    engine.enqueue(tenant_id=ANNA)
    assert refused(engine.db, "cancel", **arguments) == (field, None)


@pytest.mark.parametrize("level", [IsolationLevel.REPEATABLE_READ, IsolationLevel.SERIALIZABLE])
@pytest.mark.parametrize("function", ["cancel", "retry"])
def test_isolation_above_read_committed_is_refused(
    engine: Engine, function: str, level: IsolationLevel
) -> None:
    job_id = engine.enqueue()
    before = everything(engine.db)
    engine.db.isolation_level = level
    with pytest.raises(psycopg.Error) as caught, engine.db.transaction():
        engine.call(function, job_ids=[job_id])
    assert caught.value.sqlstate == "JE004"
    name = level.name.lower().replace("_", " ")
    assert caught.value.diag.message_detail == f'{{"isolation" : "{name}"}}'
    assert everything(engine.db) == before
