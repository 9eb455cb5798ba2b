"""One Worker process that notes when each probe began: a job whose input has a `probe`.

    python -m benchmarks.timed_worker URL CONCURRENCY SECONDS

A probe does nothing, any other job waits for so many seconds.
Works until its standard input ends, then prints as JSON when the handler was called, by probe: on
the clock that all processes of the machine share (`time.monotonic`).
"""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.database import JOB_TYPE, Database
from jobengine import Job, JobEngine, Worker

_CONCURRENCY = 100


async def work(url: str, concurrency: int, seconds: float) -> dict[int, float]:
    """Work until standard input ends."""
    began: dict[int, float] = {}

    async def noop(job: Job) -> dict[str, bool]:
        if (probe := job.input.get("probe")) is not None:
            began.setdefault(probe, time.monotonic())
        elif seconds:
            await asyncio.sleep(seconds)
        return {"ok": True}

    async with JobEngine(url) as engine:
        worker = Worker(engine, concurrency=concurrency)
        worker.handles(JOB_TYPE)(noop)
        gc.freeze()  # as `jobengine work` does
        running = asyncio.create_task(worker.run())
        await asyncio.to_thread(sys.stdin.read)
        worker.stop()
        await running
    return began


@contextmanager
def working(target: Database, *, seconds: float = 0.0) -> Iterator[dict[int, float]]:
    """Let such a process work; what it noted is there when the block has ended."""
    arguments = [target.url, str(_CONCURRENCY), str(seconds)]
    command = [sys.executable, "-m", "benchmarks.timed_worker", *arguments]
    began: dict[int, float] = {}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield began
        told, _ = process.communicate("")
        if process.returncode:
            raise RuntimeError(f"the worker process ended with {process.returncode}")
        began.update({int(probe): at for probe, at in json.loads(told).items()})
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    print(json.dumps(asyncio.run(work(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))))
