"""What is counted, against what the database holds after the same work."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from jobengine import Counters, Job, JobEngine, Reject, Report, Snooze, Worker
from jobengine.housekeeping import Housekeeping
from jobengine.metrics import METRICS
from jobengine.testing import Clock
from tests.acceptance.handlers import BatchGate, Gate, Stubborn
from tests.acceptance.world import (
    EXTENDED,
    STEAL,
    Db,
    as_owner,
    counts,
    end,
    ends,
    enqueue,
    in_loop,
    scalar,
    site,
    until,
    within,
    working,
)

ROWS = {
    "enqueued": "select count(*) from jobengine.job",
    "completed": "select count(*) from jobengine.ended where status = 'completed'",
    "failures": "select count(*) from jobengine.failure where error_code = 'ValueError'",
    "rejections": "select count(*) from jobengine.failure where error_code = 'rejected'",
    "claims": "select sum(lease_epoch) from jobengine.ended",
}


def of(counters: Counters, name: str, **labels: str) -> float:
    return counters.value(f"jobengine_{name}", **labels)


async def eventful(job: Job) -> Any:
    """Complete, fail once, fail for good, snooze once, or reject, as the input says."""
    match job.input:
        case "fail":
            raise ValueError
        case "fail once" if job.attempt == 1:
            raise ValueError
        case "snooze once" if job.lease_epoch == 1:
            return Snooze(0.01)
        case "reject":
            return Reject("no")
    return "done"


@in_loop
async def test_the_counts_are_those_of_the_database(db: Db, database_url: str) -> None:
    counters = Counters()
    async with site(database_url, on_metric=counters) as engine:
        worker = Worker(engine, concurrency=7)
        worker.handles("work")(eventful)
        what = ["fine"] * 20 + ["fail"] * 3 + ["fail once"] * 4 + ["snooze once"] * 5 + ["reject"]
        job_ids = [(await engine.enqueue("work", kind, queue="default")).id for kind in what]
        await engine.enqueue("careful", dedup_key="one", queue="nobody")
        await engine.enqueue("careful", dedup_key="one", queue="nobody")
        async with working(worker):
            await ends(engine, job_ids)
            await until(lambda: of(counters, "jobs_held") == 0)
    rows = {name: scalar(db, query) for name, query in ROWS.items()}

    def finished(outcome: str, verdict: str) -> float:
        labels = {"job_type": "work", "outcome": outcome, "verdict": verdict}
        return of(counters, "finished_total", **labels)

    assert of(counters, "enqueued_total", job_type="work", verdict="ok") == len(what)
    assert of(counters, "enqueued_total", job_type="careful", verdict="ok") == 1
    assert of(counters, "enqueued_total", job_type="careful", verdict="duplicate") == 1
    assert rows["enqueued"] == len(what) + 1
    assert finished("completed", "ok") == rows["completed"] == 29
    assert finished("failed", "retried") + finished("failed", "ok") == rows["failures"] == 13
    assert finished("failed", "ok") == 3
    assert finished("rejected", "ok") == rows["rejections"] == 1
    assert finished("snooze", "retried") == 5
    assert of(counters, "claimed_total", queue="default") == rows["claims"]
    assert of(counters, "handler_runs_total", job_type="work") == rows["claims"]
    assert of(counters, "handler_seconds_total", job_type="work") > 0


@in_loop
async def test_what_becomes_of_leases_is_counted(db: Db, clock: Clock, database_url: str) -> None:
    counters = Counters()
    async with site(database_url, on_metric=counters) as engine:
        gate = Gate()
        worker = Worker(engine, drain_timeout=0)
        worker.handles("work")(gate)
        job_ids = await enqueue(engine, 5, lease=0.3)
        run = asyncio.create_task(worker.run())
        await until(lambda: len(gate.begun) == 5)
        assert of(counters, "jobs_held") == 5
        clock.advance(0.1)
        await until(lambda: scalar(db, EXTENDED) == 5)
        await until(lambda: of(counters, "extended_total") >= 5)
        as_owner(db, STEAL, job_ids[:2])
        await until(lambda: of(counters, "leases_lost_total") == 2)
        worker.stop()
        await within(run)
        assert of(counters, "released_total") == 3
        assert of(counters, "jobs_held") == 0
        assert of(counters, "handler_runs_total", job_type="work") == 5
        assert scalar(db, "select count(*) from jobengine.ready where queue = 'default'") == 3


@in_loop
async def test_housekeeping_is_counted(db: Db, clock: Clock, database_url: str) -> None:
    counters = Counters()
    async with site(database_url, on_metric=counters) as engine:
        await enqueue(engine, 3, lease=1)
        await enqueue(engine, 2, lease=1, job_type="careful")
        await engine.claim(["default"], agent_id="me", limit=10)
        clock.advance(10)
        housekeeping = Housekeeping(engine, keep=100)
        await housekeeping.sweep()
        now = counts(db)
        assert of(counters, "swept_total", what="returned") == now["ready"] == 3
        assert of(counters, "swept_total", what="ended") == now["ended"] == 2
        await engine.cancel(job.id for job in await engine.list(status="pending"))
        clock.advance(1000)
        await housekeeping.prune()
        assert of(counters, "pruned_total") == 3  # what is unknown stays
        assert counts(db)["job"] == 2


@in_loop
async def test_the_calls_of_a_remote_agent_are_counted(db: Db, database_url: str) -> None:
    counters = Counters()
    async with site(database_url, on_metric=counters) as engine:
        await enqueue(engine, 3, queue="images", job_type="careful")
        held = await engine.claim(["images"], agent_id="me", limit=3, two_phase="always")
        await engine.release(held[:1])
        started = await engine.start(held)
        assert [answer.verdict for answer in started] == ["stale_lease", "ok", "ok"]
        await engine.extend(held)
        report = Report(job_id=held[1].id, lease_epoch=1, outcome="completed")
        await engine.finish([report])
        await engine.finish([report])
    assert of(counters, "claimed_total", queue="images") == 3
    assert of(counters, "released_total") == 1
    assert of(counters, "extended_total") == 2
    assert of(counters, "leases_lost_total") == 2  # once for start, once for extend
    for verdict in ("ok", "duplicate"):
        labels = {"job_type": "", "outcome": "completed", "verdict": verdict}
        assert of(counters, "finished_total", **labels) == 1


@in_loop
async def test_a_batch_is_one_run(db: Db, database_url: str) -> None:
    counters = Counters()
    async with site(database_url, on_metric=counters) as engine:
        gate = BatchGate()
        gate.open()
        worker = Worker(engine)
        worker.handles_batch("work", size=10)(gate)
        job_ids = await enqueue(engine, 20)
        async with working(worker):
            await ends(engine, job_ids)
    assert of(counters, "handler_runs_total", job_type="work") == 2
    labels = {"job_type": "work", "outcome": "completed", "verdict": "ok"}
    assert of(counters, "finished_total", **labels) == 20


@in_loop
async def test_a_callback_is_called_per_batch_with_known_names_and_labels(
    db: Db, database_url: str
) -> None:
    told: list[tuple[str, float, Mapping[str, str]]] = []
    async with site(database_url, on_metric=lambda *value: told.append(value)) as engine:
        gate = BatchGate()
        gate.open()
        worker = Worker(engine)
        worker.handles_batch("work", size=100)(gate)
        job_ids = await enqueue(engine, 100)
        async with working(worker):
            await ends(engine, job_ids)
    for name, _, labels in told:
        assert tuple(labels) == METRICS[name].labels
    amounts = {"enqueued", "claimed", "finished"}
    assert {name: value for name, value, _ in told if name.split("_")[1] in amounts} == {
        f"jobengine_{name}_total": 100 for name in amounts
    }


@in_loop
async def test_a_call_that_is_made_again_is_counted(db: Db, database_url: str) -> None:
    """The claim waits for a lock; its connection is ended meanwhile."""
    counters = Counters()
    async with site(database_url, on_metric=counters) as engine:
        worker = Worker(engine, sweep_every=3600)
        worker.handles("work")(eventful)
        db.execute("begin")
        as_owner(db, "lock table jobengine.lease in share mode")
        (job_id,) = await enqueue(engine)
        async with working(worker):
            await until(lambda: scalar(db, f"select count(*) {BLOCKED}"))
            db.execute(f"select pg_terminate_backend(pid) {BLOCKED}".encode())
            await until(lambda: of(counters, "retried_calls_total", call="claim") == 1)
            db.execute("rollback")
            assert (await end(engine, job_id)).status == "completed"


# Of this database alone: the others of the server belong to tests beside this one.
BLOCKED = (
    "from pg_locks where not granted and relation = 'jobengine.lease'::regclass"
    " and database = (select oid from pg_database where datname = current_database())"
)


@in_loop
async def test_a_listener_that_comes_back_is_counted(
    db: Db, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "jobengine")
    counters = Counters()
    async with site(database_url, on_metric=counters) as engine:
        with engine.wakeup.jobs(lambda *_: None):
            listener = (
                "select pid from pg_stat_activity where datname = current_database()"
                " and query = 'listen jobengine' and state = 'idle'"
            )
            await until(lambda: scalar(db, listener))
            assert of(counters, "listener_reconnects_total") == 0
            db.execute("select pg_terminate_backend(%s)", (scalar(db, listener),))
            await until(lambda: of(counters, "listener_reconnects_total") == 1)
    events = [record.__dict__.get("event") for record in caplog.records]
    assert [event for event in events if event] == ["listener_lost", "listener_back"]


@in_loop
async def test_a_callback_that_raises_is_logged_once_and_breaks_nothing(
    db: Db, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(name: str, value: float, labels: Mapping[str, str]) -> None:
        raise ZeroDivisionError(name)

    async with site(database_url, on_metric=broken) as engine:
        worker = Worker(engine)
        worker.handles("work")(eventful)
        async with working(worker):
            (job_id,) = await enqueue(engine, input="fail once")
            found = await end(engine, job_id)
        assert (found.status, found.attempt) == ("completed", 2)
    (record,) = [r for r in caplog.records if r.__dict__["event"] == "on_metric_failed"]
    assert record.__dict__["metric"] == "jobengine_enqueued_total"
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


@in_loop
async def test_a_worker_that_has_ended_holds_nothing(
    db: Db, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobengine.worker._GRACE", 0.3)
    counters = Counters()
    async with site(database_url, on_metric=counters) as engine:
        await enqueue(engine, 2, job_type="careful")
        stubborn = Stubborn()
        worker = Worker(engine, drain_timeout=0)
        worker.handles("careful")(stubborn)
        run = asyncio.create_task(worker.run())
        await until(lambda: stubborn.begun == 2)
        worker.stop()
        assert of(counters, "jobs_held") == 2
        await within(run)
        stubborn.open()
    assert scalar(db, "select count(*) from jobengine.lease") == 2
    assert of(counters, "jobs_held") == 0


@in_loop
async def test_without_a_callback_nothing_is_counted(db: Db, database_url: str) -> None:
    async with JobEngine(database_url) as engine:
        assert engine.meter is None
