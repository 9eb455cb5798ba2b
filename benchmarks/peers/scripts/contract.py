"""What a side in Python does, and how the harness talks to it: JSON, a line each.

    python NAME.py install|produce|work URL [FLAVOUR]

`install` makes tables and ends. The others say `{"ready": …}`, then obey lines from stdin until it
ends, and with it the process. contract.mjs is the same for Node.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from importlib.metadata import version
from typing import Any

TICK_SECONDS = 0.02
_BASE = 100_000_000
_PAD = "x" * 73


def payload(number: int) -> dict[str, Any]:
    """100 bytes of JSON, as long for every job."""
    return {"n": _BASE + number, "pad": _PAD}


# The harness's line is ours alone: what a package prints goes to stderr.
_LINE = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


def say(**message: Any) -> None:
    """Tell the harness."""
    print(json.dumps(message), file=_LINE, flush=True)


class Tally:
    """Counts the calls of a handler; where asked to, it notes when each job was seen."""

    def __init__(self) -> None:
        """Nothing was called."""
        self.calls = 0
        self.first = self.last = 0.0
        self.seen: dict[int, float] | None = None

    def saw(self, number: int) -> None:
        """A handler was called with this job."""
        self.last = now = time.monotonic()
        if not self.calls:
            self.first = now
        self.calls += 1
        if self.seen is not None:
            self.seen[number - _BASE] = now

    def tick(self) -> None:
        """Tell how far it is."""
        say(calls=self.calls, first=self.first, last=self.last)


class Side(ABC):
    """One system that is measured, in one configuration."""

    packages: Sequence[str]

    def __init__(self, url: str, flavour: str) -> None:
        """`open` does what takes time."""
        self.url = url
        self.flavour = flavour

    @abstractmethod
    async def install(self) -> None:
        """Make the tables."""

    @abstractmethod
    async def open(self) -> None:
        """Connect, with the pool that callers share."""

    @abstractmethod
    async def enqueue(self, number: int) -> None:
        """Put one job in; it is durable when this returns."""

    @abstractmethod
    async def enqueue_many(self, numbers: Sequence[int]) -> None:
        """Put many in, the fastest way that the package documents."""

    @abstractmethod
    async def work(self, tally: Tally) -> None:
        """Run jobs until the process is ended."""

    async def call(self, callers: int, seconds: float) -> tuple[int, float]:
        """`callers` enqueue one by one for so long; return how many jobs in how many seconds."""
        began = time.monotonic()
        numbers = iter(range(_BASE))

        async def caller() -> None:
            while time.monotonic() < began + seconds:
                await self.enqueue(next(numbers))

        await asyncio.gather(*(caller() for _ in range(callers)))
        return next(numbers), time.monotonic() - began


def main(side: type[Side]) -> None:
    """Play the role that the arguments name."""
    role, url, *flavour = sys.argv[1:]
    it = side(url, *flavour or [""])
    if role == "install":
        _run(it.install())
    else:
        _run((_produce if role == "produce" else _work)(it))


def _run(role: Any) -> None:
    import uvloop  # noqa: PLC0415 - celery's main thread has no loop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(role)


def listen(obey: Callable[[dict[str, Any]], None]) -> None:
    """Obey the harness's lines, in a thread that only waits; the process ends with the harness."""

    def read() -> None:
        for line in sys.stdin:
            obey(json.loads(line))
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()


def ready(side: Side) -> None:
    """Tell that the next line is expected."""
    say(ready={name: version(name) for name in side.packages})


def report(tally: Tally, cpu_before: float) -> None:
    """Tell the end of the work."""
    tally.tick()
    say(cpu=time.process_time() - cpu_before, seen=sorted((tally.seen or {}).items()))


async def _lines() -> asyncio.Queue[dict[str, Any]]:
    lines: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def obey(line: dict[str, Any]) -> None:
        loop.call_soon_threadsafe(lines.put_nowait, line)

    listen(obey)
    return lines


async def _produce(side: Side) -> None:
    lines = await _lines()
    await side.open()
    ready(side)
    while True:
        line = await lines.get()
        cpu = time.process_time()
        answer = await _DEEDS[line.pop("do")](side, **line)
        say(**answer, cpu=time.process_time() - cpu)


async def _many(side: Side, *, first: int, jobs: int) -> dict[str, Any]:
    began = time.monotonic()
    await side.enqueue_many(range(first, first + jobs))
    return {"jobs": jobs, "seconds": time.monotonic() - began}


async def _call(side: Side, *, callers: int, seconds: float) -> dict[str, Any]:
    jobs, took = await side.call(callers, seconds)
    return {"jobs": jobs, "seconds": took}


async def _pace(side: Side, *, jobs: int, rate: float) -> dict[str, Any]:
    """One job after the other at a steady pace; when each was put in, and when that returned."""
    began = time.monotonic() + 0.05
    times = []
    for number in range(jobs):
        await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
        called = time.monotonic()
        await side.enqueue(number)
        times.append((number, called, time.monotonic()))
    return {"times": times}


_DEEDS: dict[str, Callable[..., Awaitable[dict[str, Any]]]] = {
    "many": _many,
    "call": _call,
    "pace": _pace,
}


async def _work(side: Side) -> None:
    lines = await _lines()
    await side.open()
    ready(side)
    go = await lines.get()
    cpu = time.process_time()
    tally = Tally()
    tally.seen = {} if go["record"] else None
    tasks = [asyncio.create_task(side.work(tally)), asyncio.create_task(_tick(tally))]
    asked = asyncio.create_task(lines.get())
    await asyncio.wait([*tasks, asked], return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        if task.done():
            task.result()  # it failed: nothing ends before it is asked to
    report(tally, cpu)
    await asyncio.Event().wait()


async def _tick(tally: Tally) -> None:
    told = -1
    while True:
        if tally.calls != told:
            told = tally.calls
            tally.tick()
        await asyncio.sleep(TICK_SECONDS)
