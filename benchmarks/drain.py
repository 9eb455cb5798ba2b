"""How much of what the engine's SQL can do is left when a Worker process does it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks import drain_worker, pgbench
from benchmarks.database import PAYLOAD_BYTES, USAGE_COLUMNS, Database, Usage, database
from benchmarks.pgbench import PgbenchRun
from benchmarks.progress import say
from benchmarks.report import Column, Ratio, Result, Sample
from benchmarks.scenario import Lab, Scenario

QUESTION = (
    f"A queue of no-op jobs ({PAYLOAD_BYTES} bytes of input, results kept) is drained: by "
    "`pgbench`, which calls `claim` and `finish`, and by one `Worker` process."
)
COLUMNS = (
    Column("jobs_per_second", "jobs/s"),
    *USAGE_COLUMNS,
    Column("client_cpu_us_per_job", "client CPU µs/job", digits=1),
)
AIM = 0.45
_QUICK = 50


@dataclass(frozen=True, slots=True)
class Drain:
    """One measurement: how many jobs it leaves waiting beyond those it ends, and how it runs."""

    name: str
    jobs: int
    spare: int
    run: Callable[[Database], tuple[float, Sample]]


def by_pgbench(batch: int, clients: int, transactions: int, *, marks: bool = True) -> Drain:
    """`clients` connections that each take and end `transactions` batches."""
    variables: Mapping[str, str | int] = {"batch": batch, **({"marks": "[]"} if marks else {})}
    script = "drain.sql" if marks else "drain_without_marks.sql"
    wanted = PgbenchRun(script, clients, transactions, variables)

    def run(target: Database) -> tuple[float, Sample]:
        done = pgbench.run(target.url, wanted)
        return done.seconds, {"client_cpu_seconds": done.cpu_seconds}

    connections = f"{clients} connection{'s' if clients > 1 else ''}"
    name = f"pgbench, batch {batch}, {connections}{'' if marks else ', without marks'}"
    # Two batches per client more than needed: no claim ever comes to the end of the queue.
    return Drain(name, wanted.total * batch, 2 * clients * batch, run)


def by_worker(jobs: int, concurrency: int) -> Drain:
    """One process with a `Worker` until the queue is empty."""

    def run(target: Database) -> tuple[float, Sample]:
        command = [sys.executable, "-m", drain_worker.__name__, target.url]
        done = subprocess.run(
            [*command, str(jobs), str(concurrency)], stdout=subprocess.PIPE, text=True, check=True
        )
        told: dict[str, float] = json.loads(done.stdout)
        return told["seconds"], told

    return Drain(f"Worker, concurrency {concurrency}", jobs, 0, run)


def drains(*, quick: bool) -> Sequence[Drain]:
    """Return the measurements; the first two are set against each other and stand together."""
    part = _QUICK if quick else 1
    return [
        by_pgbench(500, 1, 200 // part),
        by_worker(100_000 // part, 1000),
        by_worker(60_000 // part, 500),
        by_worker(60_000 // part, 100),
        by_pgbench(500, 4, 50 // part),
        by_pgbench(500, 1, 200 // part, marks=False),
        by_pgbench(100, 1, 400 // part),
        by_pgbench(100, 4, 200 // part),
        by_pgbench(1, 1, 2000 // part),
        by_pgbench(1, 4, 1000 // part),
    ]


def run(lab: Lab) -> Result:
    """Measure every drain once per run, in turn, the order reversed each time."""
    wanted = drains(quick=lab.quick)
    if lab.daily and not lab.quick:
        wanted = wanted[:2]
    samples: dict[str, list[Sample]] = {drain.name: [] for drain in wanted}
    with database(lab.server) as target:
        for number, order in enumerate(_orders(wanted, lab.runs), 1):
            for drain in order:
                sample = measure(target, drain)
                samples[drain.name].append(sample)
                say(f"drain {number}/{lab.runs}: {drain.name}: {sample['jobs_per_second']:,.0f}/s")
    base, worker = (samples[drain.name] for drain in wanted[:2])
    return Result("drain", QUESTION, COLUMNS, samples, _ratios(base, worker))


def measure(target: Database, drain: Drain) -> Sample:
    """Fill the queue, drain it, and see that every job has its result."""
    target.prepare(drain.jobs + drain.spare)
    with target.measure() as usage:
        seconds, told = drain.run(target)
    target.check(ended=drain.jobs, left=drain.spare)
    return {**told, **_per_job(drain.jobs, seconds, usage, told["client_cpu_seconds"])}


def _per_job(jobs: int, seconds: float, usage: Usage, client_cpu: float | None) -> Sample:
    return {
        "jobs": jobs,
        "jobs_per_second": jobs / seconds,
        **usage.per_job(jobs),
        "client_cpu_us_per_job": None if client_cpu is None else client_cpu / jobs * 1e6,
    }


def _orders(wanted: Sequence[Drain], runs: int) -> Iterator[Sequence[Drain]]:
    """Yield there and back again, so that a drift of the machine favours nobody."""
    for number in range(runs):
        yield wanted if number % 2 == 0 else list(reversed(wanted))


def _ratios(base: Sequence[Sample], worker: Sequence[Sample]) -> list[Ratio]:
    return [
        Ratio(
            "Worker / pgbench with one connection and batch 500, same run",
            [
                _of(w, "jobs_per_second") / _of(b, "jobs_per_second")
                for w, b in zip(worker, base, strict=True)
            ],
            AIM,
        ),
        Ratio(
            "Worker: first to last call of the handler / first claim to last acknowledged result",
            [_of(w, "handler_seconds") / _of(w, "seconds") for w in worker],
        ),
    ]


def _of(sample: Sample, key: str) -> float:
    value = sample[key]
    assert value is not None
    return value


SCENARIO = Scenario("drain", QUESTION, run)
