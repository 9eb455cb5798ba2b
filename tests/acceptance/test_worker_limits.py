"""How many handlers of a type run at once, and what becomes of jobs that wait for their turn."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from jobengine import InvalidArgument, JobEngine, Worker
from jobengine.testing import Clock
from tests.acceptance.handlers import BatchGate, Gate
from tests.acceptance.world import (
    EXTENDED,
    STEAL,
    Db,
    as_owner,
    end,
    ends,
    enqueue,
    in_loop,
    scalar,
    site,
    standing,
    until,
    within,
    working,
)


def limited(engine: JobEngine, handler: Any, most: int, **options: Any) -> Worker:
    """A worker that runs so many handlers of `work` at once."""
    worker = Worker(engine, **{"sweep_every": 0.05, **options})
    worker.handles("work", concurrency=most)(handler)
    return worker


@in_loop
async def test_never_more_handlers_of_a_type_than_allowed(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        gate, other = Gate(), Gate()
        worker = limited(engine, gate, 2)
        worker.handles("careful")(other)
        job_ids = await enqueue(engine, 10)
        others = await enqueue(engine, 4, job_type="careful")
        async with working(worker):
            await until(lambda: len(other.begun) == 4)  # not limited
            await until(lambda: len(gate.begun) == 2)
            assert scalar(db, "select count(*) from jobengine.lease") == 14
            gate.open()
            other.open()
            assert {job.status for job in await ends(engine, job_ids + others)} == {"completed"}
            await until(lambda: worker._turns.free == worker._turns.slots)
        assert (gate.most, other.most) == (2, 4)
        assert sorted(gate.finished) == sorted(job_ids)


@in_loop
async def test_a_limit_holds_from_claim_to_claim(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        gate = Gate()
        async with working(limited(engine, gate, 1)):
            first = await enqueue(engine)
            await until(lambda: gate.begun)
            more = await enqueue(engine, 5)
            await until(lambda: scalar(db, "select count(*) from jobengine.lease") == 6)
            gate.open()
            await ends(engine, first + more)
            last = await enqueue(engine, 5)
            await ends(engine, last)
        assert gate.most == 1
        assert gate.finished[:1] == first


@in_loop
async def test_leases_of_jobs_that_wait_are_kept(db: Db, clock: Clock, database_url: str) -> None:
    async with site(database_url) as engine:
        gate = Gate()
        async with working(limited(engine, gate, 1)):
            job_ids = await enqueue(engine, 3, lease=0.3)
            await until(lambda: scalar(db, "select count(*) from jobengine.lease") == 3)
            for _ in range(5):
                clock.advance(0.2)
                await until(lambda: scalar(db, EXTENDED) == 3)
                await engine.sweep()
            gate.open()
            await ends(engine, job_ids)
        assert await standing(engine, job_ids) == [("completed", 1, 1)] * 3


@in_loop
async def test_batches_are_limited_by_their_number(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        gate = BatchGate()
        worker = Worker(engine)
        worker.handles_batch("work", size=4, concurrency=2)(gate)
        job_ids = await enqueue(engine, 20)
        async with working(worker):
            await until(lambda: len(gate.begun) == 2)
            assert scalar(db, "select count(*) from jobengine.lease") == 20
            gate.open()
            await ends(engine, job_ids)
        assert gate.most == 2
        assert [len(batch) for batch in gate.begun] == [4] * 5


@pytest.mark.parametrize("job_type", ["work", "careful"])
@in_loop
async def test_a_drain_gives_back_what_waits_and_ends_what_runs(
    db: Db, database_url: str, job_type: str
) -> None:
    async with site(database_url) as engine:
        gate = Gate()
        worker = Worker(engine)
        worker.handles(job_type, concurrency=1)(gate)
        job_ids = await enqueue(engine, 3, job_type=job_type)
        run = asyncio.create_task(worker.run())
        await until(lambda: gate.begun)
        worker.stop()
        await until(lambda: scalar(db, "select count(*) from jobengine.ready") == 2)
        gate.open()
        await within(run)
        (ran,) = gate.finished
        assert ran in job_ids
        assert sorted(await standing(engine, job_ids)) == [
            ("completed", 1, 1),
            ("pending", 0, 1),
            ("pending", 0, 1),
        ]
        assert not worker.abandoned


@in_loop
async def test_batches_that_wait_are_given_back_at_a_drain(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        gate = BatchGate()
        worker = Worker(engine, drain_timeout=0)
        worker.handles_batch("work", size=2, concurrency=1)(gate)
        job_ids = await enqueue(engine, 5)
        run = asyncio.create_task(worker.run())
        await until(lambda: gate.begun)
        worker.stop()
        await within(run)
        assert len(gate.begun) == 1
        assert await standing(engine, job_ids) == [("pending", 0, 1)] * 5
        assert not worker.abandoned


@in_loop
async def test_a_job_that_is_cancelled_while_it_waits_frees_its_slot(
    db: Db, clock: Clock, database_url: str
) -> None:
    async with site(database_url) as engine:
        gate, other = Gate(), Gate()
        worker = limited(engine, gate, 1, concurrency=2)
        worker.handles("careful")(other)
        running, waiting = await enqueue(engine, 2, lease=0.3)
        async with working(worker):
            await until(lambda: scalar(db, "select count(*) from jobengine.lease") == 2)
            await until(lambda: gate.begun)
            assert gate.begun == [running]
            await engine.cancel([waiting], reason="not needed")
            found = await end(engine, waiting)
            assert (found.status, found.error_message) == ("cancelled", "not needed")
            (job_id,) = await enqueue(engine, job_type="careful")
            await until(lambda: other.begun == [job_id])
            gate.open()
            other.open()
            await ends(engine, [running, job_id])
        assert gate.begun == [running]


@in_loop
async def test_a_lease_that_is_lost_while_its_job_waits_frees_its_slot(
    db: Db, clock: Clock, database_url: str
) -> None:
    async with site(database_url) as engine:
        gate, other = BatchGate(), Gate()
        worker = Worker(engine, concurrency=4, sweep_every=3600)
        worker.handles_batch("work", size=2, concurrency=1)(gate)
        worker.handles("careful")(other)
        job_ids = await enqueue(engine, 4, lease=0.3)
        async with working(worker):
            await until(lambda: scalar(db, "select count(*) from jobengine.lease") == 4)
            await until(lambda: gate.begun)
            assert gate.begun == [job_ids[:2]]
            as_owner(db, STEAL, job_ids[2:3])
            (job_id,) = await enqueue(engine, job_type="careful")
            await until(lambda: other.begun == [job_id])
            gate.open()
            other.open()
            await ends(engine, [*job_ids[:2], job_ids[3], job_id])
        assert gate.begun == [job_ids[:2], job_ids[3:]]
        assert await standing(engine, job_ids[2:3]) == [("pending", 1, 1)]


@in_loop
async def test_a_limit_below_one_is_refused(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        with pytest.raises(InvalidArgument, match="concurrency: at least 1"):
            Worker(engine).handles("work", concurrency=0)
