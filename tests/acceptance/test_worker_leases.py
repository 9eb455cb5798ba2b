"""Leases of a worker: kept while handlers run, respected when they are lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any
from uuid import UUID

import psycopg
import pytest

from jobengine import Job, JobEngine, NewJob, NotInstalled, Report, Worker
from jobengine.testing import Clock
from tests.acceptance.handlers import Gate, Stubborn
from tests.acceptance.world import (
    EXTENDED,
    STEAL,
    Db,
    as_owner,
    end,
    ends,
    enqueue,
    in_loop,
    register,
    scalar,
    site,
    until,
    within,
    working,
)


def worker_of(engine: JobEngine, handler: Any, **options: Any) -> Worker:
    worker = Worker(engine, **{"sweep_every": 0.05, **options})
    for job_type in ("work", "careful"):
        worker.handles(job_type)(handler)
    return worker


def rows(db: Db, job_ids: Iterable[UUID]) -> list[Any]:
    return db.execute(
        "select * from jobengine.jobs where job_id = any(%s)", ([*job_ids],)
    ).fetchall()


@in_loop
async def test_never_more_handlers_than_slots(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        job_ids = await enqueue(engine, 20)
        gate = Gate()
        async with working(worker_of(engine, gate, concurrency=3)):
            await until(lambda: len(gate.begun) == 3)
            assert scalar(db, "select count(*) from jobengine.lease") == 3
            gate.open()
            assert {job.status for job in await ends(engine, job_ids)} == {"completed"}
        assert gate.most == 3
        assert sorted(gate.finished) == sorted(job_ids)


@in_loop
async def test_all_slots_are_used(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        job_ids = await enqueue(engine, 50)
        gate = Gate()
        async with working(worker_of(engine, gate, concurrency=50)):
            await until(lambda: len(gate.begun) == 50)
            gate.open()
            await ends(engine, job_ids)


@in_loop
async def test_more_slots_than_one_call_may_name_leases(
    db: Db, clock: Clock, database_url: str
) -> None:
    count = 10_001  # the SQL functions take 10,000
    async with site(database_url) as engine:
        await enqueue(engine, count, lease=3)
        gate = Gate()
        worker = worker_of(engine, gate, concurrency=count, drain_timeout=0)
        async with working(worker):
            await until(lambda: len(gate.begun) == count)
            clock.advance(1)
            await until(lambda: scalar(db, EXTENDED) == count)
        assert scalar(db, "select count(*) from jobengine.ready") == count


@in_loop
async def test_sync_handlers_fill_the_slots_too(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        job_ids = await enqueue(engine, 4)
        meeting = asyncio.Barrier(5)
        loop = asyncio.get_running_loop()

        def handler(_: Job) -> None:
            asyncio.run_coroutine_threadsafe(meeting.wait(), loop).result()

        async with working(worker_of(engine, handler, concurrency=4)):
            await meeting.wait()  # all four at once, and the loop is free meanwhile
            await ends(engine, job_ids)


@pytest.mark.parametrize("job_type", ["work", "careful"])
@in_loop
async def test_no_double_claim_a_lease_is_kept_while_its_handler_runs(
    db: Db, clock: Clock, database_url: str, job_type: str
) -> None:
    async with site(database_url) as engine:
        job_ids = await enqueue(engine, 3, job_type=job_type, lease=0.3)
        gate = Gate()
        async with working(worker_of(engine, gate), worker_of(engine, gate)):
            await until(lambda: len(gate.begun) == 3)
            for _ in range(10):  # a second passes, in which the leases would run out three times
                clock.advance(0.1)
                await until(lambda: scalar(db, EXTENDED) == 3)
                await engine.sweep()
            gate.open()
            found = await ends(engine, job_ids)
        assert sorted(gate.begun) == sorted(job_ids)
        assert {(job.status, job.attempt, job.lease_epoch) for job in found} == {
            ("completed", 1, 1)
        }


@in_loop
async def test_a_job_that_is_cancelled_has_its_handler_cancelled(
    db: Db, clock: Clock, database_url: str
) -> None:
    async with site(database_url) as engine:
        job_id, other = await enqueue(engine, 2, lease=0.3)
        gate = Gate()
        async with working(worker_of(engine, gate)):
            await until(lambda: len(gate.begun) == 2)
            (answer,) = await engine.cancel([job_id], reason="changed my mind")
            assert (answer.verdict, answer.status) == ("ok", "running")
            found = await end(engine, job_id)
            assert (found.status, found.error_code) == ("cancelled", "cancelled")
            assert found.error_message == "changed my mind"
            assert gate.cancelled == [job_id]
            gate.open()
            assert (await end(engine, other)).status == "completed"


@in_loop
async def test_a_handler_that_ends_although_cancelled_has_its_result_counted(
    db: Db, clock: Clock, database_url: str
) -> None:
    async with site(database_url) as engine:
        (job_id,) = await enqueue(engine, 1, lease=0.3)
        stubborn = Stubborn()
        worker = worker_of(engine, stubborn, concurrency=1)
        async with working(worker):
            await until(lambda: stubborn.begun)
            await engine.cancel([job_id])
            await until(lambda: stubborn.cancelled)
            stubborn.open()
            found = await end(engine, job_id)
            assert (found.status, found.output) == ("completed", "my own way")
            # Its slot works on, and the next handler can tell a timeout from a cancellation.
            (after,) = await enqueue(engine, 1, job_type="careful")
            assert (await end(engine, after)).status == "completed"


async def meets_a_cancelled_task(_: Job) -> None:
    task = asyncio.create_task(asyncio.sleep(3600))
    task.cancel()
    await task


@in_loop
async def test_a_swallowed_cancellation_does_not_reach_the_next_handler(
    db: Db, clock: Clock, database_url: str
) -> None:
    """What that one meets in a task of its own is not taken for the end of its runner."""
    async with site(database_url) as engine:
        stubborn = Stubborn()
        worker = Worker(engine, concurrency=1)
        worker.handles("work")(stubborn)
        worker.handles("careful")(meets_a_cancelled_task)
        async with working(worker):
            (job_id,) = await enqueue(engine, 1, lease=0.3)
            await until(lambda: stubborn.begun)
            await engine.cancel([job_id])
            await until(lambda: stubborn.cancelled)
            stubborn.open()
            (after,) = await enqueue(engine, 1, job_type="careful")
            assert (await end(engine, after)).error_code == "CancelledError"


@in_loop
async def test_a_sync_handler_whose_job_is_cancelled_is_not_waited_for(
    db: Db, clock: Clock, database_url: str
) -> None:
    async with site(database_url) as engine:
        (job_id,) = await enqueue(engine, 1, lease=0.3)
        begun, gate = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        def handler(_: Job) -> None:
            loop.call_soon_threadsafe(begun.set)
            asyncio.run_coroutine_threadsafe(gate.wait(), loop).result()

        async with working(worker_of(engine, handler)):
            await begun.wait()
            await engine.cancel([job_id])
            assert (await end(engine, job_id)).status == "cancelled"
            gate.set()


@pytest.mark.parametrize("how", ["async", "thread", "batch"])
@in_loop
async def test_an_at_most_once_job_whose_begun_handler_is_cancelled_is_unknown(
    db: Db, clock: Clock, database_url: str, how: str
) -> None:
    async with site(database_url) as engine:
        (job_id,) = await enqueue(engine, 1, job_type="careful", lease=0.3)
        begun, gate = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        async def fill(_: object) -> None:
            begun.set()
            await gate.wait()

        def fill_in_a_thread(_: Job) -> None:
            asyncio.run_coroutine_threadsafe(fill(None), loop).result()

        worker = Worker(engine)
        if how == "batch":
            worker.handles_batch("careful", size=3)(fill)
        else:
            worker.handles("careful")(fill_in_a_thread if how == "thread" else fill)
        async with working(worker):
            await begun.wait()
            await engine.cancel([job_id], reason="too late")
            found = await end(engine, job_id)
            gate.set()
        assert (found.status, found.error_code) == ("unknown", "cancelled")
        assert found.error_message == "too late"


@in_loop
async def test_an_at_most_once_job_that_is_cancelled_before_its_handler_begins_is_cancelled(
    db: Db, clock: Clock, database_url: str
) -> None:
    async with site(database_url) as engine:
        job_id, waiting = await enqueue(engine, 2, job_type="careful", lease=0.3)
        gate = Gate()
        worker = Worker(engine)
        worker.handles("careful", concurrency=1)(gate)
        async with working(worker):
            await until(lambda: gate.begun == [job_id])
            await engine.cancel([waiting])
            assert (await end(engine, waiting)).status == "cancelled"
            gate.open()
            assert (await end(engine, job_id)).status == "completed"
        assert gate.begun == [job_id]


@in_loop
async def test_a_worker_that_may_not_start_jobs_ends_with_that_error(
    empty_database_url: str,
) -> None:
    async with JobEngine(empty_database_url) as engine:
        await engine.install()
        await register(engine)
        async with engine.connection() as conn:
            await conn.execute("alter function jobengine.start rename to start_elsewhere")
        await enqueue(engine, 1, job_type="careful")
        with pytest.raises(NotInstalled, match="start"):
            await within(worker_of(engine, Gate()).run())


@in_loop
async def test_a_worker_whose_task_is_cancelled_leaves_no_handler_behind(
    db: Db, database_url: str
) -> None:
    async with site(database_url) as engine:
        await enqueue(engine, 2)
        gate = Gate()
        worker = worker_of(engine, gate)
        running = asyncio.create_task(worker.run())
        await until(lambda: len(gate.begun) == 2)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await within(running)
        assert len(gate.cancelled) == 2
        assert not worker.abandoned


@in_loop
async def test_no_stale_effect_a_handler_whose_lease_is_lost_is_cancelled_and_reports_nothing(
    db: Db, clock: Clock, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with site(database_url) as engine:
        job_ids = await enqueue(engine, 2, lease=0.3)
        gate = Gate()
        async with working(worker_of(engine, gate)):
            await until(lambda: len(gate.begun) == 2)
            as_owner(db, STEAL, job_ids)
            before = rows(db, job_ids)
            await until(lambda: len(gate.cancelled) == 2)
        assert rows(db, job_ids) == before
        assert {row["status"] for row in before} == {"pending"}
        refused = [text for text in caplog.messages if "finish" in text or "its end" in text]
        assert refused == []


@in_loop
async def test_no_stale_effect_a_result_that_comes_too_late_changes_nothing(
    db: Db, database_url: str
) -> None:
    async with site(database_url) as engine:
        (job_id,) = await enqueue(engine, 1, lease=600)  # not extended before its handler ends
        gate = Gate()
        async with working(worker_of(engine, gate)):
            await until(lambda: gate.begun)
            as_owner(db, STEAL, [job_id])
            (again,) = await engine.claim(["elsewhere"], agent_id="another")
            report = Report(
                job_id=job_id, lease_epoch=again.lease_epoch, outcome="completed", output="mine"
            )
            await engine.finish([report])
            before = rows(db, [job_id])
            gate.open()
            await until(lambda: gate.finished)
        assert rows(db, [job_id]) == before
        assert before[0]["output"] == "mine"


class Interfering:
    """A handler that cancels the other jobs, before their handlers begin.

    It holds the event loop meanwhile, so that the jobs that were claimed with its own stay as they
    are: claimed, not started.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self.ran: list[UUID] = []

    async def __call__(self, job: Job) -> None:
        self.ran.append(job.id)
        if job.job_type == "work":
            with psycopg.connect(self._url, autocommit=True) as conn:
                conn.execute(
                    "select jobengine.cancel(array(select job_id from jobengine.lease"
                    " where started_at is null))"
                )


