"""What a snapshot that is held for two minutes does to a queue in use."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import fmean

import psycopg

from benchmarks import pgbench
from benchmarks.database import USAGE_COLUMNS, Database, database
from benchmarks.pgbench import PgbenchRun
from benchmarks.report import Column, Lines, Ratio, Result, Sample
from benchmarks.rounds import Against, Case, Samples, alternate, figure, table
from benchmarks.scenario import Lab, Scenario

QUESTION = (
    "A transaction holds its snapshot while jobs are put in, claimed with marks and ended in a "
    "closed loop, so that VACUUM may take nothing away: what is left of the rate in the last "
    "twelfth of the time (of 120 s: in the last 10 s), against the same loop without it? Four "
    "clients, batches of 500: of `pgbench`, and as a `Worker` does it (`enqueue_many`, `Claimer`, "
    "`finish`), two in each of two processes."
)
COLUMNS = (
    Column("last_per_second", "jobs/s, last part"),
    Column("first_per_second", "jobs/s, first part"),
    Column("jobs_per_second", "jobs/s, all the time"),
    *USAGE_COLUMNS,
)
FLOOR, AIM = 0.5, 0.9
_FLOOR_RATE, _AIM_RATE = 20_000, 40_000
_CLIENTS, _PROCESSES, _BATCH = 4, 2, 500
_WAITING = 10_000
_PARTS, _LAST = 24, 2

# Runs for so many seconds and returns the jobs a second in intervals of so many.
Loop = Callable[[Database, int, int], Sequence[float]]


def by_pgbench(target: Database, seconds: int, every: int) -> Sequence[float]:
    """Let `pgbench` do it."""
    variables: dict[str, str | int] = {"batch": _BATCH, "marks": "[]"}
    done = pgbench.run(target.url, PgbenchRun("loop.sql", _CLIENTS, 0, variables, seconds, every))
    # A claim may come short: then a transaction is less than a batch.
    jobs = target.ended() / done.transactions
    return [rate * jobs for _, rate in done.rates]


def by_claimers(target: Database, seconds: int, every: int) -> Sequence[float]:
    """Let the library do it, in processes of their own."""
    arguments = map(str, (_CLIENTS // _PROCESSES, _BATCH, seconds, every))
    command = [sys.executable, "-m", "benchmarks.loop_worker", target.url, *arguments]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(_PROCESSES)
    ]
    told = [json.loads(process.communicate()[0])["rates"] for process in processes]
    return [sum(rates) for rates in zip(*told, strict=False)]


@dataclass(frozen=True, slots=True)
class Loops:
    """A case: how the loop is made, and whether a snapshot is held; and what it gave, per run."""

    name: str
    loop: Loop
    held: bool
    rates: list[Sequence[float]] = field(default_factory=list)


def run(lab: Lab) -> Result:
    """Measure both loops without and with the snapshot, in turn."""
    seconds = max(1, round(lab.seconds(full=120.0, daily=24.0, quick=1.0)))
    every = max(1, round(seconds / _PARTS))
    cases = [
        Loops(f"{what}, {'snapshot held' if held else 'without'}", loop, held)
        for what, loop in (("pgbench", by_pgbench), ("Claimer", by_claimers))
        for held in (False, True)
    ]
    with database(lab.server) as target:
        samples = alternate(
            lab,
            "horizon",
            [Case(c.name, partial(_measure, target, c, seconds, every)) for c in cases],
        )
    result = table("horizon", QUESTION, COLUMNS, samples)
    return replace(result, ratios=list(_ratios(cases, samples)), lines=[_lines(cases, every)])


def _measure(target: Database, case: Loops, seconds: int, every: int) -> Sample:
    target.prepare(_WAITING)
    with target.measure() as usage, _snapshot(target) if case.held else nullcontext():
        rates = case.loop(target, seconds, every)
    case.rates.append(rates)
    last = max(1, round(len(rates) * _LAST / _PARTS))
    return {
        "last_per_second": fmean(rates[-last:]),
        "first_per_second": fmean(rates[:last]),
        "jobs_per_second": fmean(rates),
        **usage.per_job(target.ended()),
    }


@contextmanager
def _snapshot(target: Database) -> Iterator[None]:
    """Hold one in a transaction of its own."""
    with psycopg.connect(target.admin_url) as holder:
        holder.execute("set transaction isolation level repeatable read")
        holder.execute("select 1 from jobengine.ready limit 1")
        yield


def _ratios(cases: Sequence[Loops], samples: Samples) -> Iterator[Ratio]:
    """Yield the last part with the snapshot over that without, and what is left beside the aims."""
    for free, held in zip(cases[::2], cases[1::2], strict=True):
        yield Against(held.name, free.name, "last_per_second", FLOOR, AIM).ratio(samples)
        left = [figure(sample, "last_per_second") / _FLOOR_RATE for sample in samples[held.name]]
        name = f"{held.name}: last part / {_FLOOR_RATE:,} jobs/s"
        yield Ratio(name, left, _AIM_RATE / _FLOOR_RATE, 1.0)


def _lines(cases: Sequence[Loops], every: int) -> Lines:
    """Draw the jobs a second over the time, as means of the runs."""
    points = {
        case.name: [
            (every * (place + 1), fmean(rates))
            for place, rates in enumerate(zip(*case.rates, strict=False))
        ]
        for case in cases
    }
    return Lines("A snapshot held under load", "seconds", "jobs/s", points)


SCENARIO = Scenario("horizon", QUESTION, run)
