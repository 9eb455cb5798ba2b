"""A worker that is stopped: what runs may finish, the rest is given back or reported."""

from __future__ import annotations

import asyncio
import threading
from typing import Any
from uuid import UUID

import pytest

from jobengine import EngineError, Job, JobEngine, Worker
from tests.acceptance.handlers import Gate, Stubborn
from tests.acceptance.world import (
    Db,
    as_owner,
    asleep,
    counts,
    enqueue,
    in_loop,
    scalar,
    site,
    standing,
    until,
    within,
)

# Of this database alone: the others of the server belong to tests beside this one.
BLOCKED = (
    "select count(*) from pg_locks where not granted and relation = 'jobengine.lease'::regclass"
    " and database = (select oid from pg_database where datname = current_database())"
)


def worker_of(engine: JobEngine, handler: Any, **options: Any) -> Worker:
    worker = Worker(engine, **options)
    for job_type in ("work", "careful"):
        worker.handles(job_type)(handler)
    return worker


@in_loop
async def test_handlers_that_run_finish_and_are_reported(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        job_ids = await enqueue(engine, 3) + await enqueue(engine, 2, job_type="careful")
        gate = Gate()
        worker = worker_of(engine, gate)
        run = asyncio.create_task(worker.run())
        await until(lambda: len(gate.begun) == 5)
        worker.stop()
        after = await enqueue(engine)
        await asyncio.sleep(0)
        gate.open()
        await within(run)
        assert await standing(engine, job_ids) == [("completed", 1, 1)] * 5
        ((status, attempt, _),) = await standing(engine, after)
        # A claim that was under way may have taken it, and gave it back.
        assert (status, attempt) == ("pending", 0)
        assert sorted(gate.begun) == sorted(job_ids)
        assert gate.cancelled == []


@in_loop
async def test_leases_are_kept_while_a_drain_waits(db: Db, clock: Any, database_url: str) -> None:
    async with site(database_url) as engine:
        (job_id,) = await enqueue(engine, lease=0.3)
        gate = Gate()
        worker = worker_of(engine, gate)
        run = asyncio.create_task(worker.run())
        await until(lambda: gate.begun)
        worker.stop()
        until_end = (
            "select lease_expires_at - jobengine._now() >= interval '0.3 s' from jobengine.lease"
        )
        for _ in range(5):
            clock.advance(0.2)
            await until(lambda: scalar(db, until_end))
        gate.open()
        await within(run)
        assert await standing(engine, [job_id]) == [("completed", 1, 1)]


@in_loop
async def test_after_the_deadline_what_may_run_again_is_given_back(
    db: Db, database_url: str
) -> None:
    async with site(database_url) as engine:
        job_ids = await enqueue(engine, 3)
        gate = Gate()
        worker = worker_of(engine, gate, drain_timeout=0)
        run = asyncio.create_task(worker.run())
        await until(lambda: len(gate.begun) == 3)
        worker.stop()
        await within(run)
        assert sorted(gate.cancelled) == sorted(job_ids)
        # No attempt is spent, and nothing is left to run out.
        assert await standing(engine, job_ids) == [("pending", 0, 1)] * 3
        assert counts(db) == {"job": 3, "ready": 3, "lease": 0, "ended": 0}


@in_loop
async def test_after_the_deadline_what_began_and_may_not_run_again_is_unknown(
    db: Db, database_url: str
) -> None:
    async with site(database_url) as engine:
        job_ids = await enqueue(engine, 2, job_type="careful")
        gate = Gate()
        worker = worker_of(engine, gate, drain_timeout=0)
        run = asyncio.create_task(worker.run())
        await until(lambda: len(gate.begun) == 2)
        worker.stop()
        await within(run)
        assert await standing(engine, job_ids) == [("unknown", 1, 1)] * 2
        found = await engine.get(job_ids[0])
        assert found is not None
        assert found.error_code == "worker_stopped"


class Stopping:
    """A handler that stops its worker, before the jobs that were claimed with its own begin."""

    worker: Worker

    def __init__(self) -> None:
        self.ran: list[UUID] = []

    async def __call__(self, job: Job) -> None:
        self.ran.append(job.id)
        if len(self.ran) == 1:
            self.worker.stop()


@pytest.mark.parametrize("job_type", ["work", "careful"])
@in_loop
async def test_what_was_claimed_and_has_not_begun_is_given_back_or_run_never_lost(
    db: Db, database_url: str, job_type: str
) -> None:
    async with site(database_url) as engine:
        job_ids = await enqueue(engine, 50, job_type=job_type)
        handler = Stopping()
        handler.worker = worker_of(engine, handler, concurrency=10)
        await within(handler.worker.run())
        states = dict(zip(job_ids, await standing(engine, job_ids), strict=True))
        assert {job_id for job_id, (status, *_) in states.items() if status == "completed"} == set(
            handler.ran
        )
        assert {states[job_id][:2] for job_id in states.keys() - handler.ran} == {("pending", 0)}
        assert counts(db)["lease"] == 0


@in_loop
async def test_jobs_of_a_claim_under_way_are_given_back(db: Db, database_url: str) -> None:
    """The claim waits for a lock while the worker is stopped, then brings jobs."""
    async with site(database_url) as engine:
        gate = Gate()
        worker = worker_of(engine, gate)
        db.execute("begin")
        as_owner(db, "lock table jobengine.lease in share mode")
        job_ids = await enqueue(engine, 2) + await enqueue(engine, 2, job_type="careful")
        run = asyncio.create_task(worker.run())
        await until(lambda: scalar(db, BLOCKED))
        worker.stop()
        db.execute("commit")
        await within(run)
        assert gate.begun == []
        assert await standing(engine, job_ids) == [("pending", 0, 1)] * 4


@in_loop
async def test_a_second_stop_ends_the_wait_for_handlers(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        job_ids = await enqueue(engine, 2)
        gate = Gate()
        worker = worker_of(engine, gate, drain_timeout=3600)
        run = asyncio.create_task(worker.run())
        await until(lambda: len(gate.begun) == 2)
        worker.stop()
        await asyncio.sleep(0)
        assert not run.done()
        worker.stop()
        await within(run)
        assert await standing(engine, job_ids) == [("pending", 0, 1)] * 2


@in_loop
async def test_a_handler_that_swallows_its_cancellation_does_not_hold_the_drain(
    db: Db, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Also what giving back may take.
    monkeypatch.setattr("jobengine.worker._GRACE", 2.0)
    async with site(database_url) as engine:
        work = await enqueue(engine)
        careful = await enqueue(engine, job_type="careful")
        stubborn = Stubborn()
        worker = worker_of(engine, stubborn, drain_timeout=0)
        run = asyncio.create_task(worker.run())
        await until(lambda: stubborn.begun == 2)
        worker.stop()
        await within(run)
        assert stubborn.cancelled >= 2
        assert await standing(engine, work) == [("pending", 0, 1)]
        # Nobody can say what it does: its lease runs out, and it is unknown then.
        assert await standing(engine, careful) == [("running", 1, 1)]
        stubborn.open()


@in_loop
async def test_a_thread_that_does_not_end_does_not_hold_the_drain(
    db: Db, database_url: str
) -> None:
    async with site(database_url) as engine:
        job_ids = await enqueue(engine)
        begun, gate = threading.Event(), threading.Event()

        def handler(_: Job) -> None:
            begun.set()
            gate.wait()

        worker = worker_of(engine, handler, drain_timeout=0)
        run = asyncio.create_task(worker.run())
        try:
            await until(begun.is_set)
            worker.stop()
            await within(run)
            assert await standing(engine, job_ids) == [("pending", 0, 1)]
        finally:
            gate.set()


@in_loop
async def test_an_idle_worker_ends_at_once(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        worker = worker_of(engine, Gate(), poll=3600, sweep_every=3600)
        run = asyncio.create_task(worker.run())
        await until(lambda: asleep(db, worker))
        worker.stop()
        await within(run)  # long before it would look for jobs again
        assert scalar(db, "select count(*) from jobengine.waiting") == 0


@in_loop
async def test_a_worker_that_is_stopped_before_it_runs_does_nothing(
    db: Db, database_url: str
) -> None:
    async with site(database_url) as engine:
        job_ids = await enqueue(engine)
        worker = worker_of(engine, Gate())
        worker.stop()
        await within(worker.run())
        assert await standing(engine, job_ids) == [("pending", 0, 0)]


@in_loop
async def test_a_worker_leaves_no_task_behind(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        before = asyncio.all_tasks()
        for _ in range(3):
            worker = worker_of(engine, Gate())
            run = asyncio.create_task(worker.run())
            await until(lambda: scalar(db, "select 1 from jobengine.waiting"))
            worker.stop()
            await within(run)
        await engine.wakeup.close()
        left = {task.get_name() for task in asyncio.all_tasks() - before}
        assert {name for name in left if not name.startswith("pool-")} == set()


@in_loop
async def test_a_worker_whose_engine_is_closed_ends_with_an_error(
    db: Db, database_url: str
) -> None:
    async with site(database_url) as engine:
        worker = worker_of(engine, Gate(), poll=0.1)
        run = asyncio.create_task(worker.run())
        await until(lambda: scalar(db, "select 1 from jobengine.waiting"))
    await asyncio.wait([run], timeout=20)
    with pytest.raises(EngineError, match="closed"):
        run.result()
