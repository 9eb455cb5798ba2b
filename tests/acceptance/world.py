"""What these tests share: an event loop per test, an open engine, a worker that works meanwhile."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any, ParamSpec, TypeAlias
from uuid import UUID

import psycopg
from psycopg.rows import DictRow

from jobengine import JobEngine, JobInfo, NewJob, Worker

P = ParamSpec("P")
Db: TypeAlias = psycopg.Connection[DictRow]

# Seconds for a fact that must come; tools/mutants, where it does not, has less.
PATIENCE = float(os.environ.get("JOBENGINE_TEST_PATIENCE", "30"))
ANNA = UUID(int=0xA)
BERT = UUID(int=0xB)
NOBODY = UUID("00000000-0000-7000-8000-00000000dead")  # a job that does not exist


def in_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test in a loop of its own; one that hangs fails."""

    async def bounded(*args: P.args, **kwargs: P.kwargs) -> None:
        async with asyncio.timeout(2 * PATIENCE) as limit:
            await test(*args, **kwargs)
        assert not limit.expired(), "the test hung, and somebody swallowed its cancellation"

    @functools.wraps(test)
    def sync(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(bounded(*args, **kwargs))

    return sync


async def until(fact: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Look again and again until the fact is there."""
    async with asyncio.timeout(seconds):
        while not fact():  # noqa: ASYNC110 - the fact is in a database
            await asyncio.sleep(0.005)


async def within(coming: Awaitable[Any], seconds: float = PATIENCE) -> Any:
    """Wait for what must come."""
    async with asyncio.timeout(seconds):
        return await coming


@asynccontextmanager
async def site(url: str, **pool: Any) -> AsyncIterator[JobEngine]:
    """An open engine with the job types `work` (retried at once) and `careful` (at_most_once)."""
    async with JobEngine(url, **pool) as engine:
        await register(engine)
        yield engine


async def register(engine: JobEngine) -> None:
    await engine.register_job_type("work", max_attempts=3, backoff=0.01, backoff_max=0.01)
    await engine.register_job_type("careful", delivery="at_most_once")


@asynccontextmanager
async def working(*workers: Worker) -> AsyncIterator[asyncio.Task[Any]]:
    """Run the workers until the block ends; what runs then is cut short."""
    running = asyncio.ensure_future(asyncio.gather(*(worker.run() for worker in workers)))
    task = asyncio.ensure_future(_only(running))
    try:
        yield task
    finally:
        for worker in workers:
            worker.stop()
            worker.stop()
        await task


async def _only(running: Awaitable[Any]) -> None:
    await running


async def ends(engine: JobEngine, job_ids: Iterable[UUID]) -> list[JobInfo]:
    """Wait until all these jobs have ended."""
    return [await engine.wait(job_id, timeout=PATIENCE) for job_id in job_ids]


async def end(engine: JobEngine, job_id: UUID) -> JobInfo:
    return await engine.wait(job_id, timeout=PATIENCE)


def scalar(db: Db, query: str, *values: object) -> Any:
    """The first value of the first row."""
    row = db.execute(query.encode(), values).fetchone()
    return next(iter(row.values())) if row else None


def counts(db: Db) -> dict[str, int]:
    """How many jobs there are in each table."""
    tables = ("job", "ready", "lease", "ended")
    return {table: scalar(db, f"select count(*) from jobengine.{table}") for table in tables}


def as_owner(db: Db, statement: str, *values: object) -> None:
    """Change the engine's tables behind its back."""
    db.execute("set role jobengine_owner")
    db.execute(statement.encode(), values)
    db.execute("reset role")


def asleep(db: Db, worker: Worker) -> bool:
    """Whether the worker will only be woken by a notification, a scheduled job or its poll.

    It stands in `waiting` before its last look for jobs, and waits to be told only after that.
    """
    return worker._rest.asleep and bool(scalar(db, "select exists (select from jobengine.waiting)"))


async def enqueue(engine: JobEngine, count: int = 1, **fields: Any) -> list[UUID]:
    """Put so many jobs in, of type `work` unless told otherwise."""
    jobs = [NewJob(**{"job_type": "work", **fields}) for _ in range(count)]
    return [job.id for job in await engine.enqueue_many(jobs)]


async def standing(engine: JobEngine, job_ids: Iterable[UUID]) -> list[tuple[str, int, int]]:
    """Status, attempts spent and lease epoch."""
    found = [await engine.get(job_id) for job_id in job_ids]
    return [(job.status, job.attempt, job.lease_epoch) for job in found if job]


# With a clock that stands still: leases that were extended since it was moved.
EXTENDED = (
    "select count(*) from jobengine.lease l join jobengine.job j using (job_id)"
    " where l.lease_expires_at >= jobengine._now() + make_interval(secs => j.lease_seconds)"
)
STEAL = (  # what sweep does to a lease that has run out; %s: whose
    "with gone as (delete from jobengine.lease where job_id = any(%s) returning *)"
    " insert into jobengine.ready"
    " (job_id, tenant_id, queue, priority, run_at, attempt, lease_epoch, lost, expires_at)"
    " select job_id, tenant_id, 'elsewhere', priority, claimed_at, attempt, lease_epoch, lost,"
    " expires_at from gone"
)
