"""`JobEngine`: the engine's operations for programs, on a pool of connections."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, Concatenate, ParamSpec, Self, TypeVar
from uuid import UUID

from psycopg_pool import AsyncConnectionPool

from jobengine import _db, calls, schema
from jobengine._arguments import (
    Elements,
    ended_arguments,
    finish_arguments,
    job_elements,
    lease_arguments,
    lease_elements,
    report_elements,
)
from jobengine._bulk import enqueue_all
from jobengine._coalescing import Coalescer
from jobengine._db import Connection
from jobengine._meter import Meter
from jobengine._pool import Checkout, make_pool, open_pool
from jobengine._retrying import looks
from jobengine._sharing import FEW, N, Request, Sharing, own
from jobengine.errors import EngineUnavailable, InvalidArgument, WaitTimeout
from jobengine.metrics import OnMetric
from jobengine.records import (
    Cancelled,
    Delivery,
    Enqueued,
    Extended,
    Finished,
    Held,
    Job,
    JobInfo,
    NewJob,
    Pruned,
    QueueStats,
    Released,
    Report,
    Retried,
    Started,
    Status,
    Swept,
    TwoPhase,
)
from jobengine.schema import Installed
from jobengine.wakeup import Wakeup

P = ParamSpec("P")
T = TypeVar("T")

# A waiter without time looks once all the same, and has so many seconds for that.
_LOOK_MIN = 1.0


class JobEngine:
    """A job engine in one PostgreSQL database.

    Takes a URL (or libpq connection string) or a pool of yours. Opens nothing before `async with`;
    closes only what it opened. All methods raise `jobengine.errors.EngineError` and its subclasses.

    Concurrent small calls of `enqueue`, `enqueue_many`, `claim`, `start`, `extend`, `finish` and
    `release` share statements: who calls while one of its kind is under way shares the next. Each
    is answered, refused or cancelled as if it were alone; a cancelled one may have been done. What
    was claimed for a caller who is gone is given back, unless its `request_id` can claim it again.

    `wait` and `Worker` keep one connection that listens, for all of them together: they need a pool
    of at least two.
    """

    def __init__(
        self,
        database: str | AsyncConnectionPool[Any],
        *,
        min_size: int = 1,
        max_size: int = 10,
        prepare_threshold: int | None = 5,
        on_metric: OnMetric | None = None,
    ) -> None:
        """`min_size` and `max_size` bound the pool that is made for a URL.

        `prepare_threshold` is psycopg's: None where a pooler in transaction mode, which knows no
        prepared statements, stands before the server. `on_metric` is told what is counted:
        `jobengine.metrics`.
        """
        self._own_pool = isinstance(database, str)
        self._pool = (
            make_pool(
                database,
                min_size=min_size,
                max_size=max_size,
                prepare_threshold=prepare_threshold,
            )
            if isinstance(database, str)
            else database
        )
        self.meter = None if on_metric is None else Meter(on_metric)
        self._sharing = Sharing(self.connection)
        self.wakeup = Wakeup(self.connection, self.meter)

    async def __aenter__(self) -> Self:
        """Open the pool, if it is the engine's own; `EngineUnavailable` where no server answers."""
        if self._own_pool:
            await open_pool(self._pool)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop listening and close what the engine opened."""
        await self.wakeup.close()
        if self._own_pool:
            await self._pool.close()

    def connection(self) -> AbstractAsyncContextManager[Connection]:
        """Yield a connection of the pool; what is open at the end of the block is committed."""
        return Checkout(self._pool)

    def check_pool(self) -> None:
        """`InvalidArgument` where the pool has no connection left once one of them listens."""
        if self._pool.max_size == 1:
            raise InvalidArgument("max_size", "at least 2: one connection listens for wake-ups")

    async def install(self, *, roles: bool = True) -> Installed:
        """Bring the database to this library's engine: `jobengine.schema.install`."""
        async with self.connection() as conn:
            return await schema.install(conn, roles=roles)

    async def verify(self) -> Sequence[str]:
        """Name every difference between database and library: `jobengine.schema.verify`."""
        async with self.connection() as conn:
            return await schema.verify(conn)

    async def register_job_type(
        self,
        job_type: str,
        *,
        priority: int | None = None,
        max_attempts: int | None = None,
        lease: float | None = None,
        delivery: Delivery | None = None,
        backoff: float | None = None,
        backoff_max: float | None = None,
        settle: str | None = None,
    ) -> None:
        """Create a job type, or change what is given; seconds for lease and backoff.

        `settle` names the function ("schema.function", "" for none) that changes the parents in the
        transaction that ends a job. Contract: sql/engine/functions/register_job_type.sql.
        """
        async with self.connection() as conn:
            await calls.register_job_type(
                conn,
                job_type=job_type,
                priority=priority,
                max_attempts=max_attempts,
                lease_seconds=lease,
                delivery=delivery,
                backoff_seconds=backoff,
                backoff_max_seconds=backoff_max,
                settle=settle,
            )

    async def enqueue(
        self,
        job_type: str,
        input: Any = None,  # noqa: A002 - the column's name
        *,
        queue: str | None = None,
        tenant_id: UUID | None = None,
        priority: int | None = None,
        run_at: datetime | None = None,
        delay: float | None = None,
        expires_at: datetime | None = None,
        expires_in: float | None = None,
        dedup_key: str | None = None,
        live_key: str | None = None,
        max_attempts: int | None = None,
        lease: float | None = None,
        meta: dict[str, Any] | None = None,
        wake: bool | None = None,
        connection: Connection | None = None,
    ) -> Enqueued:
        """Put one job in; with `connection`, in your transaction: it exists when that commits.

        The arguments are those of `NewJob`; `wake=True` makes `wait` on it prompt. Contract:
        sql/engine/functions/enqueue.sql.
        """
        job = NewJob(
            job_type=job_type,
            input=input,
            queue=queue,
            tenant_id=tenant_id,
            priority=priority,
            run_at=run_at,
            delay=delay,
            expires_at=expires_at,
            expires_in=expires_in,
            dedup_key=dedup_key,
            live_key=live_key,
            max_attempts=max_attempts,
            lease=lease,
            meta=meta,
            wake=wake,
        )
        return (await self.enqueue_many((job,), connection=connection))[0]

    async def enqueue_many(
        self, jobs: Iterable[NewJob], *, connection: Connection | None = None
    ) -> Sequence[Enqueued]:
        """Put jobs in, all or none, and answer in their order; tens of thousands in one call.

        A generator makes its jobs while the server writes those before them.
        """
        if self.meter is None:
            return await self._enqueue(iter(jobs), connection)
        job_types: list[str] = []
        answers = await self._enqueue(_noting(jobs, job_types), connection)
        self.meter.enqueued(job_types, answers)
        return answers

    async def _enqueue(
        self, jobs: Iterator[NewJob], connection: Connection | None
    ) -> Sequence[Enqueued]:
        if connection is not None:
            return await enqueue_all(connection, jobs)
        first = list(itertools.islice(jobs, FEW + 1))
        if not first:
            return []
        if len(first) <= FEW:
            return own(await self._sharing.enqueue(job_elements(first)))
        async with self.connection() as conn:
            return await enqueue_all(conn, itertools.chain(first, jobs))

    async def wait(self, job_id: UUID, *, timeout: float | None = None) -> JobInfo:  # noqa: ASYNC109 - what users look for
        """Return the job once it has ended; `WaitTimeout` after `timeout` seconds.

        Prompt if the job was enqueued with `wake=True`, else within half a second. Rides out a
        restart of the server. `InvalidArgument` where the pool holds a single connection.
        """
        self.check_pool()
        deadline = None if timeout is None else time.monotonic() + timeout
        with self.wakeup.end(job_id) as ended:
            for pause in looks():
                ended.clear()
                if (job := await self._look_for(job_id, deadline)) and job.ended:
                    return job
                left = pause if deadline is None else min(pause, deadline - time.monotonic())
                if left <= 0:
                    raise WaitTimeout
                await _wait(ended, left)
        raise AssertionError

    async def get(self, job_id: UUID, *, tenant_id: UUID | None = None) -> JobInfo | None:
        """Return the job, or None; with a tenant, only a job of that one (get.sql)."""
        async with self.connection() as conn:
            found = await calls.get(conn, job_ids=_db.array([job_id]), tenant_id=tenant_id)
        return found[0] if found else None

    async def claim(
        self,
        queues: Sequence[str],
        *,
        agent_id: str,
        limit: int = 1,
        tenant_id: UUID | None = None,
        request_id: UUID | None = None,
        two_phase: TwoPhase = "never",
    ) -> Sequence[Job]:
        """Take up to `limit` due jobs; a repeat with the same `request_id` gets the same ones.

        Contract: sql/engine/functions/claim.sql. `Worker` claims by itself; this is the half of a
        remote agent, who then calls `start` (if two-phase), `extend`, and `finish` or `release`.
        """
        request = {
            "queues": list(queues),
            "agent_id": agent_id,
            "limit": limit,
            "tenant_id": tenant_id,
            "request_id": request_id,
            "two_phase": two_phase,
        }
        text = _db.json(request, "requests") or b""
        (jobs,) = await self._sharing.claim([Request(text, limit, request_id is not None)])
        if self.meter is not None:
            self.meter.claimed(jobs)
        return jobs

    async def start(self, leases: Iterable[Held]) -> Sequence[Started]:
        """Begin the work on leases that were claimed in two phases (start.sql)."""
        answers = await self._leases(calls.start, self._sharing.start, leases)
        if self.meter is not None:
            self.meter.leases(answers)
        return answers

    async def extend(
        self, leases: Iterable[Held], *, seconds: float | None = None
    ) -> Sequence[Extended]:
        """Keep leases, by the job type's lease or so many seconds from now on (extend.sql)."""
        if seconds is None:
            answers = await self._leases(calls.extend, self._sharing.extend, leases)
        else:
            arguments = lease_arguments(leases)
            answers = await self._call(calls.extend, **arguments, seconds=seconds)
        if self.meter is not None:
            self.meter.leases(answers)
        return answers

    async def finish(
        self, reports: Iterable[Report], *, job_types: Sequence[str] | None = None
    ) -> Sequence[Finished]:
        """Report what became of held jobs; repeating it is harmless (finish.sql).

        `job_types`, one per report, are for the metrics alone.
        """
        said = list(reports)
        if 0 < len(said) <= FEW:
            answers = own(await self._sharing.finish(report_elements(said)))
        else:
            unsorted = await self._call(calls.finish, **finish_arguments(said))
            answers = sorted(unsorted, key=lambda answer: answer.item)
        if self.meter is not None:
            self.meter.finished(job_types or [""] * len(said), said, answers)
        return answers

    async def finish_own(self, reports: Sequence[Report]) -> Sequence[Finished]:
        """Do the same for a `Worker`, whose own reports need no check of their ids and outcomes.

        A statement of its own, which costs a third; the answers come in any order.
        """
        return await self._call(calls.finish, **ended_arguments(reports))

    async def release(self, leases: Iterable[Held]) -> Sequence[Released]:
        """Give held jobs back unused (release.sql)."""
        answers = await self._leases(calls.release, self._sharing.release, leases)
        if self.meter is not None:
            self.meter.released(answers)
        return answers

    async def cancel(
        self,
        job_ids: Iterable[UUID] | None = None,
        *,
        reason: str | None = None,
        tenant_id: UUID | None = None,
        queue: str | None = None,
        job_type: str | None = None,
        limit: int = 1000,
    ) -> Sequence[Cancelled]:
        """Stop jobs, by id or by tenant, queue and type (cancel.sql)."""
        return await self._call(
            calls.cancel,
            job_ids=None if job_ids is None else _ids(job_ids),
            reason=reason,
            tenant_id=tenant_id,
            queue=queue,
            job_type=job_type,
            limit=limit,
        )

    async def retry(
        self,
        job_ids: Iterable[UUID],
        *,
        run_at: datetime | None = None,
        expires_at: datetime | None = None,
        tenant_id: UUID | None = None,
    ) -> Sequence[Retried]:
        """Put ended jobs back to wait with all their attempts (retry.sql)."""
        return await self._call(
            calls.retry,
            job_ids=_ids(job_ids),
            run_at=run_at,
            expires_at=expires_at,
            tenant_id=tenant_id,
        )

    async def sweep(self, *, limit: int = 1000) -> Swept:
        """Take back run-out leases, end what expired, settle again (sweep.sql)."""
        (swept,) = await self._call(calls.sweep, limit=limit)
        if self.meter is not None:
            self.meter.swept(swept)
        return swept

    async def prune(self, *, keep: float, after: UUID | None = None, limit: int = 10000) -> Pruned:
        """Remove jobs that ended more than `keep` seconds ago (prune.sql)."""
        (pruned,) = await self._call(calls.prune, keep_seconds=keep, after=after, limit=limit)
        if self.meter is not None:
            self.meter.pruned(pruned)
        return pruned

    async def count(
        self,
        *,
        tenant_id: UUID | None = None,
        status: Status | None = None,
        queue: str | None = None,
        job_type: str | None = None,
        unsettled: bool = False,
        cap: int | None = 10000,
    ) -> int:
        """Count the jobs that match, up to `cap`; None counts exactly (count.sql)."""
        async with self.connection() as conn:
            return await calls.count(
                conn,
                tenant_id=tenant_id,
                status=status,
                queue=queue,
                job_type=job_type,
                unsettled=unsettled,
                cap=cap,
            )

    async def stats(self, *, tenant_id: UUID | None = None) -> Sequence[QueueStats]:
        """Tell what waits and what is held, per queue (stats.sql)."""
        return await self._call(calls.stats, tenant_id=tenant_id)

    async def list(
        self,
        *,
        tenant_id: UUID | None = None,
        status: Status | None = None,
        queue: str | None = None,
        job_type: str | None = None,
        unsettled: bool = False,
        before: UUID | None = None,
        limit: int = 50,
    ) -> Sequence[JobInfo]:
        """Return a page of jobs, newest first; the next page is `before` the last id (list.sql)."""
        return await self._call(
            calls.list,
            tenant_id=tenant_id,
            status=status,
            queue=queue,
            job_type=job_type,
            unsettled=unsettled,
            before=before,
            limit=limit,
        )

    async def _call(
        self,
        call: Callable[Concatenate[Connection, P], Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        async with self.connection() as conn:
            return await call(conn, *args, **kwargs)

    async def _leases(
        self,
        call: Callable[..., Awaitable[Sequence[N]]],
        shared: Coalescer[Elements, N],
        leases: Iterable[Held],
    ) -> Sequence[N]:
        held = list(leases)
        if 0 < len(held) <= FEW:
            return own(await shared(lease_elements(held)))
        return await self._call(call, **lease_arguments(held))

    async def _look_for(self, job_id: UUID, deadline: float | None) -> JobInfo | None:
        """Return the job; None too where the server, or a connection to it, is away meanwhile."""
        left = None if deadline is None else max(_LOOK_MIN, deadline - time.monotonic())
        try:
            async with asyncio.timeout(left):
                job = await self.get(job_id)
        except (EngineUnavailable, TimeoutError):
            return None
        if job is None:
            raise InvalidArgument("job_id", "the id of a job")
        return job


def _noting(jobs: Iterable[NewJob], job_types: list[str]) -> Iterator[NewJob]:
    for job in jobs:
        job_types.append(job.job_type)
        yield job


def _ids(job_ids: Iterable[UUID]) -> str:
    return _db.array(job_ids) or "{}"


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