@in_loop
async def test_a_job_that_is_cancelled_between_claim_and_start_never_runs(
    db: Db, database_url: str
) -> None:
    async with site(database_url) as engine:
        interfering = Interfering(database_url)
        async with working(worker_of(engine, interfering, concurrency=4)):
            for _ in range(5):  # more often than there are slots, if each should cost one
                answers = await engine.enqueue_many(
                    [
                        NewJob(job_type="work", priority=0),
                        *(NewJob(job_type="careful", priority=1) for _ in range(3)),
                    ]
                )
                first, *others = [answer.id for answer in answers]
                found = await ends(engine, [first, *others])
                assert found[0].status == "completed"
                ran = set(interfering.ran)
                assert {job.status for job in found if job.id not in ran} <= {"cancelled"}
        assert scalar(db, "select count(*) from jobengine.ended where status = 'cancelled'") > 0


@in_loop
async def test_an_at_most_once_job_is_started_just_before_its_handler(
    db: Db, database_url: str
) -> None:
    async with site(database_url) as engine:
        seen: list[Any] = []

        async def handler(job: Job) -> None:
            seen.append((job.started_at, rows(db, [job.id])[0]["status"]))

        (job_id,) = await enqueue(engine, 1, job_type="careful")
        async with working(worker_of(engine, handler)):
            assert (await end(engine, job_id)).status == "completed"
        # Claimed in two phases; running when the handler looks.
        assert seen == [(None, "running")]


@in_loop
async def test_an_at_most_once_job_that_raises_is_not_run_again(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        ran: list[UUID] = []

        async def handler(job: Job) -> None:
            ran.append(job.id)
            raise ValueError

        (job_id,) = await enqueue(engine, 1, job_type="careful")
        async with working(worker_of(engine, handler)):
            found = await end(engine, job_id)
        assert (found.status, found.error_code) == ("failed", "ValueError")
        assert ran == [job_id]
