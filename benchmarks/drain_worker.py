"""One Worker process that drains no-op jobs.

    python -m benchmarks.drain_worker URL JOBS CONCURRENCY

Prints as JSON what it took. The time runs on the database's clock, from the first claim until, all
results being acknowledged, the worker has come to its end.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from jobengine import Job, JobEngine, Worker

_SECONDS = (
    "select extract(epoch from clock_timestamp() - min(claimed_at))::float8 from jobengine.ended"
)


class Tally:
    """Counts the calls of the handler and stops the worker at the last."""

    def __init__(self, worker: Worker, jobs: int) -> None:
        """Nothing has run."""
        self._worker = worker
        self._left = jobs
        self.first = 0.0
        self.last = 0.0

    async def noop(self, _job: Job) -> dict[str, bool]:
        """Do nothing, for the right number of times."""
        if not self.first:
            self.first = time.perf_counter()
        self._left -= 1
        if not self._left:
            self.last = time.perf_counter()
            self._worker.stop()
        return {"ok": True}


async def drain(url: str, jobs: int, concurrency: int) -> dict[str, float]:
    """Work until so many jobs are done."""
    async with JobEngine(url) as engine:
        worker = Worker(engine, concurrency=concurrency)
        tally = Tally(worker, jobs)
        worker.handles("noop")(tally.noop)
        cpu = time.process_time()
        await worker.run()
        cpu = time.process_time() - cpu
        async with engine.connection() as conn:
            row = await (await conn.execute(_SECONDS)).fetchone()
    assert row is not None
    return {
        "seconds": row[0],
        "handler_seconds": tally.last - tally.first,
        "client_cpu_seconds": cpu,
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(drain(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))))
