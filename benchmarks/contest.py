"""Ways to do the same one by one, each with 1, 2, 4 … callers at once, in turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import TypeAlias

from benchmarks import pgbench
from benchmarks.callers import Once, call
from benchmarks.database import USAGE_COLUMNS, Database
from benchmarks.latencies import percentiles
from benchmarks.pgbench import PgbenchRun
from benchmarks.report import Column, Lines, Sample
from benchmarks.rounds import Case, Samples, alternate, figure
from benchmarks.scenario import Lab
from jobengine import JobEngine

COLUMNS = (
    Column("jobs_per_second", "jobs/s"),
    Column("p50_ms", "p50 ms", digits=2),
    Column("p99_ms", "p99 ms", digits=2),
    *USAGE_COLUMNS,
    Column("client_cpu_us_per_job", "client CPU µs/job", digits=1),
)

# Takes the database, the number of callers and how long; returns how many jobs were done.
Way: TypeAlias = Callable[[Database, int, float], tuple[int, Sample]]


@dataclass(frozen=True, slots=True)
class Side:
    """A way, and what one of those who go it is called."""

    what: str
    caller: str
    way: Way

    def name(self, callers: int) -> str:
        """Return the name of the case."""
        return f"{self.what}, {callers} {self.caller}{'s' if callers > 1 else ''}"


@dataclass(frozen=True, slots=True)
class Contest:
    """Sides that are measured with the same numbers of callers.

    So many jobs wait before each measurement; `check` is given the database, how many there were
    and how many were done, and refuses what is not so.
    """

    scenario: str
    sides: Sequence[Side]
    numbers: Sequence[int]
    seconds: float
    jobs: int
    check: Callable[[Database, int, int], None]

    def hold(self, lab: Lab, target: Database) -> dict[str, list[Sample]]:
        """Measure every side with every number of callers, in turn."""
        cases = [
            Case(side.name(callers), partial(self._measure, target, side, callers))
            for callers in self.numbers
            for side in self.sides
        ]
        return alternate(lab, self.scenario, cases)

    def _measure(self, target: Database, side: Side, callers: int) -> Sample:
        target.prepare(self.jobs)
        with target.measure() as usage:
            done, told = side.way(target, callers, self.seconds)
        self.check(target, self.jobs, done)
        return {**told, **usage.per_job(done)}

    def lines(self, title: str, samples: Samples) -> Lines:
        """Draw jobs a second over the number of callers, a line per side."""
        return Lines(
            title,
            x="callers at once",
            y="jobs/s",
            points={
                side.what: [(n, _rate(samples[side.name(n)])) for n in self.numbers]
                for side in self.sides
            },
        )


def by_pgbench(script: str, **variables: str | int) -> Way:
    """Let every caller be a client of `pgbench` that runs this script."""

    def way(target: Database, callers: int, seconds: float) -> tuple[int, Sample]:
        wanted = PgbenchRun(script, callers, 0, variables, max(1, round(seconds)))
        done = pgbench.run(target.url, wanted)
        return done.transactions, {
            "jobs_per_second": done.transactions / done.seconds,
            "client_cpu_us_per_job": done.cpu_seconds / done.transactions * 1e6,
        }

    return way


def by_engine(once: Callable[[JobEngine], Once]) -> Way:
    """Let the callers share a `JobEngine` as it is by default, in one process."""

    async def called(url: str, callers: int, seconds: float) -> tuple[int, Sample]:
        async with JobEngine(url) as engine:
            done = await call(once(engine), callers=callers, seconds=seconds)
        return done.total, {
            "jobs_per_second": done.per_second,
            **percentiles(done.took),
            "client_cpu_us_per_job": done.cpu_us_per_job,
        }

    return lambda target, callers, seconds: asyncio.run(called(target.url, callers, seconds))


def _rate(samples: Sequence[Sample]) -> float:
    return median(figure(sample, "jobs_per_second") for sample in samples)
