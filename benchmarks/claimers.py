"""Claimers at the same queue that take and end one job at a time: how many a second."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.callers import Once
from benchmarks.contest import COLUMNS, Contest, Side, by_engine, by_pgbench
from benchmarks.database import Database, database
from benchmarks.report import Result
from benchmarks.rounds import Against, table
from benchmarks.scenario import Lab, Scenario
from jobengine import NO_TENANT, JobEngine, Report

QUESTION = (
    "Claimers at one queue take a job (batch 1) and end it, each in a transaction of its own, 1 "
    "to 64 of them at once: clients of `pgbench`, with marks, and callers of `JobEngine.claim` and "
    "`JobEngine.finish` in one process. The database is asked afterwards: a measurement in which "
    "a job was taken twice, or has no result, is refused."
)
OUTPUT = {"ok": True}
# More than can be taken: a claim that finds nothing is refused.
_JOBS_PER_SECOND = 12_000


def run(lab: Lab) -> Result:
    """Measure both sides with every number of claimers."""
    seconds = lab.seconds(full=4.0, daily=1.0, quick=0.2)
    contest = Contest(
        "claimers",
        (PGBENCH, LIBRARY),
        lab.sized(full=(1, 2, 4, 8, 16, 32, 64), daily=(1, 8, 64), quick=(1, 8)),
        seconds,
        jobs=round(_JOBS_PER_SECOND * max(1.0, 1.25 * seconds)),
        check=_check,
    )
    with database(lab.server) as target:
        samples = contest.hold(lab, target)
    against = [
        Against(LIBRARY.name(n), PGBENCH.name(n), "jobs_per_second") for n in contest.numbers
    ]
    result = table("claimers", QUESTION, COLUMNS, samples, against)
    return replace(result, lines=[contest.lines("Claimers with batch 1", samples)])


def _claimer(engine: JobEngine) -> Once:
    async def once(number: int) -> int:
        jobs = await engine.claim(["default"], agent_id=f"caller {number}", tenant_id=NO_TENANT)
        if not jobs:
            raise AssertionError("the queue ran dry")
        reports = [
            Report(
                job_id=job.job_id, lease_epoch=job.lease_epoch, outcome="completed", output=OUTPUT
            )
            for job in jobs
        ]
        answers = await engine.finish(reports)
        if any(answer.verdict != "ok" for answer in answers):
            raise AssertionError(f"a job was taken twice: {answers}")
        return len(jobs)

    return once


def _check(target: Database, jobs: int, done: int) -> None:
    target.check(ended=done, left=jobs - done)


PGBENCH = Side("pgbench", "claimer", by_pgbench("drain.sql", batch=1, marks="[]"))
LIBRARY = Side("JobEngine", "claimer", by_engine(_claimer))
SCENARIO = Scenario("claimers", QUESTION, run)
