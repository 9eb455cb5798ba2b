"""How many jobs a second callers put in one by one, and what pgbench makes of the same function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count

from benchmarks.callers import Once
from benchmarks.contest import COLUMNS, Contest, Side, by_engine, by_pgbench
from benchmarks.database import JOB_TYPE, PAD, PAYLOAD_BYTES, Database, database
from benchmarks.report import Result
from benchmarks.rounds import Against, table
from benchmarks.scenario import Lab, Scenario
from jobengine import JobEngine

QUESTION = (
    f"Jobs ({PAYLOAD_BYTES} bytes of input) are put in one by one: by 1, 8 and 64 concurrent "
    "callers of `JobEngine.enqueue` in one process, and by as many clients of `pgbench`, each of "
    "which calls `jobengine.enqueue` with one job on a connection of its own."
)
FLOOR, AIM = 0.6, 0.8


def run(lab: Lab) -> Result:
    """Measure both sides with every number of callers."""
    contest = Contest(
        "enqueue",
        (PGBENCH, LIBRARY),
        lab.sized(full=(1, 8, 64), daily=(1, 64), quick=(1, 8)),
        lab.seconds(full=5.0, daily=2.0, quick=0.2),
        jobs=0,
        check=_check,
    )
    with database(lab.server) as target:
        samples = contest.hold(lab, target)
    result = table("enqueue", QUESTION, COLUMNS, samples, _against(contest.numbers))
    return replace(result, lines=[contest.lines("Jobs put in one by one", samples)])


def _caller(engine: JobEngine) -> Once:
    numbers = count(100_000)

    async def once(_caller: int) -> int:
        await engine.enqueue(JOB_TYPE, {"n": next(numbers), "pad": PAD})
        return 1

    return once


def _check(target: Database, _jobs: int, done: int) -> None:
    target.check(ended=0, left=done)


PGBENCH = Side("pgbench", "client", by_pgbench("enqueue.sql"))
LIBRARY = Side("JobEngine.enqueue", "caller", by_engine(_caller))


def _against(numbers: Sequence[int]) -> list[Against]:
    one, *more = numbers
    rate = "jobs_per_second"
    return [
        Against(LIBRARY.name(one), PGBENCH.name(one), rate, FLOOR, AIM),
        *(Against(LIBRARY.name(n), PGBENCH.name(n), rate) for n in more),
        *(Against(LIBRARY.name(n), LIBRARY.name(one), rate) for n in more),
    ]


SCENARIO = Scenario("enqueue", QUESTION, run)
