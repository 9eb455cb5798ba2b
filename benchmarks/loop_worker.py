"""One process with closed loops: each puts a batch in, claims one as a `Worker` does, and ends it.

    python -m benchmarks.loop_worker URL LOOPS BATCH SECONDS EVERY

Prints as JSON the jobs a second in each interval of EVERY seconds, and its processor time.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from benchmarks.database import JOB_TYPE, PAD
from jobengine import JobEngine, NewJob, Report
from jobengine.claimer import Claimer

OUTPUT = {"ok": True}


async def loops(
    url: str, count: int, batch: int, seconds: float, every: float
) -> dict[str, object]:
    """Let so many loops run for so long."""
    ended = 0
    rates = []
    cpu = time.process_time()

    async def loop(engine: JobEngine, number: int) -> None:
        nonlocal ended
        claimer = Claimer(engine.connection, queues=["default"], agent_id=f"loop {number}")
        new = [NewJob(job_type=JOB_TYPE, input={"n": 100_000, "pad": PAD})] * batch
        while True:
            await engine.enqueue_many(new)
            # None where all that wait are behind its marks: a look finds them, within a second.
            while not (jobs := await claimer.claim(batch)):
                pass
            await engine.finish(
                Report(
                    job_id=job.job_id,
                    lease_epoch=job.lease_epoch,
                    outcome="completed",
                    output=OUTPUT,
                )
                for job in jobs
            )
            ended += len(jobs)

    async with JobEngine(url) as engine, asyncio.TaskGroup() as group:
        tasks = [group.create_task(loop(engine, number)) for number in range(count)]
        began = time.monotonic()
        while time.monotonic() - began < seconds or not ended:
            before, then = ended, time.monotonic()
            await asyncio.sleep(every)
            rates.append((ended - before) / (time.monotonic() - then))
        for task in tasks:
            task.cancel()
    return {"rates": rates, "jobs": ended, "client_cpu_seconds": time.process_time() - cpu}


if __name__ == "__main__":
    url, *rest = sys.argv[1:]
    print(json.dumps(asyncio.run(loops(url, int(rest[0]), int(rest[1]), *map(float, rest[2:])))))
