"""Whose turn it is: the slots of a worker, its batches, and how many handlers of a type run."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from jobengine._book import Batch, HeldJob

# What a runner takes: a job by itself, or jobs that one call of a handler works on.
Work: TypeAlias = HeldJob | Batch


# Handlers that never wait let the loops run after so many of them, and after so long: while one
# half of 1,000 slots runs, the other is reported and claimed anew.
_BURST = 500
_BURST_SECONDS = 0.005


class Turns:
    """Hands claimed jobs to runners; a job takes its slot when it is claimed."""

    def __init__(self, slots: int) -> None:
        """All slots are free."""
        self.slots = slots
        self.free = slots
        self.freed = asyncio.Event()
        self.todo: deque[Work] = deque()
        self._idle: list[asyncio.Future[None]] = []
        self._burst = _Burst(max(1, min(_BURST, slots // 2)))
        self._waking = False
        self._yielding = False
        self._sizes: dict[str, int] = {}
        self._limits: dict[str, _Limit] = {}

    def plan(self, job_type: str, *, size: int | None, most: int | None) -> None:
        """Set how many jobs of the type a batch takes, and how many handlers run at once."""
        self._sizes.pop(job_type, None)
        self._limits.pop(job_type, None)
        if size is not None:
            self._sizes[job_type] = size
        if most is not None:
            self._limits[job_type] = _Limit(most)

    def take(self, came: list[HeldJob]) -> None:
        """Let the jobs of one claim run, each as soon as it is its turn."""
        self.free -= len(came)
        self.todo.extend(self._admitted(self._grouped(came)) if self._planned else came)
        self._wake()

    async def next(self) -> Work:
        """Wait for the next work.

        Who takes one while there are more wakes one other runner, who goes on when this one's
        handler waits. Handlers that never wait so cost no switch of tasks.
        """
        if self._burst.over:
            await self._let_others_run()
        while not self.todo or self._yielding:
            await self._rest()
        work = self.todo.popleft()
        if self.todo:
            self._wake()
        return work

    def done(self, work: Work) -> None:
        """Free the slots of what has run, and let who waited for it run."""
        self.free += work.slots
        self.freed.set()
        if self._limits and (limit := self._limits.get(work.job_type)):
            following = limit.leave()
            if following is not None:
                self.todo.append(following)
                self._wake()

    def drop(self, held: HeldJob) -> bool:
        """Free the slot of a job that waits for its turn; False: it does not."""
        limit = self._limits.get(held.job_type)
        if limit is None or not limit.drop(held):
            return False
        self.free += 1
        self.freed.set()
        return True

    def drain(self) -> list[HeldJob]:
        """Free the slots of all that has not begun, and return it."""
        works = list(self.todo)
        self.todo.clear()
        for limit in self._limits.values():
            works += limit.waiting
            limit.waiting.clear()
        jobs = [held for work in works for held in _members(work)]
        self.free += len(jobs)
        return jobs

    async def _let_others_run(self) -> None:
        """Let the loops run, and no other runner in this one's place."""
        self._yielding = True
        await asyncio.sleep(0)
        self._yielding = False
        self._burst.begin()

    def _wake(self) -> None:
        """Wake a runner, unless one is on its way."""
        while self._idle and not self._waking:
            woken = self._idle.pop()
            if not woken.done():  # its runner was cancelled: the worker comes to its end
                self._waking = True
                woken.set_result(None)

    async def _rest(self) -> None:
        """Wait to be woken."""
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._idle.append(woken)
        await woken
        self._waking = False
        self._burst.begin()

    @property
    def _planned(self) -> bool:
        return bool(self._sizes or self._limits)

    def _grouped(self, came: Iterable[HeldJob]) -> list[Work]:
        """Put jobs into batches; a batch stands where its first job stood."""
        works: list[Work] = []
        growing: dict[str, Batch] = {}
        for held in came:
            size = self._sizes.get(held.job_type)
            if size is None:
                works.append(held)
                continue
            batch = growing.get(held.job_type)
            if batch is None or len(batch.members) >= size:
                batch = growing[held.job_type] = Batch(held.job_type)
                works.append(batch)
            batch.members.append(held)
        return works

    def _admitted(self, works: Iterable[Work]) -> Iterator[Work]:
        for work in works:
            limit = self._limits.get(work.job_type)
            if limit is None or limit.enter(work):
                yield work


class _Burst:
    """How long runners go on before the loops run: what they then claim and report is a batch."""

    def __init__(self, works: int) -> None:
        """It ends after so many works, or after `_BURST_SECONDS`."""
        self._works = works
        self.begin()

    def begin(self) -> None:
        """Begin another."""
        self._left = self._works
        self._until = time.monotonic() + _BURST_SECONDS

    @property
    def over(self) -> bool:
        """Count a work; tell whether there were enough."""
        self._left -= 1
        return self._left < 0 or time.monotonic() > self._until


class _Limit:
    """How many handlers of a type may run at once, and who waits."""

    def __init__(self, most: int) -> None:
        """Nobody runs."""
        self._free = most
        self.waiting: deque[Work] = deque()

    def enter(self, work: Work) -> bool:
        """Tell whether it may run now; if not, it waits."""
        if self._free:
            self._free -= 1
            return True
        self.waiting.append(work)
        return False

    def leave(self) -> Work | None:
        """Note that one has run; return the next, which may run in its place."""
        if self.waiting:
            return self.waiting.popleft()
        self._free += 1
        return None

    def drop(self, held: HeldJob) -> bool:
        """Take a job out of those that wait; False: it does not wait."""
        for work in self.waiting:
            if held in (members := _members(work)):
                members.remove(held)
                if work is held or not members:
                    self.waiting.remove(work)
                return True
        return False


def _members(work: Work) -> list[HeldJob]:
    return [work] if isinstance(work, HeldJob) else work.members
