"""How long after `enqueue` the handler begins, at a low rate and at half of what goes through."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from benchmarks.callers import call
from benchmarks.database import JOB_TYPE, PAD, USAGE_COLUMNS, Database, database
from benchmarks.probes import WARM_UP, Probes, put_in, until_ended, warm_up
from benchmarks.report import Column, Ratio, Result, Sample
from benchmarks.rounds import Case, alternate, figure, table
from benchmarks.scenario import Lab, Scenario
from benchmarks.timed_worker import working
from jobengine import JobEngine

QUESTION = (
    "How long does it take from `JobEngine.enqueue` to the call of the handler? One process puts "
    "jobs in, another one is a `Worker` with 100 slots. *Capacity* is what both do together when "
    "64 callers put in without a pause: jobs put in, until the last has ended. The other cases put "
    "in at a steady rate; a latency counts from the answer to `enqueue`, when the job is "
    "committed, *call* from the call; *late* is how far the producer was behind its plan."
)
COLUMNS = (
    Column("jobs_per_second", "jobs/s"),
    Column("p50_ms", "p50 ms", digits=2),
    Column("p99_ms", "p99 ms", digits=2),
    Column("max_ms", "max ms", digits=1),
    Column("call_p50_ms", "call p50 ms", digits=2),
    Column("call_p99_ms", "call p99 ms", digits=2),
    Column("late_p99_ms", "late p99 ms", digits=2),
    *USAGE_COLUMNS,
)
CAPACITY, STEADY, HALF = "capacity, 64 callers", "20 jobs/s", "half of the capacity"
RATE = 20.0
LIMITS_MS = {"p50_ms": 1.0, "p99_ms": 5.0}
_CALLERS = 64
_FLOOD_MAX = 4.0


def run(lab: Lab) -> Result:
    """Measure the capacity, then both rates, once per run."""
    seconds = lab.seconds(full=20.0, daily=4.0, quick=0.4)
    found: list[float] = []
    with database(lab.server) as target:

        def capacity() -> Sample:
            sample = _measured(target, partial(_flood, target, min(seconds, _FLOOD_MAX)))
            found.append(figure(sample, "jobs_per_second"))
            return sample

        cases = [
            Case(CAPACITY, capacity),
            Case(STEADY, lambda: _measured(target, partial(_steady, target, RATE, seconds))),
            Case(HALF, lambda: _measured(target, partial(_steady, target, found[-1] / 2, seconds))),
        ]
        samples = alternate(lab, "latency", cases)
    return replace(
        table("latency", QUESTION, COLUMNS, samples), ratios=list(_ratios(samples[STEADY]))
    )


def _measured(target: Database, take: Callable[[], tuple[int, Sample]]) -> Sample:
    target.prepare(0)
    with target.measure() as usage:
        jobs, told = take()
    target.check(ended=jobs, left=0)
    return {**told, **usage.per_job(jobs)}


def _flood(target: Database, seconds: float) -> tuple[int, Sample]:
    """Return how many jobs came through, and how many a second that is."""
    with working(target):
        jobs, took = asyncio.run(_put_in_without_pause(target, seconds))
    return jobs + WARM_UP, {"jobs_per_second": jobs / took}


async def _put_in_without_pause(target: Database, seconds: float) -> tuple[int, float]:
    async with JobEngine(target.url) as engine:
        await warm_up(engine)

        async def once(_caller: int) -> int:
            await engine.enqueue(JOB_TYPE, {"n": 100_000, "pad": PAD})
            return 1

        began = time.monotonic()
        done = await call(once, callers=_CALLERS, seconds=seconds)
        await asyncio.to_thread(until_ended, target)
        return done.total, time.monotonic() - began


def _steady(target: Database, rate: float, seconds: float) -> tuple[int, Sample]:
    """Return how many jobs came through, and when their handlers began."""
    with working(target) as began:
        probes = asyncio.run(_put_in_steadily(target, rate, seconds))
    jobs = len(probes.called) + WARM_UP
    return jobs, {"jobs_per_second": rate, **probes.latencies(began)}


async def _put_in_steadily(target: Database, rate: float, seconds: float) -> Probes:
    async with JobEngine(target.url) as engine:
        await warm_up(engine)
        probes = await put_in(engine, rate, seconds)
        await asyncio.to_thread(until_ended, target)
    return probes


def _ratios(samples: Sequence[Sample]) -> Iterator[Ratio]:
    for key, most in LIMITS_MS.items():
        values = [most / figure(sample, key) for sample in samples]
        part = key.partition("_")[0]
        yield Ratio(f"{most:g} ms / {part} from commit to handler at {RATE:g} jobs/s", values, 1.0)


SCENARIO = Scenario("latency", QUESTION, run)
