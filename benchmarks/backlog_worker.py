"""One Worker process that takes so many jobs of a backlog, however many are behind them.

    python -m benchmarks.backlog_worker URL JOBS CONCURRENCY

Prints as JSON the seconds between the calls of the handler that mark the first tenth and the last
of them, how many jobs that are, and the processor time of the process.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from benchmarks.database import JOB_TYPE
from jobengine import Job, JobEngine, Worker

_WARM_SHARE = 10


async def take(url: str, jobs: int, concurrency: int) -> dict[str, float]:
    """Work until so many jobs were begun."""
    called = 0
    at = {}

    async def noop(_job: Job) -> dict[str, bool]:
        nonlocal called
        called += 1
        if called in {jobs // _WARM_SHARE, jobs}:
            at[called] = time.perf_counter()
        if called == jobs:
            worker.stop()
        return {"ok": True}

    async with JobEngine(url) as engine:
        worker = Worker(engine, concurrency=concurrency)
        worker.handles(JOB_TYPE)(noop)
        cpu = time.process_time()
        await worker.run()
        cpu = time.process_time() - cpu
    first, last = at
    return {
        "jobs": last - first,
        "seconds": at[last] - at[first],
        "client_cpu_us_per_job": cpu / called * 1e6,
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(take(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))))
