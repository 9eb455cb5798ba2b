"""What a tenant with a huge backlog does to a thousand who have a job now and then."""

from __future__ import annotations

import asyncio
from functools import partial
from uuid import UUID

import psycopg

from benchmarks.database import USAGE_COLUMNS, Database, database
from benchmarks.probes import WARM_UP, Probes, put_in, until_ended, warm_up
from benchmarks.report import Column, Result, Sample
from benchmarks.rounds import Against, Case, alternate, table
from benchmarks.scenario import Lab, Scenario
from benchmarks.timed_worker import working
from jobengine import JobEngine

QUIET = 1000
_RATE = 200.0
_SECONDS = 0.01  # of the noisy tenant's jobs
ALONE = "quiet tenants alone"
QUESTION = (
    f"{QUIET:,} quiet tenants have a job now and then, {_RATE:g} a second in all; one noisy tenant "
    "has so many waiting that a `Worker` with 100 slots is busy all the time (10 ms per job). How "
    "long after `enqueue` does the handler of a quiet tenant's job begin?"
)
COLUMNS = (
    Column("p50_ms", "p50 ms", digits=2),
    Column("p99_ms", "p99 ms", digits=2),
    Column("max_ms", "max ms", digits=1),
    Column("probes", "quiet jobs"),
    Column("left", "noisy jobs left"),
    *USAGE_COLUMNS,
)


def run(lab: Lab) -> Result:
    """Measure the quiet tenants without and with the noise, in turn."""
    noise = lab.sized(full=200_000, daily=60_000, quick=40_000)
    seconds = lab.seconds(full=3.0, daily=1.5, quick=0.3)
    beside = f"beside {noise:,} waiting jobs of one tenant"
    with database(lab.server) as target:
        cases = [
            Case(ALONE, partial(_measure, target, 0, seconds)),
            Case(beside, partial(_measure, target, noise, seconds)),
        ]
        samples = alternate(lab, "tenants", cases)
    against = [Against(ALONE, beside, key) for key in ("p50_ms", "p99_ms")]
    return table("tenants", QUESTION, COLUMNS, samples, against)


def _measure(target: Database, noise: int, seconds: float) -> Sample:
    target.prepare(noise)
    with target.measure() as usage:
        with working(target, seconds=_SECONDS) as began:
            probes = asyncio.run(_quiet(target, seconds))
        left = _waiting(target)
    if noise and not left:
        raise AssertionError("the noise ended before the quiet tenants did")
    ended = noise - left + len(probes.called) + WARM_UP
    target.check(ended=ended, left=left)
    return {**probes.latencies(began), "left": left, **usage.per_job(ended)}


async def _quiet(target: Database, seconds: float) -> Probes:
    async with JobEngine(target.url) as engine:
        await warm_up(engine, _tenant(0))
        probes = await put_in(engine, _RATE, seconds, _tenant)
        await asyncio.to_thread(until_ended, target, _tenant(0))
    return probes


def _tenant(number: int) -> UUID:
    """Return a quiet tenant, each in its turn."""
    return UUID(int=1 + number % QUIET)


def _waiting(target: Database) -> int:
    with psycopg.connect(target.admin_url, autocommit=True) as admin:
        row = admin.execute("select count(*) from jobengine.ready").fetchone()
    assert row is not None
    return int(row[0])


SCENARIO = Scenario("tenants", QUESTION, run)
