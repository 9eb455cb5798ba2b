"""Jobs run inline, as the tests of a program run them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import psycopg
import pytest

from jobengine import (
    CallNext,
    Cancel,
    EngineError,
    InvalidArgument,
    Job,
    JobEngine,
    NewJob,
    Reject,
    Snooze,
    Worker,
)
from jobengine.testing import Clock, drain, run_job
from tests.acceptance.world import ANNA, BERT, NOBODY, Db, counts, in_loop, scalar, site

pytestmark = pytest.mark.usefixtures("db")


@asynccontextmanager
async def shop(url: str, **kwargs: Any) -> AsyncIterator[tuple[JobEngine, Worker]]:
    async with site(url) as engine:
        worker = Worker(engine, **kwargs)

        @worker.handles("work")
        async def work(job: Job) -> Any:
            return {"attempt": job.attempt, "input": job.input}

        yield engine, worker


# --- one job ---


@in_loop
async def test_a_job_runs_in_the_task_of_the_test(database_url: str) -> None:
    async with shop(database_url) as (engine, worker):
        tasks = []

        @worker.handles("work")
        async def work(job: Job) -> str:
            tasks.append(asyncio.current_task())
            return f"done {job.input}"

        job = await engine.enqueue("work", 7)
        done = await run_job(worker, job.id)
        assert (done.id, done.status, done.output) == (job.id, "completed", "done 7")
        assert (done.attempt, done.agent_id) == (1, worker.agent_id)
        assert tasks == [asyncio.current_task()]


@in_loop
async def test_no_other_job_is_touched(db: Db, database_url: str) -> None:
    """Those that a claim would have taken before it, and after it, stay as they are."""
    async with shop(database_url, queues=["side", "default"]) as (engine, worker):
        before = await engine.enqueue_many(
            NewJob(job_type="work", priority=p, queue=q, tenant_id=t)
            for p in (0, 5, 9)
            for q in ("side", "default")
            for t in (None, ANNA)
        )
        job = await engine.enqueue("work")
        after = await engine.enqueue("work")
        others = "select * from jobengine.ready where job_id <> %s order by job_id"
        rows = db.execute(others, (job.id,)).fetchall()
        assert (await run_job(worker, job.id)).status == "completed"
        assert db.execute(others, (job.id,)).fetchall() == rows
        assert len(rows) == len([*before, after])


@in_loop
async def test_a_handler_that_is_not_async_runs_in_a_thread(database_url: str) -> None:
    async with shop(database_url) as (engine, worker):
        threads = []

        @worker.handles("work")
        def work(_: Job) -> None:
            threads.append(threading.current_thread())

        await run_job(worker, (await engine.enqueue("work")).id)
        assert threads != [threading.main_thread()]


@in_loop
async def test_an_at_most_once_job_is_started_before_its_handler(database_url: str) -> None:
    async with shop(database_url) as (engine, worker):

        @worker.handles("careful")
        async def careful(job: Job) -> str:
            seen = await engine.get(job.id)
            assert seen is not None
            assert job.started_at is None
            return seen.status

        done = await run_job(worker, (await engine.enqueue("careful")).id)
        assert (done.status, done.output) == ("completed", "running")


@pytest.mark.parametrize(
    "value, status, code",
    [
        (Reject("no", code="bad"), "failed", "bad"),
        (Cancel("enough"), "cancelled", "cancelled"),
        (Snooze(100), "pending", None),
        ({"n": float("nan")}, "failed", "invalid_output"),
    ],
    ids=["reject", "cancel", "snooze", "no JSON"],
)
@in_loop
async def test_values_of_a_handler_mean_what_they_mean_to_a_worker(
    database_url: str, value: Any, status: str, code: str | None
) -> None:
    async with shop(database_url) as (engine, worker):

        @worker.handles("work")
        async def work(_: Job) -> Any:
            return value

        done = await run_job(worker, (await engine.enqueue("work")).id)
        assert (done.status, done.error_code) == (status, code)


@pytest.mark.parametrize("reraise", [False, True])
@in_loop
async def test_what_the_handler_raises_is_recorded_and_comes_out_on_demand(
    db: Db, database_url: str, *, reraise: bool
) -> None:
    async with shop(database_url) as (engine, worker):

        @worker.handles("work")
        async def work(_: Job) -> None:
            raise LookupError("no such file")

        job = await engine.enqueue("work")
        if reraise:
            with pytest.raises(LookupError, match="no such file"):
                await run_job(worker, job.id, reraise=True)
        else:
            assert (await run_job(worker, job.id)).status == "pending"
        row = db.execute("select error_code, reported_by from jobengine.failure").fetchone()
        assert row == {"error_code": "LookupError", "reported_by": "holder"}
        assert counts(db) == {"job": 1, "ready": 1, "lease": 0, "ended": 0}


@in_loop
async def test_a_job_without_a_handler_fails_as_in_a_worker(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        job = await engine.enqueue("work")
        assert (await run_job(Worker(engine), job.id, reraise=True)).status == "pending"
        assert scalar(db, "select error_code from jobengine.failure") == "no_handler"


@in_loop
async def test_a_job_that_cannot_run_now_is_refused(db: Db, database_url: str) -> None:
    async with shop(database_url, tenant_id=ANNA) as (engine, worker):
        later = await engine.enqueue("work", delay=100, tenant_id=ANNA)
        waits = await engine.enqueue("work", tenant_id=ANNA)
        elsewhere = await engine.enqueue("work", queue="side", tenant_id=ANNA)
        foreign = await engine.enqueue("work", tenant_id=BERT)
        over = await engine.enqueue("work", tenant_id=ANNA)
        await engine.cancel([over.id])
        for job_id, rule in (
            (NOBODY, "the id of a job"),
            (later.id, "a due job"),
            (elsewhere.id, "queues; it is in 'side'"),
            (foreign.id, "tenant"),
            (over.id, "a pending job; this one is cancelled"),
        ):
            with pytest.raises(InvalidArgument, match=rule) as caught:
                await run_job(worker, job_id)
            assert caught.value.field == "job_id"
        assert counts(db) == {"job": 5, "ready": 4, "lease": 0, "ended": 1}
        assert (await run_job(worker, waits.id)).status == "completed"


@in_loop
async def test_the_job_after_one_that_is_not_due_goes_back_unused(
    db: Db, database_url: str
) -> None:
    """One that has expired lapses, and the claim goes on to the next."""
    async with shop(database_url) as (engine, worker):
        expired = await engine.enqueue("work", expires_in=0.000001)
        job = await engine.enqueue("work")
        with pytest.raises(InvalidArgument, match="a due job"):
            await run_job(worker, expired.id)
        found = await engine.get(job.id)
        assert found is not None
        assert (found.status, found.attempt) == ("pending", 0)


@pytest.mark.parametrize("answer", [["out"], [LookupError("no")], LookupError("no")])
@in_loop
async def test_a_batch_handler_gets_a_batch_of_one(database_url: str, answer: Any) -> None:
    async with shop(database_url) as (engine, worker):

        @worker.handles_batch("work", size=10)
        async def work(jobs: list[Job]) -> Any:
            assert len(jobs) == 1
            if isinstance(answer, Exception):
                raise answer
            return answer

        job = await engine.enqueue("work", max_attempts=1)
        if answer == ["out"]:
            assert (await run_job(worker, job.id, reraise=True)).output == "out"
        else:
            with pytest.raises(LookupError, match="no"):
                await run_job(worker, job.id, reraise=True)


@in_loop
async def test_middleware_is_around_the_handler(database_url: str) -> None:
    calls = []

    async def noted(jobs: Sequence[Job], call: CallNext) -> Sequence[Any]:
        calls.append([job.id for job in jobs])
        return await call()

    async with shop(database_url, middleware=[noted]) as (engine, worker):

        @worker.handles("work")
        async def work(_: Job) -> None:
            raise LookupError("no")

        job = await engine.enqueue("work", max_attempts=1)
        with pytest.raises(LookupError, match="no"):
            await run_job(worker, job.id, reraise=True)
        assert calls == [[job.id]]


# --- all that are due ---


@in_loop
async def test_all_due_jobs_run_and_those_that_they_enqueue(db: Db, database_url: str) -> None:
    async with shop(database_url, queues=["default", "side"]) as (engine, worker):

        @worker.handles("work")
        async def work(job: Job) -> int:
            for _ in range(job.input):
                await engine.enqueue("work", job.input - 1, queue="side", priority=0)
            return int(job.input)

        await engine.enqueue("work", 2, tenant_id=ANNA)
        late = await engine.enqueue("work", 0, delay=100)
        other = await engine.enqueue("work", 0, queue="elsewhere")
        ran = await drain(worker)
        assert [job.output for job in ran] == [2, 1, 1, 0, 0]
        assert {job.status for job in ran} == {"completed"}
        left = await engine.list(status="pending")
        assert {job.id for job in left} == {late.id, other.id}
        assert await drain(worker) == []


@in_loop
async def test_jobs_run_by_priority(database_url: str) -> None:
    async with shop(database_url) as (engine, worker):
        for priority in (9, 0, 5):
            await engine.enqueue("work", priority=priority)
        assert [job.priority for job in await drain(worker)] == [0, 5, 9]


@in_loop
async def test_a_job_that_enqueues_itself_ends_the_drain(db: Db, database_url: str) -> None:
    async with shop(database_url) as (engine, worker):

        @worker.handles("work")
        async def work(_: Job) -> None:
            await engine.enqueue("work")

        await engine.enqueue("work")
        with pytest.raises(EngineError, match="7 jobs have run and a work is due"):
            await drain(worker, limit=7)
        assert counts(db) == {"job": 8, "ready": 1, "lease": 0, "ended": 7}


@in_loop
async def test_as_many_as_the_limit_are_fine(database_url: str) -> None:
    async with shop(database_url) as (engine, worker):
        await engine.enqueue_many([NewJob(job_type="work")] * 3)
        assert len(await drain(worker, limit=3)) == 3


@in_loop
async def test_a_retried_job_waits_for_its_backoff(database_url: str) -> None:
    async with shop(database_url) as (engine, worker):
        await engine.register_job_type("work", backoff=100, backoff_max=100)

        @worker.handles("work")
        async def work(_: Job) -> None:
            raise LookupError

        await engine.enqueue("work")
        assert [job.status for job in await drain(worker)] == ["pending"]
        assert await drain(worker) == []


@in_loop
async def test_an_exception_comes_out_of_a_drain_on_demand(db: Db, database_url: str) -> None:
    async with shop(database_url) as (engine, worker):

        @worker.handles("careful")
        async def careful(_: Job) -> None:
            raise LookupError

        await engine.enqueue("careful")
        await engine.enqueue("work")
        with pytest.raises(LookupError):
            await drain(worker, reraise=True)
        assert counts(db) == {"job": 2, "ready": 1, "lease": 0, "ended": 1}


@in_loop
async def test_a_drain_sweeps(db: Db, database_url: str) -> None:
    async with shop(database_url) as (engine, worker):
        await engine.enqueue("work", expires_in=0.000001)
        assert await drain(worker) == []
        assert scalar(db, "select status from jobengine.ended") == "expired"


# --- with the clock ---


@in_loop
async def test_with_a_clock_scheduled_and_retried_jobs_run(database_url: str, clock: Clock) -> None:
    async with shop(database_url) as (engine, worker):
        await engine.register_job_type("work", backoff=3600, backoff_max=3600)
        slept: list[UUID] = []

        @worker.handles("work")
        async def work(job: Job) -> Any:
            if job.input == "sleeps" and not slept:
                slept.append(job.id)
                return Snooze(10_000)
            if job.attempt < job.max_attempts:
                raise LookupError
            return "at last"

        await engine.enqueue("work", "fails")
        clock.advance(0.001)  # so that the next one is later
        await engine.enqueue("work", "sleeps", max_attempts=1)
        await engine.enqueue("work", "tomorrow", delay=86400, max_attempts=1)
        ran = await drain(worker, clock=clock)
        assert [(job.input, job.status) for job in ran] == [
            ("fails", "pending"),
            ("sleeps", "pending"),
            ("fails", "pending"),
            ("fails", "completed"),
            ("sleeps", "completed"),
            ("tomorrow", "completed"),
        ]
        assert {job.output for job in await engine.list()} == {"at last"}


@in_loop
async def test_a_job_that_sleeps_for_ever_ends_the_drain(database_url: str, clock: Clock) -> None:
    async with shop(database_url) as (engine, worker):

        @worker.handles("work")
        async def work(_: Job) -> Snooze:
            return Snooze(60)

        await engine.enqueue("work")
        with pytest.raises(EngineError, match="does it enqueue itself"):
            await drain(worker, clock=clock, limit=5)


@in_loop
async def test_a_clock_that_the_worker_cannot_see_is_refused(database_url: str) -> None:
    async with shop(database_url) as (_, worker):
        with psycopg.connect(database_url) as conn:
            clock = Clock(conn)
            with pytest.raises(InvalidArgument, match="autocommit") as caught:
                await drain(worker, clock=clock)
            assert caught.value.field == "clock"
            conn.rollback()
