"""Waiting for a job's end: told of it, or by asking; with a limit, and through lost connections."""

from __future__ import annotations

import asyncio

import pytest

from jobengine import InvalidArgument, Job, JobEngine, JobInfo, Report, WaitTimeout, Worker
from tests.acceptance.world import (
    NOBODY,
    PATIENCE,
    Db,
    in_loop,
    scalar,
    site,
    until,
    within,
    working,
)

ASKS = (
    "select count(*) from pg_stat_activity where datname = current_database()"
    " and query like '%%jobengine.get(%%' and state = 'idle'"
)

LISTENS = (
    "select count(*) from pg_stat_activity where datname = current_database()"
    " and query like 'listen%%' and state = 'idle'"
)


async def claimed(engine: JobEngine) -> Job:
    return (await engine.claim(["default"], agent_id="me"))[0]


def done(job: Job, output: object = None) -> list[Report]:
    return [Report(job_id=job.id, lease_epoch=1, outcome="completed", output=output)]


@in_loop
async def test_a_job_that_has_ended_is_there_at_once(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        job = await engine.enqueue("work")
        await engine.cancel([job.id])
        assert (await engine.wait(job.id, timeout=0)).status == "cancelled"
        assert (await engine.wait(job.id)).status == "cancelled"


@pytest.mark.parametrize("wake", [True, False])
@in_loop
async def test_the_end_comes_with_its_output(db: Db, database_url: str, *, wake: bool) -> None:
    async with site(database_url) as engine:
        await engine.enqueue("work", wake=wake)
        job = await claimed(engine)
        waiting = asyncio.create_task(engine.wait(job.id, timeout=PATIENCE))
        await until(lambda: scalar(db, ASKS))
        await engine.finish(done(job, {"width": 640}))
        found: JobInfo = await within(waiting)
        assert found.ended
        assert (found.status, found.output) == ("completed", {"width": 640})


@in_loop
async def test_an_end_that_nobody_is_told_of_is_found(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        await engine.enqueue("work", wake=False)
        job = await claimed(engine)
        with engine.wakeup.end(job.id) as awake:
            await within(awake.wait())  # a listener wakes everybody once, when it begins
        waiting = asyncio.create_task(engine.wait(job.id))
        await until(lambda: scalar(db, ASKS))
        await engine.finish(done(job))
        assert (await within(waiting)).status == "completed"


@in_loop
async def test_only_the_notification_explains_the_end(
    db: Db, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The waiter asks every ten minutes, so that only being told can wake it."""
    monkeypatch.setattr("jobengine._retrying.LOOK_FIRST", 600.0)
    monkeypatch.setattr("jobengine._retrying.LOOK_MAX", 600.0)
    async with site(database_url) as engine:
        await engine.enqueue("work", wake=True)
        job = await claimed(engine)
        waiting = asyncio.create_task(engine.wait(job.id))
        await until(lambda: scalar(db, ASKS))
        await until(lambda: scalar(db, LISTENS))
        await engine.finish(done(job))
        assert (await within(waiting)).status == "completed"


@in_loop
async def test_many_wait_for_one_job(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        await engine.enqueue("work", wake=True)
        job = await claimed(engine)
        waiting = [asyncio.create_task(engine.wait(job.id)) for _ in range(20)]
        await until(lambda: scalar(db, ASKS))
        await engine.finish(done(job))
        assert {found.status for found in await within(asyncio.gather(*waiting))} == {"completed"}
        assert engine.wakeup._on_end == {}


@in_loop
async def test_a_job_that_does_not_end_in_time_goes_on(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        job = await engine.enqueue("work")
        for timeout in (0, 0.05):
            with pytest.raises(WaitTimeout):
                await within(engine.wait(job.id, timeout=timeout))
        assert engine.wakeup._on_end == {}
        found = await engine.get(job.id)
        assert found is not None
        assert found.status == "pending"


@in_loop
async def test_a_wait_in_time_although_no_connection_is_free(db: Db, database_url: str) -> None:
    async with site(database_url, max_size=2) as engine:
        job = await engine.enqueue("work")
        with pytest.raises(WaitTimeout):
            await engine.wait(job.id, timeout=0)  # from now on one connection listens
        async with engine.connection():
            with pytest.raises(WaitTimeout):
                await within(engine.wait(job.id, timeout=0.05), 10)


@in_loop
async def test_a_job_that_is_retried_is_waited_for_to_its_last_attempt(
    db: Db, database_url: str
) -> None:
    async with site(database_url) as engine:
        worker = Worker(engine)
        attempts = []

        @worker.handles("work")
        async def fail(job: Job) -> None:
            attempts.append(job.attempt)
            raise ValueError

        async with working(worker):
            job = await engine.enqueue("work", wake=True)
            found = await engine.wait(job.id, timeout=PATIENCE)
            assert (found.status, found.attempt) == ("failed", 3)
            assert attempts == [1, 2, 3]


@in_loop
async def test_a_job_that_does_not_exist_cannot_be_waited_for(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        with pytest.raises(InvalidArgument, match="job_id"):
            await engine.wait(NOBODY)


@in_loop
async def test_a_wait_that_is_cancelled_ends_at_whatever_moment(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        job = await engine.enqueue("work")
        for steps in range(60):
            waiting = asyncio.create_task(engine.wait(job.id))
            for _ in range(steps):
                await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting], timeout=PATIENCE)
            assert waiting.cancelled(), f"after {steps} steps"
            assert engine.wakeup._on_end == {}


@in_loop
async def test_a_wait_without_limit_ends_when_the_engine_is_closed(
    db: Db, database_url: str
) -> None:
    async with site(database_url) as engine:
        job = await engine.enqueue("work")
        waiting = asyncio.create_task(engine.wait(job.id))
        await until(lambda: engine.wakeup._on_end)
    await asyncio.wait([waiting], timeout=PATIENCE)
    assert waiting.done()
    with pytest.raises(Exception, match="closed"):
        waiting.result()
