"""`Worker`: claims jobs, runs their handlers and reports what became of them.

Loops share one book of held jobs: *claim* fills free slots, the reporter sends results in
batches, *extend* keeps leases and learns of cancels and lost leases, housekeeping takes back what
others lost. Each tries again, with backoff, when PostgreSQL is away. The handlers run in as many
runner tasks as there are slots; a runner is a loop, because a task per job costs more than a short
job.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar
from uuid import UUID, uuid4

from jobengine import _values, logs
from jobengine._book import Book, HeldJob
from jobengine._cancelling import cancelled
from jobengine._handlers import BatchHandler, Handler, Threads
from jobengine._reporter import Reporter
from jobengine._resting import Rest
from jobengine._retrying import note_retry, persistently
from jobengine._runners import Runners
from jobengine._turns import Turns
from jobengine.claimer import Claimer
from jobengine.engine import JobEngine
from jobengine.errors import EngineError, InvalidArgument
from jobengine.housekeeping import KEEP, Housekeeping
from jobengine.middleware import Middleware

log = logging.getLogger("jobengine.worker")
H = TypeVar("H", bound=Handler)
B = TypeVar("B", bound=BatchHandler)
W = TypeVar("W")

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

# Leases that one call takes, keeps or gives back; the SQL functions take ten times as many.
_BATCH = 1000
# How long a drain waits for handlers that ignore their cancellation, and for the last answers.
_GRACE = 5.0


class Worker:
    """Runs handlers for the jobs of some queues, of one tenant or of all.

    A job runs at least once; a type registered as `at_most_once` runs at most once, and is
    `unknown` if nobody can say whether it did. A handler is cancelled when its job is cancelled or
    its lease lost. `run` ends after `stop()`: it takes no more jobs, lets handlers finish for
    `drain_timeout` seconds, then gives back what may run again and reports the rest `unknown`.

    Beside its jobs it sweeps and prunes (`jobengine.housekeeping`). It needs a pool of at least two
    connections, as one of them listens.
    """

    def __init__(
        self,
        engine: JobEngine,
        *,
        queues: Sequence[str] = ("default",),
        tenant_id: UUID | None = None,
        concurrency: int = 100,
        agent_id: str | None = None,
        middleware: Sequence[Middleware] = (),
        poll: float = 2.0,
        sweep_every: float = 1.0,
        keep: float | None = KEEP,
        prune_every: float = 60.0,
        drain_timeout: float = 30.0,
    ) -> None:
        """`concurrency` is the number of slots, that is of jobs held; times are in seconds.

        `poll` bounds what a lost notification costs, `sweep_every` a rescue; jobs that ended more
        than `keep` ago are removed, with None never. Middleware: the first is the outermost.
        """
        if not isinstance(engine, JobEngine):
            raise InvalidArgument("engine", f"a JobEngine, not {type(engine).__name__}")
        _values.at_least_one(concurrency, "concurrency")
        self._queues = _values.texts(queues, "queues")
        if not self._queues:
            raise InvalidArgument("queues", "at least one")
        name = agent_id or f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
        self.agent_id = _values.text(name, "agent_id")
        self._engine = engine
        self._drain_timeout = _values.span(drain_timeout, "drain_timeout", above=False)
        self._claimer = Claimer(
            engine.connection,
            queues=self._queues,
            agent_id=self.agent_id,
            tenant_id=None if tenant_id is None else _values.uuid(tenant_id, "tenant_id"),
            two_phase="at_most_once",
            meter=engine.meter,
        )
        self._rest = Rest(self._claimer, poll=_values.span(poll, "poll"), meter=engine.meter)
        self._housekeeping = Housekeeping(
            engine, sweep_every=sweep_every, keep=keep, prune_every=prune_every
        )
        self._threads = Threads(concurrency)
        self._book = Book()
        self._reporter = Reporter(engine, self._book, self.agent_id)
        self._turns = Turns(concurrency)
        self._runners = Runners(
            engine,
            self.agent_id,
            turns=self._turns,
            threads=self._threads,
            reporter=self._reporter,
            middleware=_values.functions(middleware, "middleware"),
        )
        self._stopping = asyncio.Event()

    def handles(self, job_type: str, *, concurrency: int | None = None) -> Callable[[H], H]:
        """Register the decorated function, async or not, as the handler of `job_type`.

        It takes the `Job` and returns its output (JSON), or `Reject`, `Snooze` or `Cancel`; an
        exception, raised or returned, fails the attempt. Functions that are not async run in
        threads. Another handler of the same type takes its place, as a test may want.

        At most `concurrency` handlers of the type run at once in this worker. Jobs beyond that wait
        here, with a slot and a lease each, which is kept: they may fill all slots and keep other
        types waiting, while another worker would have time for them. So a limited type deserves a
        queue, and a worker, of its own. A thread whose job was cancelled or lost runs on and is not
        counted: meanwhile more than `concurrency` may run.
        """
        self._check(job_type, concurrency)

        def register(handler: H) -> H:
            _values.function(handler, "handler")
            self._runners.add(job_type, handler)
            self._turns.plan(job_type, size=None, most=concurrency)
            return handler

        return register

    def handles_batch(
        self, job_type: str, *, size: int, concurrency: int | None = None
    ) -> Callable[[B], B]:
        """Register the decorated function, async or not, as the handler of batches of `job_type`.

        It takes a `list[Job]`: 1 to `size` jobs that one claim brought, whoever their tenants are;
        nobody waits for a batch to fill. It answers a list with one item per job, in their order:
        the output, `Reject`, `Snooze`, `Cancel`, or an exception, which fails that attempt; or None
        for an output of None each. An exception, or an answer that does not fit (`InvalidAnswer`),
        fails all attempts.

        A batch takes a slot per job and gives them back at its end; `concurrency` bounds how many
        batches run at once (see `handles`). A job that is cancelled, or loses its lease, does not
        end its batch: what is answered for it counts if it still may. When all are stopped, the
        handler is cancelled.
        """
        self._check(job_type, concurrency)
        _values.at_least_one(size, "size")

        def register(handler: B) -> B:
            _values.function(handler, "handler")
            self._runners.add_batch(job_type, handler)
            self._turns.plan(job_type, size=size, most=concurrency)
            return handler

        return register

    def _check(self, job_type: str, concurrency: int | None) -> None:
        _values.text(job_type, "job_type")  # `@worker.handles` alone would take the function as one
        if concurrency is not None:
            _values.at_least_one(concurrency, "concurrency")

    def stop(self) -> None:
        """Begin to drain; a second call ends the wait for handlers."""
        if self._stopping.is_set():
            self._drain_timeout = 0.0
        self._stop_claiming()

    def _stop_claiming(self) -> None:
        self._stopping.set()
        self._rest.ring()

    @property
    def abandoned(self) -> bool:
        """Whether `run` ended without a handler that took no notice; Python then waits for it."""
        return self._turns.free < self._turns.slots or self._threads.busy > 0

    async def run(self, *, signals: Sequence[signal.Signals] = ()) -> None:
        """Work until stopped; a program passes `signals=STOP_SIGNALS`, and they stop it."""
        self._engine.check_pool()
        began = time.monotonic()
        loop = asyncio.get_running_loop()
        for number in signals:
            loop.add_signal_handler(number, self.stop)
        self._say(logs.WORKER_STARTED, queues=",".join(self._queues), concurrency=self._turns.slots)
        runners = [asyncio.create_task(self._runners.run()) for _ in range(self._turns.slots)]
        loops = [
            asyncio.create_task(work)
            for work in (self._reporter.run(), self._extend_loop(), self._housekeeping.run())
        ]
        try:
            await self._claim_until_stopped([*loops, *runners])
            self._say(logs.WORKER_STOPPING, held=len(self._book))
            await self._drain()
        finally:
            await cancelled(*loops, *runners, within=_GRACE)
            self._threads.close()
            for number in signals:
                loop.remove_signal_handler(number)
            self._say_goodbye(time.monotonic() - began)

    def _say(self, event: logs.Event, **fields: object) -> None:
        logs.emit(log, event, agent_id=self.agent_id, **fields)

    def _say_goodbye(self, seconds: float) -> None:
        if self.abandoned:
            slots = self._turns.slots - self._turns.free
            self._say(logs.HANDLER_IGNORED_STOP, slots=slots, threads=self._threads.busy)
        self._book.close(self._engine.meter)
        self._say(logs.WORKER_STOPPED, seconds=seconds)

    # Claiming

    async def _claim_until_stopped(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Claim; a loop or runner that dies ends the worker, with its error, and cripples none."""
        with self._engine.wakeup.jobs(self._on_job):
            claiming = asyncio.create_task(self._claim_loop())
            stop = asyncio.create_task(self._stopping.wait())
            try:
                await asyncio.wait({claiming, stop, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._stop_claiming()
                # A claim under way may have taken jobs: its answer is waited for.
                await asyncio.wait({claiming}, timeout=_GRACE)
                await cancelled(claiming, stop)
            for task in (claiming, *tasks):
                if task.done() and not task.cancelled():
                    task.result()

    async def _claim_loop(self) -> None:
        while not self._stopping.is_set():
            if not self._turns.free:
                self._turns.freed.clear()  # at once: a slot may be freed while it leaves
                await self._rest.leave()
                await self._until_freed()
            elif await self._claim():
                await self._rest.claimed()
            elif not self._stopping.is_set():
                await self._rest.wait()
        await self._rest.leave()

    async def _claim(self) -> int:
        """Claim as many jobs as there are free slots; return how many came."""
        self._rest.hush()
        free = min(self._turns.free, _BATCH)
        jobs = await self._persistently(
            lambda: self._claimer.claim(free), "claim", stop=self._stopping
        )
        came = self._book.add(jobs or ())
        if self._stopping.is_set():
            await self._give_back(came)
            return 0
        self._turns.take(came)
        self._book.tell(self._engine.meter)
        if 0 < len(came) < free:  # few: their handlers begin before the next call is made
            await asyncio.sleep(0)
        return len(came)

    async def _persistently(
        self, call: Callable[[], Awaitable[W]], what: str, *, stop: asyncio.Event | None = None
    ) -> W | None:
        return await persistently(call, what, stop, meter=self._engine.meter)

    def _on_job(self, tenant_id: UUID | None, queue: str | None) -> None:
        if tenant_id is None:
            self._rest.lost()
        elif self._claimer.wants(tenant_id, queue):
            self._rest.ring()

    async def _until_freed(self) -> None:
        """Wait for a free slot, no longer than until `stop`."""
        waits = {asyncio.ensure_future(e.wait()) for e in (self._turns.freed, self._stopping)}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    # Keeping leases

    async def _extend_loop(self) -> None:
        while True:
            await self._book.tick()
            due = self._book.due_for_extension()
            for start in range(0, len(due), _BATCH):
                try:
                    await self._extend(due[start : start + _BATCH])
                except EngineError as error:
                    note_retry("extend", error, self._book.pause, self._engine.meter)
            self._book.tell(self._engine.meter)

    async def _extend(self, due: Sequence[HeldJob]) -> None:
        for held, answer in zip(due, await self._engine.extend(h.job for h in due), strict=True):
            if answer.verdict == "ok":
                held.extended()
            if answer.verdict != "ok" and held.stop("lease_lost", answer.verdict):
                self._say(logs.LEASE_LOST, **held.names, verdict=answer.verdict)
            elif answer.cancel_reason is not None and held.stop("cancelled", answer.cancel_reason):
                self._say(logs.JOB_CANCELLED, **held.names, reason=answer.cancel_reason)
            if held.stopped and self._turns.drop(held):
                self._reporter.ended(held, held.report_of_stop())

    # Ending

    async def _drain(self) -> None:
        """Give back what has not begun, wait for the rest, and end what takes too long."""
        await self._give_back(self._turns.drain())
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
        while self._turns.free < self._turns.slots and time.monotonic() - began < seconds():
            self._turns.freed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await self._turns.freed.wait()

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
        await self._persistently(lambda: self._engine.release(h.job for h in held), "release")
