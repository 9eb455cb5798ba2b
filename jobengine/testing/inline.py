"""Jobs that run in the task of a test: claimed, started, handled and finished, one by one.

Nothing runs beside the test: no loop extends a lease or hears of a cancellation meanwhile.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any
from uuid import UUID

import orjson

from jobengine import _db, calls
from jobengine._handlers import run_batch_handler, run_handler
from jobengine.errors import EngineError, InvalidArgument
from jobengine.records import Job, JobInfo, Report
from jobengine.testing.clock import Clock
from jobengine.worker import Worker

_PRIORITIES = range(10)


async def run_job(worker: Worker, job_id: UUID, *, reraise: bool = False) -> JobInfo:
    """Run this job with the worker's handler and return it as it then is.

    It must be due, and of the worker's queues and tenant; no other job is touched. What the handler
    raises fails the attempt, and with `reraise` comes out of here after that is recorded.
    """
    inline = _Inline(worker)
    return await inline.run(await inline.take(job_id), reraise=reraise)


async def drain(
    worker: Worker, *, clock: Clock | None = None, limit: int = 1000, reraise: bool = False
) -> list[JobInfo]:
    """Run all due jobs of the worker, and those that they enqueue; return each run's job after it.

    With a `clock` scheduled and retried jobs run too: it is moved on to the next one whenever none
    is due. Raises `EngineError` when more than `limit` jobs come, which a job that enqueues itself
    would do for ever. Sweeps, as a worker does.
    """
    if clock is not None and not clock.shared:
        raise InvalidArgument("clock", "on a connection with autocommit, not in a transaction")
    inline = _Inline(worker)
    ran: list[JobInfo] = []
    while job := await inline.take_next(clock):
        if len(ran) == limit:
            await inline.release(job)
            raise EngineError(
                f"{limit} jobs have run and a {job.job_type} is due: does it enqueue itself?"
            )
        ran.append(await inline.run(job, reraise=reraise))
    return ran


class _Inline:
    """What a worker does, without its loops."""

    def __init__(self, worker: Worker) -> None:
        self._engine = worker._engine
        self._handlers = worker._runners._handlers
        self._batch_handlers = worker._runners._batch_handlers
        self._reporter = worker._reporter
        self._agent_id = worker.agent_id
        self._queues = worker._claimer._queues
        self._tenant_id = worker._claimer._tenant_id

    # Taking

    async def take(self, job_id: UUID) -> Job:
        """Take this job; what came in its place, as it is not due, is given back."""
        found = await self._seen(job_id)
        taken = await self._claim([found.queue], found.tenant_id, _marks_before(found))
        for job in taken:
            if job.job_id == job_id:
                return job
            await self.release(job)
        raise InvalidArgument("job_id", f"a due job; this one is due at {found.run_at}")

    async def _seen(self, job_id: UUID) -> JobInfo:
        found = await self._engine.get(job_id)
        if found is None:
            raise InvalidArgument("job_id", "the id of a job")
        if found.status != "pending":
            raise InvalidArgument("job_id", f"a pending job; this one is {found.status}")
        if found.queue not in self._queues:
            raise InvalidArgument("job_id", f"of the worker's queues; it is in {found.queue!r}")
        if self._tenant_id not in {None, found.tenant_id}:
            raise InvalidArgument("job_id", "of the worker's tenant")
        return found

    async def take_next(self, clock: Clock | None) -> Job | None:
        """Take the next due job, if need be by moving the clock."""
        while True:
            await self._engine.sweep()
            if taken := await self._claim(self._queues, self._tenant_id, []):
                return taken[0]
            due_in = None if clock is None else await self._next_due()
            if clock is None or due_in is None:
                return None
            clock.advance(max(due_in, 0.001))

    async def _claim(
        self, queues: list[str], tenant_id: UUID | None, marks: list[dict[str, Any]]
    ) -> list[Job]:
        """Take one job; not by the worker's claimer, which may leave some for its next look."""
        request = {
            "queues": queues,
            "agent_id": self._agent_id,
            "limit": 1,
            "two_phase": "at_most_once",
            "tenant_id": tenant_id,
            "marks": marks,
        }
        async with self._engine.connection() as conn:
            return await calls.claim(conn, requests=orjson.dumps([request]).decode())

    async def _next_due(self) -> float | None:
        """Tell in how many seconds of the engine's clock the next scheduled job is due."""
        async with self._engine.connection() as conn:
            tenants = [self._tenant_id] if self._tenant_id else await calls._tenants(conn)
            return await calls._next_due(
                conn, tenant_ids=_db.array(tenants), queues=_db.array(self._queues)
            )

    async def release(self, job: Job) -> None:
        await self._engine.release([job])

    # Running

    async def run(self, job: Job, *, reraise: bool) -> JobInfo:
        error = None
        if job.started_at is not None or await self._start(job):
            report, error = await self._handle(job)
            await self._reporter._finish([job.job_type], [report])
        found = await self._engine.get(job.job_id)
        assert found is not None
        if reraise and error is not None:
            raise error
        return found

    async def _start(self, job: Job) -> bool:
        """Begin an at-most-once job; False: it is not ours any more, and must not run."""
        return (await self._engine.start([job]))[0].verdict == "ok"

    async def _handle(self, job: Job) -> tuple[Report, Exception | None]:
        """Run the handler, a batch handler with one job; return what to report, and what it raised.

        Middleware, and handlers of batches, may return an exception instead.
        """
        single = self._handlers.get(job.job_type)
        batch = self._batch_handlers.get(job.job_type)
        raised: list[Exception] = []

        async def noted(call: Awaitable[Any]) -> Any:
            try:
                answer = await call
            except Exception as error:
                raised.append(error)
                raise
            values = answer if batch and isinstance(answer, list | tuple) else [answer]
            raised.extend(value for value in values if isinstance(value, Exception))
            return answer

        if batch is not None:
            [report] = await run_batch_handler(lambda jobs: noted(batch(jobs)), [job])
        elif single is not None:
            report = await run_handler(lambda job: noted(single(job)), job)
        else:
            report = await run_handler(None, job)
        return report, raised[0] if raised else None


def _marks_before(job: JobInfo) -> list[dict[str, Any]]:
    """Return marks (see claimer.py) that leave this job the first one that a claim can find."""
    others: dict[str, Any] = {"run_at": "infinity", "job_id": job.job_id}
    here = {"run_at": job.run_at, "job_id": UUID(int=job.job_id.int - 1)}
    place = {"tenant_id": job.tenant_id, "queue": job.queue}
    return [
        {**place, "priority": priority, **(here if priority == job.priority else others)}
        for priority in _PRIORITIES
    ]
