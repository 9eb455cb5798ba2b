"""The runners of a worker: each takes one work after the other and runs its handler."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from jobengine import logs
from jobengine._book import Batch, HeldJob
from jobengine._handlers import (
    AsyncBatchHandler,
    AsyncHandler,
    BatchHandler,
    Handler,
    Threads,
    as_async,
    run_batch_handler,
    run_handler,
)
from jobengine._reporter import Reporter
from jobengine._retrying import persistently
from jobengine._turns import Turns
from jobengine.engine import JobEngine
from jobengine.errors import InvalidArgument
from jobengine.middleware import Middleware, around, around_batch
from jobengine.records import Report

log = logging.getLogger("jobengine.worker")
W = TypeVar("W")


class Runners:
    """The handlers of a worker, and the loop that runs them."""

    def __init__(
        self,
        engine: JobEngine,
        agent_id: str,
        *,
        turns: Turns,
        threads: Threads,
        reporter: Reporter,
        middleware: Sequence[Middleware],
    ) -> None:
        """Without handlers at first."""
        self._engine = engine
        self._agent_id = agent_id
        self._turns = turns
        self._threads = threads
        self._reporter = reporter
        self._middleware = tuple(middleware)
        self._running = False
        self._handlers: dict[str, AsyncHandler] = {}
        self._batch_handlers: dict[str, AsyncBatchHandler] = {}

    def add(self, job_type: str, handler: Handler) -> None:
        """Run single jobs of the type with this handler."""
        self._check_not_running()
        ready = self._timed(job_type, as_async(handler, self._threads))
        self._batch_handlers.pop(job_type, None)
        self._handlers[job_type] = around(self._middleware, ready) if self._middleware else ready

    def add_batch(self, job_type: str, handler: BatchHandler) -> None:
        """Run batches of the type with this handler."""
        self._check_not_running()
        ready = self._timed(job_type, as_async(handler, self._threads))
        if self._middleware:
            ready = around_batch(self._middleware, ready)
        self._handlers.pop(job_type, None)
        self._batch_handlers[job_type] = ready

    def _check_not_running(self) -> None:
        """Jobs may be planned already for the handler that there was."""
        if self._running:
            raise InvalidArgument("job_type", "given a handler before the worker runs")

    def _timed(
        self, job_type: str, handler: Callable[[W], Awaitable[Any]]
    ) -> Callable[[W], Awaitable[Any]]:
        meter = self._engine.meter
        return handler if meter is None else meter.timed(job_type, handler)

    async def run(self) -> None:
        """Run whatever comes, for ever."""
        self._running = True
        # Looked up once: this is the hottest loop of Python.
        next_work, done, ended = self._turns.next, self._turns.done, self._reporter.ended
        runner = _current_task()
        while True:
            work = await next_work()
            try:
                if isinstance(work, HeldJob):
                    ended(work, await self._run_one(work, runner))
                else:
                    await self._run_batch(work, runner)
            finally:
                done(work)

    async def _run_one(self, held: HeldJob, runner: asyncio.Task[None]) -> Report | None:
        """Run the handler; None: the job is somebody else's now, or is to be given back."""
        held.runner = runner
        try:
            if not held.started and not held.stopped:
                await self._start([held])
            if not held.stopped:
                held.begun = True
                return await run_handler(self._handlers.get(held.job.job_type), held.job)
        except asyncio.CancelledError:
            if not held.stopped:
                raise
        finally:
            held.runner = None
            if runner.cancelling():
                _forget_cancellations(runner)
        return held.report_of_stop()

    async def _run_batch(self, batch: Batch, runner: asyncio.Task[None]) -> None:
        """Run the handler for those jobs of the batch that are not stopped when it begins."""
        batch.begin(runner)
        reports: dict[HeldJob, Report] = {}
        try:
            await self._start([h for h in batch.members if not h.started and not h.stopped])
            if going := [held for held in batch.members if not held.stopped]:
                handler = self._batch_handlers[batch.job_type]
                for held in going:
                    held.begun = True
                answer = await run_batch_handler(handler, [held.job for held in going])
                reports = dict(zip(going, answer, strict=True))
        except asyncio.CancelledError:
            if not batch.stopped:
                raise
        finally:
            batch.end()
            _forget_cancellations(runner)
        for held in batch.members:
            self._reporter.ended(held, reports.get(held) or held.report_of_stop())

    async def _start(self, jobs: Sequence[HeldJob]) -> None:
        """Begin at-most-once jobs: only an accepted `start` lets a handler have them.

        `duplicate` is this worker's own start, whose answer was lost. From here on nobody can say
        that the job did not run, so a drain reports it `unknown`.
        """
        if not jobs:
            return
        answers = await persistently(
            lambda: self._engine.start([held.job for held in jobs]),
            "start",
            meter=self._engine.meter,
        )
        verdicts = {answer.job_id: answer.verdict for answer in answers or ()}
        for held in jobs:
            verdict = verdicts[held.job.job_id]
            held.started = verdict in {"ok", "duplicate"}
            if not held.started:
                held.stopped_because = "lease_lost"
                fields = {"agent_id": self._agent_id, **held.names}
                logs.emit(log, logs.LEASE_LOST, **fields, verdict=verdict)


def _current_task() -> asyncio.Task[None]:
    task = asyncio.current_task()
    assert task is not None
    return task


def _forget_cancellations(runner: asyncio.Task[None]) -> None:
    """Let the runner go on, also where a handler took no notice of its cancellation."""
    while runner.cancelling():
        runner.uncancel()
