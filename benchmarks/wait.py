"""How long it takes to put a job in and have its result: enqueue, a Worker, wait."""

from __future__ import annotations

import asyncio
from functools import partial

from benchmarks.callers import call
from benchmarks.database import JOB_TYPE, PAD, USAGE_COLUMNS, Database, database
from benchmarks.latencies import percentiles
from benchmarks.probes import WARM_UP, warm_up
from benchmarks.report import Column, Result, Sample
from benchmarks.rounds import Case, alternate, table
from benchmarks.scenario import Lab, Scenario
from benchmarks.timed_worker import working
from jobengine import JobEngine

QUESTION = (
    "How long does it take from the call of `JobEngine.enqueue` (`wake=True`) until "
    "`JobEngine.wait` returns the result? Callers in one process, each of which waits before it "
    "puts in the next job; a `Worker` with 100 slots and a no-op handler in another."
)
COLUMNS = (
    Column("p50_ms", "p50 ms", digits=2),
    Column("p99_ms", "p99 ms", digits=2),
    Column("max_ms", "max ms", digits=1),
    Column("jobs_per_second", "jobs/s"),
    *USAGE_COLUMNS,
    Column("client_cpu_us_per_job", "caller CPU µs/job", digits=1),
)


def run(lab: Lab) -> Result:
    """Measure 1, 8 and 64 callers in turn."""
    seconds = lab.seconds(full=10.0, daily=2.0, quick=0.3)
    numbers = lab.sized(full=(1, 8, 64), daily=(1, 64), quick=(1, 8))
    with database(lab.server) as target:
        cases = [
            Case(f"{n} caller{'s' if n > 1 else ''}", partial(_measure, target, n, seconds))
            for n in numbers
        ]
        samples = alternate(lab, "wait", cases)
    return table("wait", QUESTION, COLUMNS, samples)


def _measure(target: Database, callers: int, seconds: float) -> Sample:
    target.prepare(0)
    with target.measure() as usage, working(target):
        jobs, told = asyncio.run(_round_trips(target.url, callers, seconds))
    target.check(ended=jobs, left=0)
    return {**told, **usage.per_job(jobs)}


async def _round_trips(url: str, callers: int, seconds: float) -> tuple[int, Sample]:
    async with JobEngine(url) as engine:
        await warm_up(engine)

        async def once(_caller: int) -> int:
            job = await engine.enqueue(JOB_TYPE, {"n": 100_000, "pad": PAD}, wake=True)
            await engine.wait(job.id)
            return 1

        done = await call(once, callers=callers, seconds=seconds)
    return done.total + WARM_UP, {
        **percentiles(done.took),
        "jobs_per_second": done.per_second,
        "client_cpu_us_per_job": done.cpu_us_per_job,
    }


SCENARIO = Scenario("wait", QUESTION, run)
