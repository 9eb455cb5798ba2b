"""What a settle function that counts the children of parents costs when jobs are ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import psycopg

from benchmarks.database import JOB_TYPE, PAD, PAYLOAD_BYTES, USAGE_COLUMNS, Database, database
from benchmarks.report import Column, Result, Sample
from benchmarks.rounds import Against, Case, alternate, table
from benchmarks.scenario import Lab, Scenario
from jobengine import NO_TENANT, Job, JobEngine, NewJob, Report

QUESTION = (
    f"Jobs ({PAYLOAD_BYTES} bytes of input) that were claimed before are ended by one caller of "
    "`JobEngine.finish`, in batches of a size: with a settle function that counts what the "
    "children of its parents came to, for parents with one child and with 500; and without one. "
    "Afterwards the parents are asked whether they counted every child once."
)
COLUMNS = (
    Column("jobs_per_second", "jobs/s"),
    *USAGE_COLUMNS,
    Column("client_cpu_us_per_job", "client CPU µs/job", digits=1),
)
_CHILD = "child"
_SETTLE = """
create table public.parent (id integer primary key, done integer not null default 0);
create function public.settle_child(p_jobs jobengine.settled_job[]) returns void
language plpgsql security definer set search_path = public, pg_temp as $$
begin
    perform 1 from parent p where p.id in (select (j.input ->> 'n')::integer from unnest(p_jobs) j)
    order by p.id for update;
    update parent p set done = p.done + c.done
    from (
        select (j.input ->> 'n')::integer as id,
               sum((j.status = 'completed')::integer
                   - coalesce((j.prior_status = 'completed')::integer, 0)) as done
        from unnest(p_jobs) j group by 1
    ) c
    where p.id = c.id;
end $$;
revoke execute on function public.settle_child from public;
grant execute on function public.settle_child to jobengine_owner;
"""
_FIRST = 100_000


@dataclass(frozen=True, slots=True)
class Ending:
    """So many children per parent, none for jobs that have no parents; so many jobs per call."""

    children: int
    batch: int

    @property
    def name(self) -> str:
        """Return the name of the case."""
        of = {0: "no settle function", 1: "1 child per parent"}
        return (
            f"{of.get(self.children, f'{self.children} children per parent')}, batch {self.batch}"
        )


def run(lab: Lab) -> Result:
    """Measure every kind of parent with every batch, in turn."""
    jobs = lab.sized(full=30_000, daily=10_000, quick=1000)
    batches = lab.sized(full=(10, 100, 1000), daily=(100, 1000), quick=(100,))
    endings = [Ending(children, batch) for batch in batches for children in (0, 1, 500)]
    with database(lab.server) as target:
        asyncio.run(_install(target))
        cases = [Case(e.name, partial(_measure, target, e, jobs)) for e in endings]
        samples = alternate(lab, "settle", cases)
    against = [
        Against(Ending(children, batch).name, Ending(0, batch).name, "jobs_per_second")
        for batch in batches
        for children in (1, 500)
    ]
    return table("settle", QUESTION, COLUMNS, samples, against)


async def _install(target: Database) -> None:
    async with JobEngine(target.url) as engine:
        async with engine.connection() as conn:
            await conn.execute(_SETTLE.encode())
        await engine.register_job_type(_CHILD, settle="public.settle_child")


def _measure(target: Database, ending: Ending, jobs: int) -> Sample:
    target.prepare(0)
    held = asyncio.run(_claimed(target, ending, jobs))
    with target.measure() as usage:
        sample = asyncio.run(_finish(target, held, ending.batch))
    target.check(ended=jobs, left=0)
    _check_parents(target, jobs if ending.children else 0)
    return {**sample, **usage.per_job(jobs)}


async def _claimed(target: Database, ending: Ending, jobs: int) -> Sequence[Job]:
    """Make parents and their children, and claim these."""
    parents = -(-jobs // ending.children) if ending.children else 0
    async with JobEngine(target.url) as engine:
        async with engine.connection() as conn:
            await conn.execute("truncate public.parent")
            await conn.execute(
                "insert into public.parent select %s + g from generate_series(1, %s) g",
                [_FIRST - 1, parents],
            )
        await engine.enqueue_many(list(_children(ending.children, jobs)))
        held: list[Job] = []
        while len(held) < jobs:
            limit = min(1000, jobs - len(held))
            held += await engine.claim(
                ["default"], agent_id="bench", limit=limit, tenant_id=NO_TENANT
            )
        async with engine.connection() as conn:
            await conn.execute("analyze")
    return held


def _children(per_parent: int, jobs: int) -> Iterator[NewJob]:
    job_type = _CHILD if per_parent else JOB_TYPE
    for number in range(jobs):
        parent = _FIRST + number // max(1, per_parent)
        yield NewJob(job_type=job_type, input={"n": parent, "pad": PAD})


async def _finish(target: Database, held: Sequence[Job], batch: int) -> Sample:
    reports = [
        Report(
            job_id=job.job_id, lease_epoch=job.lease_epoch, outcome="completed", output={"ok": True}
        )
        for job in held
    ]
    async with JobEngine(target.url) as engine:
        cpu, began = time.process_time(), time.perf_counter()
        for start in range(0, len(reports), batch):
            await engine.finish(reports[start : start + batch])
        seconds = time.perf_counter() - began
        cpu = time.process_time() - cpu
    jobs = len(reports)
    return {"jobs_per_second": jobs / seconds, "client_cpu_us_per_job": cpu / jobs * 1e6}


def _check_parents(target: Database, children: int) -> None:
    with psycopg.connect(target.admin_url) as admin:
        row = admin.execute("select coalesce(sum(done), 0) from public.parent").fetchone()
    if row != (children,):
        raise AssertionError(f"the parents counted {row} of {children} children")


SCENARIO = Scenario("settle", QUESTION, run)
