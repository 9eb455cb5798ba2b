"""How many jobs a second one caller puts in at once, and what COPY would make of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import orjson
import psycopg
from psycopg.rows import args_row

from benchmarks.database import JOB_TYPE, PAYLOAD_BYTES, USAGE_COLUMNS, Database, database
from benchmarks.progress import say
from benchmarks.report import Column, Ratio, Result, Sample
from benchmarks.scenario import Lab, Scenario
from jobengine import JobEngine, NewJob, calls
from jobengine._arguments import enqueue_arguments
from jobengine.records import Enqueued

QUESTION = (
    f"100,000 jobs ({PAYLOAD_BYTES} bytes of input) are put in by one caller, in one transaction, "
    "and their ids come back: by `enqueue_many`; by COPY into a temporary table from which they "
    "are checked and written; and, without ids or checks, by COPY into the tables themselves."
)
COLUMNS = (
    Column("jobs_per_second", "jobs/s"),
    *USAGE_COLUMNS,
)
BOUND, STAGED, MANY, ONE = (
    "COPY into the tables",
    "COPY to a temporary table, then insert",
    "enqueue_many",
    "one call of enqueue",
)
AIM = 0.6
_JOBS, _QUICK = 100_000, 2_000
_CHUNK = 1000
_SQL = Path(__file__).parent / "staged"
_STAGE = """create temporary table incoming (
    item integer, job_type text, input jsonb, queue text, tenant_id uuid, priority integer,
    run_at timestamptz, delay float8, expires_at timestamptz, expires_in float8,
    max_attempts integer, lease_seconds float8, meta jsonb, wake boolean) on commit drop"""
_NO_TENANT = "00000000-0000-0000-0000-000000000000"

Way: TypeAlias = Callable[[Database, Sequence[NewJob]], float]


def by_enqueue_many(target: Database, jobs: Sequence[NewJob]) -> float:
    """Return the seconds that the library takes."""

    async def seconds() -> float:
        async with JobEngine(target.url) as engine:
            began = time.perf_counter()
            await engine.enqueue_many(jobs)
            return time.perf_counter() - began

    return asyncio.run(seconds())


def by_one_call(target: Database, jobs: Sequence[NewJob]) -> float:
    """Return the seconds that it takes without batches."""

    async def seconds() -> float:
        async with JobEngine(target.url) as engine, engine.connection() as conn:
            began = time.perf_counter()
            await calls.enqueue(conn, **enqueue_arguments(jobs))
            return time.perf_counter() - began

    return asyncio.run(seconds())


def by_staged_copy(target: Database, jobs: Sequence[NewJob]) -> float:
    """Return the seconds that COPY takes with what enqueue checks and answers."""
    with psycopg.connect(target.admin_url) as conn:
        began = time.perf_counter()
        conn.execute(_STAGE)
        _copy(conn, "incoming (item, job_type, input)", _staged(jobs))
        # Nothing is known of a new table: without this its ids are joined in a nested loop.
        conn.execute("set local enable_nestloop = off")
        assert not conn.execute((_SQL / "check.sql").read_bytes()).fetchall()
        cursor = conn.cursor(row_factory=args_row(Enqueued))
        cursor.execute((_SQL / "write.sql").read_bytes(), binary=True)
        answers = cursor.fetchall()
        conn.commit()
        assert len(answers) == len(jobs)
        return time.perf_counter() - began


def by_copy(target: Database, jobs: Sequence[NewJob]) -> float:
    """Return the seconds of COPY alone: what no enqueue can beat."""
    with psycopg.connect(target.admin_url) as conn:
        query = "select unnest(jobengine._job_ids(now(), %s))::text"
        ids = [row[0] for row in conn.execute(query, [len(jobs)])]
        began = time.perf_counter()
        _copy(
            conn,
            "jobengine.job (job_id, job_type, input, tenant_id, queue, priority, meta,"
            " max_attempts, lease_seconds, delivery, wake, created_at)",
            (
                f"{job_id}\t{_job(job)}\t{_NO_TENANT}\tdefault\t5\t{{}}"
                "\t5\t60\tat_least_once\tf\tnow\n"
                for job_id, job in zip(ids, jobs, strict=True)
            ),
        )
        _copy(
            conn,
            "jobengine.ready (job_id, tenant_id, queue, priority, run_at, attempt, lease_epoch,"
            " lost)",
            (f"{job_id}\t{_NO_TENANT}\tdefault\t5\tnow\t0\t0\t0\n" for job_id in ids),
        )
        conn.commit()
        return time.perf_counter() - began


def _staged(jobs: Sequence[NewJob]) -> Iterator[str]:
    return (f"{item}\t{_job(job)}\n" for item, job in enumerate(jobs, 1))


def _job(job: NewJob) -> str:
    text = orjson.dumps(job.input).decode().replace("\\", "\\\\")
    return f"{job.job_type}\t{text}"


def _copy(conn: psycopg.Connection[Any], columns: str, lines: Iterator[str]) -> None:
    with conn.cursor() as cursor, cursor.copy(f"copy {columns} from stdin".encode()) as copy:
        rest = list(lines)
        for start in range(0, len(rest), _CHUNK):
            copy.write("".join(rest[start : start + _CHUNK]))


WAYS: dict[str, Way] = {
    BOUND: by_copy,
    MANY: by_enqueue_many,
    STAGED: by_staged_copy,
    ONE: by_one_call,
}


def run(lab: Lab) -> Result:
    """Measure every way once per run, in turn."""
    every = tuple(WAYS)
    ways = {name: WAYS[name] for name in lab.sized(full=every, daily=(BOUND, MANY), quick=every)}
    samples: dict[str, list[Sample]] = {name: [] for name in ways}
    jobs = new_jobs(_QUICK if lab.quick else _JOBS)
    with database(lab.server) as target:
        for number in range(1, lab.runs + 1):
            for name, way in ways.items():
                samples[name].append(measure(target, way, jobs))
                say(f"bulk {number}/{lab.runs}: {name}")
    rates = {name: [float(s["jobs_per_second"] or 0) for s in samples[name]] for name in ways}
    return Result("bulk", QUESTION, COLUMNS, samples, _ratios(rates))


def new_jobs(count: int) -> list[NewJob]:
    """Return jobs whose inputs differ and are equally long."""
    pad = "x" * (PAYLOAD_BYTES - 24)
    return [NewJob(job_type=JOB_TYPE, input={"n": 100_000 + n, "pad": pad}) for n in range(count)]


def measure(target: Database, way: Way, jobs: Sequence[NewJob]) -> Sample:
    """Put the jobs into an empty engine and see that all are there."""
    target.prepare(0)
    with target.measure() as usage:
        seconds = way(target, jobs)
    target.check(ended=0, left=len(jobs))
    return {
        "jobs": len(jobs),
        "jobs_per_second": len(jobs) / seconds,
        **usage.per_job(len(jobs)),
    }


def _ratios(rates: dict[str, list[float]]) -> list[Ratio]:
    return [
        Ratio(
            f"{first} / {second}, same run",
            [a / b for a, b in zip(rates[first], rates[second], strict=True)],
            aim,
        )
        for first, second, aim in ((MANY, BOUND, AIM), (MANY, STAGED, None), (ONE, BOUND, None))
        if {first, second} <= rates.keys()
    ]


SCENARIO = Scenario("bulk", QUESTION, run)
