"""Waiting for what an agent does: the engine's waker tells of a job's end, nobody polls."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from uuid import UUID

from api.service import Service
from jobengine import JobInfo, WaitTimeout

LOOK_SECONDS = 0.5  # for a word that was lost


async def over(service: Service, job_id: UUID, seconds: float, *, new: bool) -> float:
    """Return once the job is said or seen to have ended, or the time is up; the seconds left.

    None are left once the process is about to end. What is said may be wrong: look.

    For jobs with `wake`, whose end the engine tells: the word is waited for, and of a new job not
    looked for before. `JobEngine.wait` looks at once and often at first, as a job may end without
    a word: six looks per order, each as dear as the start of the work.
    """
    deadline = time.monotonic() + seconds
    with service.engine.wakeup.end(job_id) as word, _counted(service):
        while new or not await ended(service, job_id, 0.0):
            new = False
            left = deadline - time.monotonic()
            if left <= 0 or service.longpoll.closed:
                return 0.0
            if await _came(word, min(LOOK_SECONDS, left)):
                break
    return deadline - time.monotonic()


@contextlib.contextmanager
def _counted(service: Service) -> Iterator[None]:
    """Show in the metrics that somebody waits for what an agent does."""
    service.metrics.answers_awaited += 1
    try:
        yield
    finally:
        service.metrics.answers_awaited -= 1


async def _came(word: asyncio.Event, seconds: float) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            return await word.wait()
    return False


async def ended(service: Service, job_id: UUID, seconds: float) -> JobInfo | None:
    """Return the job once it has ended; None where that takes longer."""
    try:
        return await service.engine.wait(job_id, timeout=seconds)
    except WaitTimeout:
        return None


def said(job: JobInfo | None, name: str) -> str | None:
    """Return a text of the agent's report, if it has one of that name."""
    output = job.output if job else None
    value = output.get(name) if isinstance(output, dict) else None
    return value if isinstance(value, str) else None
