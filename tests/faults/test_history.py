"""10,000 jobs, 8 processes, some of them killed: the history judges the engine."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest
from psycopg.rows import DictRow

from tests.history import Claimed, Ended, Reported, violations

JOBS = 10_000
AGENTS = 8
KILLS = 4
ROOT = Path(__file__).parents[2]
SETTLE = """
create table public.settled (job_id uuid not null);
create function public.settle_history(p_jobs jobengine.settled_job[]) returns void
language sql security definer set search_path = public, pg_temp
as 'insert into settled select j.job_id from unnest(p_jobs) j';
revoke execute on function public.settle_history(jobengine.settled_job[]) from public;
grant execute on function public.settle_history(jobengine.settled_job[]) to jobengine_owner;
select jobengine.register_job_type('history', p_max_attempts => 50, p_lease_seconds => 1,
    p_backoff_seconds => 0.01, p_backoff_max_seconds => 0.1, p_settle => 'public.settle_history');
"""
FINAL = """
select j.job_id::text as job, v.status, v.lease_epoch as epoch, v.attempt, v.max_attempts,
       v.output #>> '{}' as reporter,
       (select count(*) from jobengine.ready t where t.job_id = j.job_id)
       + (select count(*) from jobengine.lease t where t.job_id = j.job_id)
       + (select count(*) from jobengine.ended t where t.job_id = j.job_id) as places,
       (select count(*) from public.settled s where s.job_id = j.job_id) as settles
from jobengine.job j
join jobengine.jobs v on v.job_id = j.job_id
"""


class Crew:
    """Agent processes; a killed one is replaced under a new name, with a history of its own."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.hired = 0
        self.agents: list[subprocess.Popen[bytes]] = []

    def hire(self) -> None:
        self.hired += 1
        name = f"agent-{self.hired}"
        script = [sys.executable, "-m", "tests.faults.history_agent", self.url, name]
        arguments = [str(self.folder / f"{name}.jsonl"), str(self.hired)]
        self.agents.append(subprocess.Popen(script + arguments, cwd=ROOT))

    def kill(self, chance: random.Random) -> None:
        victim = self.agents.pop(chance.randrange(len(self.agents)))
        victim.kill()
        victim.wait()

    def wait(self) -> list[int]:
        return [agent.wait(timeout=120) for agent in self.agents]


@contextmanager
def crew(url: str, folder: Path) -> Iterator[Crew]:
    agents = Crew(url, folder)
    try:
        yield agents
    finally:
        for agent in agents.agents:
            agent.kill()
            agent.wait()


def ended(db: psycopg.Connection[DictRow]) -> int:
    row = db.execute("select count(*) as n from jobengine.ended").fetchone()
    assert row is not None
    return int(row["n"])


def read(folder: Path) -> tuple[list[Claimed], list[Reported]]:
    claims: list[Claimed] = []
    reports: list[Reported] = []
    for file in folder.glob("*.jsonl"):
        for line in file.read_text().splitlines():
            try:
                record: dict[str, Any] = orjson.loads(line)
            except orjson.JSONDecodeError:
                continue  # the line at which its writer was killed
            if record.pop("kind") == "claimed":
                claims.append(Claimed(**record))
            else:
                reports.append(Reported(**record))
    return claims, reports


def test_no_double_claim_no_lost_job_no_stale_effect(
    db: psycopg.Connection[DictRow], database_url: str, tmp_path: Path
) -> None:
    db.execute(SETTLE.encode())
    rows = db.execute(
        "select job_id::text from jobengine.enqueue(array_fill('history'::text, array[%s::int]))",
        (JOBS,),
    ).fetchall()
    chance = random.Random(1)  # noqa: S311 - repeatable, not secret
    with crew(database_url, tmp_path) as agents:
        for _ in range(AGENTS):
            agents.hire()
        for kill in range(KILLS):
            while ended(db) < JOBS * (kill + 1) // (KILLS + 2):
                assert any(agent.poll() is None for agent in agents.agents)
            agents.kill(chance)
            agents.hire()
        assert agents.wait() == [0] * AGENTS
    claims, reports = read(tmp_path)
    final = [Ended(**row) for row in db.execute(FINAL).fetchall()]
    assert violations([row["job_id"] for row in rows], claims, reports, final) == []
    assert len(claims) > JOBS  # some were claimed again, or nothing was put to the test
    assert {report.outcome for report in reports} >= {"completed", "failed", "snooze", "release"}


GOOD_CLAIM = Claimed("a", "j", 1, 1.0, asked=0.0, answered=0.1)
GOOD_REPORT = Reported("a", "j", 1, "completed", 0.5, "ok", "completed")
GOOD_END = Ended("j", "completed", 1, 1, 5, "a/1", places=1, settles=1)


def test_a_good_history_has_no_violation() -> None:
    assert violations(["j"], [GOOD_CLAIM], [GOOD_REPORT], [GOOD_END]) == []


@pytest.mark.parametrize(
    "claims,reports,ended,named",
    [
        ([], [], [], "no_lost_job: j is gone"),
        ([], [], [Ended("j", None, 1, 1, 5, None, 1, 1)], "no_lost_job: j has not ended"),
        ([], [], [Ended("j", "failed", 1, 1, 5, None, 2, 1)], "no_lost_job: j is in 2 tables"),
        ([GOOD_CLAIM, GOOD_CLAIM], [], [GOOD_END], "no_double_claim: j epoch 1 was given twice"),
        (
            [GOOD_CLAIM, Claimed("b", "j", 2, 1.0, 0.4, 0.45)],
            [GOOD_REPORT],
            [GOOD_END],
            "no_double_claim: j epoch 2 overlaps the one before",
        ),
        (
            [GOOD_CLAIM],
            [Reported("a", "j", 1, "completed", 0.5, "stale_lease")],
            [GOOD_END],
            "no_stale_effect: j shows a report that was refused",
        ),
        (
            [GOOD_CLAIM],
            [GOOD_REPORT],
            [Ended("j", "completed", 2, 2, 5, "a/1", 1, 1)],
            "no_stale_effect: j ended by epoch 1",
        ),
        (
            [GOOD_CLAIM],
            [GOOD_REPORT, GOOD_REPORT],
            [GOOD_END],
            "one end: j was accepted 2 times",
        ),
        (
            [GOOD_CLAIM],
            [GOOD_REPORT],
            [Ended("j", "failed", 1, 1, 5, None, 1, 1)],
            "one end: j ended otherwise than was acknowledged",
        ),
        ([], [], [Ended("j", "failed", 1, 6, 5, None, 1, 1)], "attempts: j had 6 of 5"),
        (
            [],
            [],
            [Ended("j", "failed", 1, 1, 5, None, 1, 2)],
            "settled_equals_ended: j was settled 2 times",
        ),
    ],
)
def test_a_bad_history_is_named(
    claims: list[Claimed], reports: list[Reported], ended: list[Ended], named: str
) -> None:
    assert named in violations(["j"], claims, reports, ended)
