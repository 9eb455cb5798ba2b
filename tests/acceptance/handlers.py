"""Handlers that tests hold in their hands."""

from __future__ import annotations

import asyncio
from uuid import UUID

from jobengine import Job


class Gate:
    """A handler that waits until it is let go, and notes what happens to it."""

    def __init__(self) -> None:
        self.begun: list[UUID] = []
        self.finished: list[UUID] = []
        self.cancelled: list[UUID] = []
        self.most = 0
        self._inside = 0
        self._open = asyncio.Event()

    async def __call__(self, job: Job) -> str:
        self.begun.append(job.id)
        self._inside += 1
        self.most = max(self.most, self._inside)
        try:
            await self._open.wait()
        except asyncio.CancelledError:
            self.cancelled.append(job.id)
            raise
        finally:
            self._inside -= 1
        self.finished.append(job.id)
        return "through the gate"

    def open(self) -> None:
        self._open.set()


class Stubborn:
    """A handler that takes no notice of its cancellation until it is let go."""

    def __init__(self) -> None:
        self.begun = 0
        self.cancelled = 0
        self._open = asyncio.Event()

    async def __call__(self, _: Job) -> str:
        self.begun += 1
        while not self._open.is_set():
            try:
                await self._open.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
        return "my own way"

    def open(self) -> None:
        self._open.set()


class BatchGate:
    """A batch handler that waits until it is let go, and notes what happens to it."""

    def __init__(self) -> None:
        self.begun: list[list[UUID]] = []
        self.cancelled = 0
        self.most = 0
        self._inside = 0
        self._open = asyncio.Event()

    async def __call__(self, jobs: list[Job]) -> list[str]:
        self.begun.append([job.id for job in jobs])
        self._inside += 1
        self.most = max(self.most, self._inside)
        try:
            await self._open.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self._inside -= 1
        return ["through the gate"] * len(jobs)

    def open(self) -> None:
        self._open.set()
