"""Whether a queue is as fast with five million jobs in it as with ten thousand."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from statistics import fmean
from typing import Any

import psycopg
from psycopg import sql

from benchmarks import pgbench
from benchmarks.database import USAGE_COLUMNS, Database, database
from benchmarks.pgbench import PgbenchRun
from benchmarks.progress import say
from benchmarks.report import Column, Result, Sample
from benchmarks.rounds import Against, Case, alternate, figure, table
from benchmarks.scenario import Lab, Scenario

QUESTION = (
    "How many jobs a second are claimed and ended with 10,000, 1,000,000 and 5,000,000 of them "
    "waiting? `pgbench` as in *drain* (one connection, batch 500, marks), and a `Worker` "
    "(concurrency 500, from the first tenth of its jobs to the last). A measurement takes the "
    "first 9,000 jobs, several times; before each time they are replaced, dead rows are removed by "
    "VACUUM, and there is a checkpoint."
)
COLUMNS = (
    Column("jobs_per_second", "jobs/s"),
    *USAGE_COLUMNS,
    Column("client_cpu_us_per_job", "client CPU µs/job", digits=1),
)
FLOOR, AIM = 0.9, 0.97
_BATCH = 500
_TABLES = ("job", "ready")
_ID = "('01900000-0000-7000-8000-' || lpad(to_hex(g), 12, '0'))::uuid"
_TRANSACTIONS = 18
_JOBS = _BATCH * _TRANSACTIONS
_AT_ONCE = 500_000

# Takes `_JOBS` jobs and returns how many of them it timed, and the seconds.
Way = Callable[[Database], Mapping[str, float]]


class Backlog:
    """A database in which so many jobs wait: copies of one that `enqueue` wrote."""

    def __init__(self, target: Database, size: int) -> None:
        """Write them; it takes about eight seconds per million."""
        self.target = target
        self._size = size
        self._made = 0
        target.prepare(1)
        with psycopg.connect(target.admin_url, autocommit=True) as admin:
            for table in _TABLES:
                admin.execute(f"create table public.{table} as table jobengine.{table}".encode())
            admin.execute("truncate jobengine.job, jobengine.ready")
        self.fill()

    def fill(self) -> None:
        """Put back what was taken, behind the rest, and leave nothing to clean up or write out."""
        with psycopg.connect(self.target.admin_url, autocommit=True) as admin:
            row = admin.execute("select count(*) from jobengine.ready").fetchone()
            end = self._made + self._size - (row[0] if row else 0)
            while self._made < end:
                first, self._made = self._made + 1, min(end, self._made + _AT_ONCE)
                for table in _TABLES:
                    _copy(admin, table, first, self._made)
            admin.execute("vacuum (analyze)")
            admin.execute("checkpoint")

    def take(self, way: Way, rounds: int) -> Sample:
        """Measure the taking of the first jobs, so many times, and put the rounds together."""
        jobs = seconds = 0.0
        spent: list[Sample] = []
        for _ in range(rounds):
            self.fill()
            before = self.target.ended()
            with self.target.measure() as usage:
                told = way(self.target)
            jobs, seconds = jobs + told["jobs"], seconds + told["seconds"]
            cpu = {"client_cpu_us_per_job": told["client_cpu_us_per_job"]}
            spent.append({**usage.per_job(self.target.ended() - before), **cpu})
        return {"jobs_per_second": jobs / seconds, **_means(spent)}


def _copy(admin: psycopg.Connection[Any], table: str, first: int, last: int) -> None:
    """Write copies of the one row, each with an id of its own; ids ascend."""
    row = admin.execute(
        "select array_agg(attname::text order by attnum) from pg_attribute"
        " where attrelid = %s::regclass and attnum > 0 and not attisdropped",
        [f"jobengine.{table}"],
    ).fetchone()
    assert row is not None
    others = [sql.Identifier("t", name) for name in row[0] if name != "job_id"]
    columns = [sql.Identifier(name) for name in row[0] if name != "job_id"]
    admin.execute(
        sql.SQL("insert into jobengine.{table} (job_id, {columns}) select {id}, {others}").format(
            table=sql.Identifier(table),
            columns=sql.SQL(", ").join(columns),
            id=sql.SQL(_ID),
            others=sql.SQL(", ").join(others),
        )
        + sql.SQL(" from public.{} t, generate_series(%s::integer, %s) g").format(
            sql.Identifier(table)
        ),
        [first, last],
    )


def _means(samples: Sequence[Sample]) -> Sample:
    return {
        key: None if value is None else fmean(figure(sample, key) for sample in samples)
        for key, value in samples[0].items()
    }


def by_pgbench(target: Database) -> Mapping[str, float]:
    """One connection, as in *drain*."""
    wanted = PgbenchRun("drain.sql", 1, _TRANSACTIONS, {"batch": _BATCH, "marks": "[]"})
    done = pgbench.run(target.url, wanted)
    cpu = done.cpu_seconds / _JOBS * 1e6
    return {"jobs": _JOBS, "seconds": done.seconds, "client_cpu_us_per_job": cpu}


def by_worker(target: Database) -> Mapping[str, float]:
    """One process."""
    command = [sys.executable, "-m", "benchmarks.backlog_worker", target.url, str(_JOBS)]
    done = subprocess.run([*command, str(_BATCH)], stdout=subprocess.PIPE, text=True, check=True)
    told: dict[str, float] = json.loads(done.stdout)
    return told


WAYS: Mapping[str, Way] = {"pgbench": by_pgbench, "Worker": by_worker}


def run(lab: Lab) -> Result:
    """Make all backlogs, then measure them in turn, by every way."""
    sizes = lab.sized(
        full=(10_000, 1_000_000, 5_000_000), daily=(10_000, 200_000), quick=(10_000, 30_000)
    )
    rounds = lab.sized(full=5, daily=3, quick=1)
    with ExitStack() as stack:
        backlogs = {}
        for size in sizes:
            backlogs[size] = Backlog(stack.enter_context(database(lab.server)), size)
            say(f"backlog: {size:,} jobs wait")
        cases = [
            Case(_name(way, size), partial(backlog.take, WAYS[way], rounds))
            for way in WAYS
            for size, backlog in backlogs.items()
        ]
        samples = alternate(lab, "backlog", cases)
    against = [
        Against(_name(way, size), _name(way, sizes[0]), "jobs_per_second", FLOOR, AIM)
        for way in WAYS
        for size in sizes[1:]
    ]
    return table("backlog", QUESTION, COLUMNS, samples, against)


def _name(way: str, size: int) -> str:
    return f"{way}, {size:,} waiting"


SCENARIO = Scenario("backlog", QUESTION, run)
