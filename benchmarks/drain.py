"""How much of what the engine's SQL can do is left when a Worker process does it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from benchmarks import drain_worker, pgbench
from benchmarks.database import PAYLOAD_BYTES, USAGE_COLUMNS, Database, Usage, database
from benchmarks.pgbench import PgbenchRun
from benchmarks.report import Column, Result, Sample
from benchmarks.rounds import Against, Case, alternate, table
from benchmarks.scenario import Lab, Scenario

QUESTION = (
    f"A queue of no-op jobs ({PAYLOAD_BYTES} bytes of input, results kept) is drained: by "
    "`pgbench`, which calls `claim` and `finish`, and by `Worker` processes."
)
COLUMNS = (
    Column("jobs_per_second", "jobs/s"),
    *USAGE_COLUMNS,
    Column("client_cpu_us_per_job", "client CPU µs/job", digits=1),
)
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


def by_worker(jobs: int, concurrency: int, *, processes: int = 1, batch: int = 0) -> Drain:
    """Processes with a `Worker` each until the queue is empty; a handler per job or per batch."""

    def run(target: Database) -> tuple[float, Sample]:
        numbers = (jobs, concurrency, processes, batch)
        command = [sys.executable, "-m", drain_worker.__name__, target.url, *map(str, numbers)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        told: dict[str, float] = json.loads(done.stdout)
        return told["seconds"], told

    name = f"Worker, {processes} process{'es' if processes > 1 else ''}, concurrency {concurrency}"
    return Drain(f"{name}, batches of {batch}" if batch else name, jobs, 0, run)


def drains(lab: Lab) -> Sequence[Drain]:
    """Return the measurements: what pgbench does, what Workers do, and smaller batches of both."""
    part = _QUICK if lab.quick else 1
    daily = [by_pgbench(500, 1, 200 // part), by_worker(100_000 // part, 1000)]
    if lab.daily and not lab.quick:
        return daily
    return [
        *daily,
        by_worker(100_000 // part, 1000, batch=500),
        by_worker(160_000 // part, 1000, processes=4),
        by_worker(160_000 // part, 1000, processes=4, batch=500),
        by_pgbench(500, 4, 80 // part),
        by_worker(60_000 // part, 500),
        by_worker(60_000 // part, 100),
        by_pgbench(500, 1, 200 // part, marks=False),
        by_pgbench(100, 1, 400 // part),
        by_pgbench(100, 4, 200 // part),
        by_pgbench(1, 1, 2000 // part),
        by_pgbench(1, 4, 1000 // part),
    ]


ONE, FOUR = (f"pgbench, batch 500, {clients}" for clients in ("1 connection", "4 connections"))
AGAINST = (
    Against("Worker, 1 process, concurrency 1000", ONE, "jobs_per_second", aim=0.6),
    Against("Worker, 1 process, concurrency 1000, batches of 500", ONE, "jobs_per_second"),
    Against("Worker, 4 processes, concurrency 1000", FOUR, "jobs_per_second"),
    Against("Worker, 4 processes, concurrency 1000, batches of 500", FOUR, "jobs_per_second"),
)


def run(lab: Lab) -> Result:
    """Measure every drain once per run, in turn, the order reversed each time."""
    with database(lab.server) as target:
        cases = [Case(drain.name, partial(measure, target, drain)) for drain in drains(lab)]
        samples = alternate(lab, "drain", cases)
    return table("drain", QUESTION, COLUMNS, samples, AGAINST)


def measure(target: Database, drain: Drain) -> Sample:
    """Fill the queue, drain it, and see that every job has its result."""
    target.prepare(drain.jobs + drain.spare)
    with target.measure() as usage:
        seconds, told = drain.run(target)
    target.check(ended=drain.jobs, left=drain.spare)
    return {**_per_job(drain.jobs, seconds, usage, told["client_cpu_seconds"]), **told}


def _per_job(jobs: int, seconds: float, usage: Usage, client_cpu: float | None) -> Sample:
    return {
        "jobs_per_second": jobs / seconds,
        **usage.per_job(jobs),
        "client_cpu_us_per_job": None if client_cpu is None else client_cpu / jobs * 1e6,
    }


SCENARIO = Scenario("drain", QUESTION, run)
