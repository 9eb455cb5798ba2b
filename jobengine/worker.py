"""`Worker`: claims jobs, runs their handlers and reports what became of them.

Loops share one book of held jobs: *claim* fills free slots, the reporter sends results in
batches, *extend* keeps leases and learns of cancels and lost leases, *sweep* takes back what others
lost. Each tries again, with backoff, when PostgreSQL is away. The handlers run in as many runner
tasks as there are slots; a runner is a loop, because a task per job costs more than a short job.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import signal
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar
from uuid import UUID, uuid4

from jobengine._book import Book, HeldJob
from jobengine._cancelling import cancelled
from jobengine._handlers import AsyncHandler, Handler, Threads, as_async, run_handler
from jobengine._reporter import Reporter
from jobengine._retrying import persistently
from jobengine.claimer import Claimer
from jobengine.engine import JobEngine
from jobengine.errors import EngineError, InvalidArgument
from jobengine.records import Report

log = logging.getLogger("jobengine.worker")
H = TypeVar("H", bound=Handler)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

# An idle worker asks again after these pauses, then stands in `waiting` and is notified: a worker
# that is idle for a moment costs nobody a NOTIFY, which serializes commits.
_IDLE_PAUSES = (0.002, 0.004, 0.008, 0.016, 0.02)
# Leases that one call takes, keeps or gives back; the SQL functions take ten times as many.
_BATCH = 1000
# A runner lets the loops run after so many handlers that never waited.
_YIELD_EVERY = 32
# How long a drain waits for handlers that ignore their cancellation, and for the last answers.
_GRACE = 5.0


class Worker:
    """Runs handlers for the jobs of some queues, of one tenant or of all.

    A job runs at least once; a type registered as `at_most_once` runs at most once, and is
    `unknown` if nobody can say whether it did. A handler is cancelled when its job is cancelled or
    its lease lost. `run` ends after `stop()`: it takes no more jobs, lets handlers finish for
    `drain_timeout` seconds, then gives back what may run again and reports the rest `unknown`.
    """

    def __init__(
        self,
        engine: JobEngine,
        *,
        queues: Sequence[str] = ("default",),
        tenant_id: UUID | None = None,
        concurrency: int = 100,
        agent_id: str | None = None,
        poll: float = 2.0,
        sweep_every: float = 1.0,
        drain_timeout: float = 30.0,
    ) -> None:
        """`poll` bounds what a lost notification costs, `sweep_every` a rescue; in seconds."""
        if concurrency < 1:
            raise InvalidArgument("concurrency", "at least 1")
        if not queues:
            raise InvalidArgument("queues", "at least one")
        self.agent_id = agent_id or f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
        self._engine = engine
        self._concurrency = concurrency
        self._poll = poll
        self._sweep_every = sweep_every
        self._drain_timeout = drain_timeout
        self._handlers: dict[str, AsyncHandler] = {}
        self._claimer = Claimer(
            engine.connection,
            queues=queues,
            agent_id=self.agent_id,
            tenant_id=tenant_id,
            two_phase="at_most_once",
        )
        self._threads = Threads(concurrency)
        self._book = Book()
        self._reporter = Reporter(engine, self._book)
        self._todo: asyncio.Queue[HeldJob] = asyncio.Queue()
        self._free = concurrency
        self._freed = asyncio.Event()
        self._job_came = asyncio.Event()
        self._stopping = asyncio.Event()

    def handles(self, job_type: str) -> Callable[[H], H]:
        """Register the decorated function, async or not, as the handler of `job_type`.

        It takes the `Job` and returns its output (JSON), or `Reject`, `Snooze` or `Cancel`; an
        exception fails the attempt. Functions that are not async run in threads.
        """

        def register(handler: H) -> H:
            self._handlers[job_type] = as_async(handler, self._threads)
            return handler

        return register

    def stop(self) -> None:
        """Begin to drain; a second call ends the wait for handlers."""
        if self._stopping.is_set():
            self._drain_timeout = 0.0
        self._stopping.set()

    @property
    def abandoned(self) -> bool:
        """Whether `run` ended without a handler that took no notice; Python then waits for it."""
        return self._free < self._concurrency or self._threads.busy

    async def run(self, *, signals: Sequence[signal.Signals] = ()) -> None:
        """Work until stopped; a program passes `signals=STOP_SIGNALS`, and they stop it."""
        loop = asyncio.get_running_loop()
        for number in signals:
            loop.add_signal_handler(number, self.stop)
        runners = [asyncio.create_task(self._runner()) for _ in range(self._concurrency)]
        loops = [
            asyncio.create_task(work)
            for work in (self._reporter.run(), self._extend_loop(), self._sweep_loop())
        ]
        try:
            await self._claim_until_stopped(loops)
            await self._drain()
        finally:
            await cancelled(*loops, *runners, within=_GRACE)
            self._threads.close()
            for number in signals:
                loop.remove_signal_handler(number)

    # Claiming

    async def _claim_until_stopped(self, loops: Sequence[asyncio.Task[None]]) -> None:
        """Claim; a loop that dies is a bug, which ends the worker instead of crippling it."""
        with self._engine.wakeup.jobs(self._on_job):
            claiming = asyncio.create_task(self._claim_loop())
            stop = asyncio.create_task(self._stopping.wait())
            try:
                await asyncio.wait({claiming, stop, *loops}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._stopping.set()
                # A claim under way may have taken jobs: its answer is waited for.
                await asyncio.wait({claiming}, timeout=_GRACE)
                await cancelled(claiming, stop)
            for task in (claiming, *loops):
                if task.done() and not task.cancelled():
                    task.result()

    async def _claim_loop(self) -> None:
        empty = 0
        while not self._stopping.is_set():
            if not self._free:
                self._freed.clear()
                await self._until_stopped(self._freed)
            elif await self._claim():
                empty = 0
            else:
                empty += 1
                await self._idle(empty)

    async def _claim(self) -> int:
        """Claim as many jobs as there are free slots; return how many came."""
        free = min(self._free, _BATCH)
        jobs = await persistently(lambda: self._claimer.claim(free), "claim", self._stopping) or ()
        came = [self._book.add(job) for job in jobs]
        if self._stopping.is_set():
            await self._give_back(came)
            return 0
        for held in came:
            self._free -= 1
            self._todo.put_nowait(held)
        return len(came)

    async def _idle(self, empty: int) -> None:
        """Wait for a job: shortly at first, then until one is notified or due."""
        if empty <= len(_IDLE_PAUSES):
            await self._until_stopped(self._job_came, _IDLE_PAUSES[empty - 1])
        else:
            await self._sleep(self._poll * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
        self._job_came.clear()

    async def _sleep(self, seconds: float) -> None:
        listener_id = uuid4()
        try:
            await self._claimer.doze(listener_id, 2 * seconds)
            # Once more: a job that was committed before the doze notified nobody.
            if not await self._claim():
                left = await self._claimer.seconds_to_sleep(seconds)
                await self._until_stopped(self._job_came, left)
                await self._claim()
            await self._claimer.rouse(listener_id)
        except EngineError as error:
            log.warning("idle: %s", error)
            await self._until_stopped(self._stopping, seconds)

    def _on_job(self, tenant_id: UUID | None, queue: str | None) -> None:
        if tenant_id is None or self._claimer.wants(tenant_id, queue):
            self._job_came.set()

    async def _until_stopped(self, event: asyncio.Event, seconds: float | None = None) -> None:
        """Wait for the event, `seconds` at most, and no longer than until `stop`."""
        waits = {asyncio.ensure_future(e.wait()) for e in (event, self._stopping)}
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    # Running

    async def _runner(self) -> None:
        ran = 0
        while True:
            held = await self._todo.get()
            report = await self._run_one(held)
            if report is not None:
                self._reporter.report(held, report)
            elif held.stopped_because != "drained":
                self._book.remove(held)
            self._free += 1
            self._freed.set()
            ran += 1
            if ran % _YIELD_EVERY == 0:
                await asyncio.sleep(0)

    async def _run_one(self, held: HeldJob) -> Report | None:
        """Run the handler; None: the job is somebody else's now, or is to be given back."""
        runner = held.runner = asyncio.current_task()
        assert runner is not None
        try:
            if not held.started and not held.stopped:
                await self._start(held)
            if not held.stopped:
                return await run_handler(self._handlers.get(held.job.job_type), held.job)
        except asyncio.CancelledError:
            if not held.stopped:
                raise
        finally:
            held.runner = None
            # The runner goes on, also where the handler took no notice.
            while runner.cancelling():
                runner.uncancel()
        return held.report_of_stop()

    async def _start(self, held: HeldJob) -> None:
        """Begin an at-most-once job: only an accepted `start` lets its handler run.

        `duplicate` is this worker's own start, whose answer was lost. From here on nobody can say
        that the job did not run, so a drain reports it `unknown`.
        """
        answers = await persistently(lambda: self._engine.start([held.job]), "start") or ()
        held.started = any(answer.verdict in {"ok", "duplicate"} for answer in answers)
        if not held.started:
            held.stopped_because = "lease_lost"

    # Keeping leases

    async def _extend_loop(self) -> None:
        while True:
            await self._book.tick()
            due = self._book.due_for_extension()
            for start in range(0, len(due), _BATCH):
                try:
                    await self._extend(due[start : start + _BATCH])
                except EngineError as error:
                    log.warning("extend: %s", error)

    async def _extend(self, due: Sequence[HeldJob]) -> None:
        for held, answer in zip(due, await self._engine.extend(h.job for h in due), strict=True):
            if answer.verdict != "ok":
                held.stop("lease_lost", answer.verdict)
            elif answer.cancel_reason is not None:
                held.stop("cancelled", answer.cancel_reason)
            else:
                held.extended()

    async def _sweep_loop(self) -> None:
        while True:
            await asyncio.sleep(self._sweep_every * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
            try:
                while (await self._engine.sweep()).more:
                    pass
            except EngineError as error:
                log.warning("sweep: %s", error)

    # Ending

    async def _drain(self) -> None:
        """Give back what has not begun, wait for the rest, and end what takes too long."""
        todo = [self._todo.get_nowait() for _ in range(self._todo.qsize())]
        self._free += len(todo)
        await self._give_back(todo)
        await self._all_free(lambda: self._drain_timeout)
        for held in self._book.unreported():
            held.stop("drained", "the worker was stopped")
        await self._all_free(lambda: _GRACE)
        await self._give_back([h for h in self._book.unreported() if h.repeatable])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GRACE):
                await self._reporter.flush()

    async def _all_free(self, seconds: Callable[[], float]) -> None:
        """Wait until no handler runs, for so many seconds, which may become fewer meanwhile."""
        began = time.monotonic()
        while self._free < self._concurrency and time.monotonic() - began < seconds():
            self._freed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await self._freed.wait()

    async def _give_back(self, jobs: Iterable[HeldJob]) -> None:
        """Release jobs; where PostgreSQL stays away their leases run out instead."""
        held = list(jobs)
        if held:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_GRACE):
                    for start in range(0, len(held), _BATCH):
                        await self._release(held[start : start + _BATCH])
        for job in held:
            self._book.remove(job)

    async def _release(self, held: Sequence[HeldJob]) -> None:
        await persistently(lambda: self._engine.release(h.job for h in held), "release")
