"""Workers, each a process of its own: tests drive it, and this file is it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from jobengine import STOP_SIGNALS, Job, JobEngine, Worker

PATIENCE = 30.0  # for a fact that must come


class WorkerProcess:
    """A process that runs `work` and `careful` jobs; each job says what its handler does."""

    def __init__(self, url: str, **options: Any) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,  # told() waits for the pipe: nothing may hide in a buffer
            env={**os.environ, "DATABASE_URL": url},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.communicate()

    def told(self, fact: str) -> Any:
        """Read on until the process tells this fact."""
        deadline = time.monotonic() + PATIENCE
        assert self.process.stdout is not None
        while True:
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, left))
            assert ready, f"the worker does not tell {fact}"
            line = self.process.stdout.readline()
            assert line, f"the worker ended without telling {fact}"
            facts = json.loads(line)
            if fact in facts:
                return facts[fact]

    def begun(self) -> str:
        """Wait until a handler has begun; return its job."""
        job_id: str = self.told("begun")
        return job_id

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop_for_good(self) -> None:
        """SIGSTOP, and wait until the kernel has done it."""
        self.process.send_signal(signal.SIGSTOP)
        deadline = time.monotonic() + PATIENCE
        while state(self.process.pid) != "T":
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def go_on(self) -> None:
        """Let a handler that waits for it end."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")

    def ended(self) -> int:
        return self.process.wait(PATIENCE)


def state(pid: int) -> str:
    listed = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)  # noqa: PLW1510
    return listed.stdout[:1]


# What follows runs in the process.


def say(**facts: object) -> None:
    os.write(1, (json.dumps(facts, default=str) + "\n").encode())


class Told(logging.Handler):
    """Tells what the library logs."""

    def emit(self, record: logging.LogRecord) -> None:
        say(log=record.getMessage())


def listen() -> None:
    os.read(0, 1)


async def done(job: Job) -> str:
    return f"attempt {job.attempt}"


async def linger(job: Job) -> str:
    await asyncio.sleep(0.02)
    return f"attempt {job.attempt}"


async def hang(_: Job) -> None:
    await asyncio.Event().wait()


async def hang_once(job: Job) -> str:
    if job.attempt == 1:
        await asyncio.Event().wait()
    return f"attempt {job.attempt}"


async def wait(job: Job) -> str:
    """Until it is told; the event loop works meanwhile."""
    await asyncio.to_thread(listen)
    return f"attempt {job.attempt}"


async def block(job: Job) -> str:
    """Until it is told; the event loop stands still."""
    listen()
    return f"attempt {job.attempt}"


HANDLERS: dict[str, Callable[[Job], Any]] = {
    handler.__name__: handler for handler in (done, linger, hang, hang_once, wait, block)
}


async def handle(job: Job) -> Any:
    say(begun=job.id)
    return await HANDLERS[job.input["do"]](job)


async def main(options: dict[str, Any]) -> None:
    async with JobEngine(os.environ["DATABASE_URL"], max_size=4) as engine:
        worker = Worker(engine, **{"sweep_every": 0.1, "poll": 0.5, **options})
        worker.handles("work")(handle)
        worker.handles("careful")(handle)
        await worker.run(signals=STOP_SIGNALS)
    say(ended=True)


if __name__ == "__main__":
    logging.getLogger("jobengine").addHandler(Told())
    asyncio.run(main(json.loads(sys.argv[1])))
