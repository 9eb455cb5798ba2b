"""Worker processes that drain no-op jobs.

    python -m benchmarks.drain_worker URL JOBS CONCURRENCY PROCESSES BATCH

BATCH is how many jobs a handler takes: 0 is a handler per job. Prints as JSON what it took. The
time runs on the database's clock, from the first claim until, all results being acknowledged, the
last worker has come to its end.
"""

from __future__ import annotations

import asyncio
import gc
import json
import multiprocessing
import sys
import threading
import time
from collections.abc import MutableSequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

from jobengine import Job, JobEngine, Worker

_SECONDS = (
    "select extract(epoch from clock_timestamp() - min(claimed_at))::float8 from jobengine.ended"
)
# How often a worker asks whether all processes together are done; one that is alone need not ask.
_ASK_EVERY = 0.005
_PATIENCE = 60.0  # for the others: one that failed before must not leave them waiting for ever


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked of the processes together; `batch` 0 is a handler per job."""

    url: str
    jobs: int
    concurrency: int
    processes: int
    batch: int


# How many jobs each process has handled; each writes its own number, so nobody locks.
_counts: MutableSequence[int] = [0]
# Where the processes wait for each other: imports of the one are no part of the others' time.
_ready = threading.Barrier(1)


class Tally:
    """Counts the jobs of the handlers and stops the worker at the last."""

    def __init__(self, worker: Worker, jobs: int, place: int) -> None:
        """Nothing has run."""
        self._worker = worker
        self._jobs = jobs
        self._place = place
        self._done = 0
        self.first = 0.0
        self.last = 0.0

    async def noop(self, _job: Job) -> dict[str, bool]:
        """Do nothing, for the right number of times."""
        self._count(1)
        return {"ok": True}

    async def noops(self, jobs: list[Job]) -> list[dict[str, bool]]:
        """Do the same for a batch."""
        self._count(len(jobs))
        return [{"ok": True} for _ in jobs]

    def _count(self, jobs: int) -> None:
        if not self.first:
            self.first = time.perf_counter()
        self._done += jobs
        if self._done >= self._jobs:
            self.stop()

    def stop(self) -> None:
        """Stop the worker: the queue is empty."""
        self.last = time.perf_counter()
        self._worker.stop()

    async def watch(self) -> None:
        """Stop the worker when all processes together have done the jobs."""
        while sum(_counts) < self._jobs:
            await asyncio.sleep(_ASK_EVERY)
            _counts[self._place] = self._done
        self.stop()


async def drain(plan: Plan, place: int = 0) -> dict[str, float]:
    """Work until so many jobs are done by all."""
    async with JobEngine(plan.url) as engine:
        worker = Worker(engine, concurrency=plan.concurrency)
        tally = Tally(worker, plan.jobs, place)
        if plan.batch:
            worker.handles_batch("noop", size=plan.batch)(tally.noops)
        else:
            worker.handles("noop")(tally.noop)
        _ready.wait(_PATIENCE)
        gc.freeze()  # as `jobengine work` does
        cpu = time.process_time()
        async with asyncio.TaskGroup() as together:
            together.create_task(worker.run())
            if plan.processes > 1:
                together.create_task(tally.watch())
        cpu = time.process_time() - cpu
        async with engine.connection() as conn:
            row = await (await conn.execute(_SECONDS)).fetchone()
    assert row is not None
    return {
        "seconds": row[0],
        "handler_seconds": tally.last - tally.first,
        "client_cpu_seconds": cpu,
    }


def _begin(counts: MutableSequence[int], ready: threading.Barrier) -> None:
    """Take what is shared, which reaches a process only at its beginning."""
    global _counts, _ready
    _counts, _ready = counts, ready


def _run(plan: Plan, place: int) -> dict[str, float]:
    return asyncio.run(drain(plan, place))


def drain_together(plan: Plan) -> dict[str, float]:
    """Let several processes do it; the slowest one's time, everybody's CPU."""
    context = multiprocessing.get_context("spawn")
    counts = context.Array("q", plan.processes, lock=False)
    shared = (counts, context.Barrier(plan.processes))
    with ProcessPoolExecutor(
        plan.processes, mp_context=context, initializer=_begin, initargs=shared
    ) as pool:
        told = list(pool.map(partial(_run, plan), range(plan.processes)))
    return {
        "seconds": max(one["seconds"] for one in told),
        "handler_seconds": max(one["handler_seconds"] for one in told),
        "client_cpu_seconds": sum(one["client_cpu_seconds"] for one in told),
    }


def main() -> None:
    """Read the arguments, drain, and tell."""
    plan = Plan(sys.argv[1], *map(int, sys.argv[2:6]))
    told = drain_together(plan) if plan.processes > 1 else asyncio.run(drain(plan))
    print(json.dumps(told))


if __name__ == "__main__":
    main()
