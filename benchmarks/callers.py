"""Callers in one event loop that call again as soon as they are answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

# Does one piece of work for the caller of this number and returns how many jobs it was.
Once = Callable[[int], Awaitable[int]]

_WARM_SHARE, _WARM_MAX = 0.25, 1.0


@dataclass(slots=True)
class Calls:
    """What they did: in the window that counts, after the warm-up, and altogether."""

    seconds: float = 0.0
    counted: int = 0
    total: int = 0
    cpu_seconds: float = 0.0
    took: list[float] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        """Jobs a second in the window."""
        return self.counted / self.seconds

    @property
    def cpu_us_per_job(self) -> float:
        """What this process used for each of them."""
        return self.cpu_seconds / self.counted * 1e6


async def call(once: Once, *, callers: int, seconds: float) -> Calls:
    """Let them call for so long, after a warm-up of a quarter of that, a second at most.

    The window lasts until somebody has been answered in it.
    """
    calls = Calls()
    stop = asyncio.Event()
    tasks = [asyncio.create_task(_caller(once, number, calls, stop)) for number in range(callers)]
    try:
        await _pass(tasks, min(_WARM_MAX, _WARM_SHARE * seconds))
        calls.took.clear()
        began, done, cpu = time.perf_counter(), calls.total, time.process_time()
        await _pass(tasks, seconds)
        await _until_one_more(tasks, calls, done)
        calls.seconds = time.perf_counter() - began
        calls.counted = calls.total - done
        calls.cpu_seconds = time.process_time() - cpu
    finally:
        stop.set()
        await asyncio.gather(*tasks)
    return calls


async def _pass(tasks: list[asyncio.Task[None]], seconds: float) -> None:
    """Wait so long; a caller that fails ends the wait."""
    await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)


async def _until_one_more(tasks: list[asyncio.Task[None]], calls: Calls, done: int) -> None:
    """Go on as long as nobody was answered: a short window may fall into a pause of the machine."""
    while calls.total == done and not any(task.done() for task in tasks):
        await _pass(tasks, 0.01)


async def _caller(once: Once, number: int, calls: Calls, stop: asyncio.Event) -> None:
    while not stop.is_set():
        began = time.perf_counter()
        jobs = await once(number)
        calls.total += jobs
        calls.took.append(time.perf_counter() - began)
