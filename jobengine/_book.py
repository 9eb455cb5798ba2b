"""The book of a worker's held jobs: who runs what, and whose lease is to be extended."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, TypeAlias

from jobengine._meter import Meter
from jobengine.records import Job, Report

StopCause: TypeAlias = Literal["lease_lost", "cancelled", "drained"]

# Leases are extended after a third of their time, so that two tries may fail.
_EXTENSIONS_PER_LEASE = 3
_TICK_MAX = 0.5


class Runner(Protocol):
    """What a held job's handler runs in: a task, or a batch that shares one."""

    def cancel(self) -> object: ...


@dataclass(slots=True, eq=False)
class HeldJob:
    """A job that this worker holds, from its claim until its end is acknowledged."""

    job: Job
    key: int  # of the book; the hash of a UUID is a call of Python
    started: bool
    claimed: float
    extend_at: float
    runner: Runner | None = None
    stopped_because: StopCause | None = None
    stop_reason: str = ""
    reported: bool = False
    begun: bool = False  # its handler; `started` alone says that it may begin

    slots: ClassVar[int] = 1

    def extended(self) -> None:
        """Note that the lease is whole again, or needs no look for a third of its time."""
        self.extend_at = time.monotonic() + self.job.lease_seconds / _EXTENSIONS_PER_LEASE

    def stop(self, because: StopCause, reason: str) -> bool:
        """Cancel the handler, once, unless it has come to its end; tell whether this did it."""
        if self.reported or self.stopped:
            return False
        self.stopped_because = because
        self.stop_reason = reason
        if self.runner is not None:
            self.runner.cancel()
        return True

    @property
    def names(self) -> dict[str, object]:
        """What log records about the job carry."""
        job = self.job
        return {"job_id": job.job_id, "job_type": job.job_type, "attempt": job.attempt}

    @property
    def job_type(self) -> str:
        """The type of its job."""
        return self.job.job_type

    @property
    def stopped(self) -> bool:
        """Whether the handler is not to run, or not any more."""
        return self.stopped_because is not None

    @property
    def kept(self) -> bool:
        """Whether the lease is to be kept.

        A cancelled job in a batch that runs on is kept: its result counts as what it is.
        """
        return not self.stopped or (
            self.stopped_because == "cancelled" and isinstance(self.runner, Batch)
        )

    @property
    def repeatable(self) -> bool:
        """Whether the job may be given back: it has not begun, or may run more than once."""
        return not self.started or self.job.delivery == "at_least_once"

    def report_of_stop(self) -> Report | None:
        """Say what became of a stopped job; None: nothing that this worker could report."""
        if self.stopped_because == "cancelled":
            # A handler that was cut off, or a thread that runs on, may have done its work.
            uncertain = self.begun and self.job.delivery == "at_most_once"
            return self._report("unknown" if uncertain else "cancelled", "cancelled")
        if self.stopped_because == "drained" and not self.repeatable:
            return self._report("unknown", "worker_stopped")
        return None

    def _report(self, outcome: Literal["cancelled", "unknown"], error_code: str) -> Report:
        return Report(
            job_id=self.job.job_id,
            lease_epoch=self.job.lease_epoch,
            outcome=outcome,
            error_code=error_code,
            error_message=self.stop_reason,
        )


class Batch:
    """Held jobs of one type that one call of a handler works on."""

    def __init__(self, job_type: str) -> None:
        """Without jobs at first."""
        self.job_type = job_type
        self.members: list[HeldJob] = []
        self._task: asyncio.Task[None] | None = None

    @property
    def slots(self) -> int:
        """How many slots of the worker it takes."""
        return len(self.members)

    @property
    def stopped(self) -> bool:
        """Whether all its jobs are stopped."""
        return all(held.stopped for held in self.members)

    def begin(self, task: asyncio.Task[None]) -> None:
        """Note in which task the handler runs."""
        self._task = task
        for held in self.members:
            held.runner = self

    def end(self) -> None:
        """Note that the handler has come to its end."""
        self._task = None
        for held in self.members:
            held.runner = None

    def cancel(self) -> None:
        """Cancel the handler once the last of the jobs is stopped: it works for the others."""
        if self._task is not None and self.stopped:
            self._task.cancel()


def _held(job: Job, now: float) -> HeldJob:
    due = now + job.lease_seconds / _EXTENSIONS_PER_LEASE
    return HeldJob(job, job.job_id.int, job.started_at is not None, now, due)


class Book:
    """All held jobs of a worker."""

    def __init__(self) -> None:
        """Start empty."""
        self._held: dict[int, HeldJob] = {}
        self._tick = _TICK_MAX
        self._shorter = asyncio.Event()
        self._told = 0

    def __len__(self) -> int:
        """How many there are."""
        return len(self._held)

    def add(self, jobs: Sequence[Job]) -> list[HeldJob]:
        """Enter claimed jobs; where one comes back, its old lease is lost and the handler ends."""
        now = time.monotonic()
        added = [_held(job, now) for job in jobs]
        for held in added:
            if old := self._held.get(held.key):
                old.stop("lease_lost", "claimed again")
            self._held[held.key] = held
        self._look_in_time({job.lease_seconds for job in jobs})
        return added

    def _look_in_time(self, leases: Iterable[float]) -> None:
        tick = min(leases, default=math.inf) / _EXTENSIONS_PER_LEASE / 2
        if tick < self._tick:
            self._tick = tick
            self._shorter.set()

    def remove(self, held: HeldJob) -> None:
        """Forget a job that is not held any more."""
        if self._held.get(held.key) is held:
            del self._held[held.key]

    def tell(self, meter: Meter | None) -> None:
        """Tell how many jobs are held, and how long handlers ran."""
        if meter is not None:
            meter.held(len(self._held) - self._told)
            self._told = len(self._held)
            meter.tell_runs()

    def close(self, meter: Meter | None) -> None:
        """Forget everything: what a worker leaves behind at its end is not held by it."""
        self._held.clear()
        self.tell(meter)

    @property
    def pause(self) -> float:
        """The longest that `tick` waits."""
        return self._tick

    async def tick(self) -> None:
        """Wait until it is time to look for leases to extend; a shorter lease is not overslept."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._tick):
                await self._shorter.wait()
        self._shorter.clear()

    def due_for_extension(self) -> list[HeldJob]:
        """Return the jobs whose lease is to be extended now."""
        now = time.monotonic()
        return self._where(lambda held: held.extend_at <= now and held.kept)

    def unreported(self) -> list[HeldJob]:
        """Return the jobs whose handler has not come to its end."""
        return self._where(lambda held: not held.reported)

    def _where(self, condition: Callable[[HeldJob], bool]) -> list[HeldJob]:
        return [held for held in self._held.values() if condition(held)]
