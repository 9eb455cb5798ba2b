"""Lets a crew of agents work on jobs while some are killed, and collects what is to be judged."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from tests.faults.history_agent import LEASE_SECONDS
from tests.history import Final, History, read

ROOT = Path(__file__).parents[2]

HOST = """
drop table if exists public.settled;
create table public.settled (job_id uuid not null, status text not null, change integer not null);
create index on public.settled (job_id);
create or replace function public.settle_history(p_jobs jobengine.settled_job[]) returns void
language sql security definer set search_path = public, pg_temp as $$
    insert into public.settled
    select j.job_id, e.status, e.change
    from unnest(p_jobs) j
    cross join lateral (values (j.status, 1), (j.prior_status, -1)) e (status, change)
    where e.status is not null
$$;
revoke execute on function public.settle_history(jobengine.settled_job[]) from public;
grant execute on function public.settle_history(jobengine.settled_job[]) to jobengine_owner;
"""

TYPE = """
select jobengine.register_job_type(
    %s, p_delivery => %s, p_lease_seconds => %s, p_backoff_seconds => 0.02,
    p_backoff_max_seconds => 0.1, p_settle => 'public.settle_history')
"""

# Plain tables: the view and the functions are what is being judged.
FINALS = """
select j.job_id::text, coalesce(j.dedup_key, 'live:' || j.live_key) as key,
       (select count(*) from jobengine.ready r where r.job_id = j.job_id)
       + (select count(*) from jobengine.lease l where l.job_id = j.job_id)
       + (select count(*) from jobengine.ended x where x.job_id = j.job_id) as places,
       e.status, coalesce(e.lease_epoch, 0) as epoch, coalesce(e.attempt, 0) as attempt,
       j.max_attempts,
       case when e.status = 'completed' then e.output ->> 'by' else e.error_message end as token,
       array(select f.error_message from jobengine.failure f
             where f.job_id = j.job_id and f.error_message is not null) as failures,
       (select coalesce(jsonb_object_agg(s.status, s.jobs), '{}')
        from (select t.status, sum(t.change) as jobs from public.settled t
              where t.job_id = j.job_id and t.status <> 'pending' group by t.status) s) as settled,
       e.settle_error is not null as unsettled, j.delivery, j.input ->> 'parent' as parent
from jobengine.job j
left join jobengine.ended e on e.job_id = j.job_id
"""


@dataclass(slots=True)
class Crew:
    """Agent processes; who replaces a killed one has a name of its own and takes its share."""

    url: str
    folder: Path
    jobs_each: int
    shares: dict[subprocess.Popen[bytes], int]
    hired: int = 0

    def hire(self, share: int) -> None:
        self.hired += 1
        script = [sys.executable, "-m", "tests.faults.history_agent", self.url]
        arguments = [f"agent{self.hired}", str(self.folder), str(share), str(self.jobs_each)]
        self.shares[subprocess.Popen(script + arguments, cwd=ROOT)] = share

    def kill(self, chance: random.Random) -> None:
        victim = chance.choice(list(self.shares))
        victim.kill()
        victim.wait()
        self.hire(self.shares.pop(victim))

    def still_work(self) -> bool:
        return any(agent.poll() is None for agent in self.shares)

    def wait(self) -> None:
        codes = [agent.wait(timeout=120) for agent in self.shares]
        assert not any(codes), codes


@contextmanager
def _crew(url: str, folder: Path, jobs_each: int) -> Iterator[Crew]:
    crew = Crew(url, folder, jobs_each, {})
    try:
        yield crew
    finally:
        for agent in crew.shares:
            agent.kill()
            agent.wait()


def run(
    conn: psycopg.Connection[Any],
    url: str,
    folder: Path,
    *,
    jobs: int,
    agents: int,
    kills: int,
) -> tuple[History, list[Final]]:
    """Let the agents drain the jobs, killing some on the way; return what is to be judged."""
    conn.execute(HOST.encode())
    for name, delivery in {"again": "at_least_once", "once": "at_most_once"}.items():
        conn.execute(TYPE.encode(), (name, delivery, LEASE_SECONDS))
    chance = random.Random(1)  # noqa: S311 - repeatable, not secret
    with _crew(url, folder, jobs // agents) as crew:
        for share in range(agents):
            crew.hire(share)
        for kill in range(kills):
            while _ended(conn) < jobs * (kill + 1) // (kills + 2):
                assert crew.still_work(), "all agents went home early"
                time.sleep(0.01)
            crew.kill(chance)
        crew.wait()
    return read(folder), finals(conn)


def _ended(conn: psycopg.Connection[Any]) -> int:
    row = conn.execute("select count(*) as jobs from jobengine.ended").fetchone()
    assert row is not None
    return int(row["jobs"])


def finals(conn: psycopg.Connection[Any]) -> list[Final]:
    """Return where each job is, by the tables, for a connection with rows as dictionaries."""
    rows = conn.execute(FINALS.encode()).fetchall()
    return [
        Final(
            job=row["job_id"],
            key=row["key"],
            failures=tuple(row["failures"]),
            **{
                name: row[name]
                for name in (
                    *("places", "status", "epoch", "attempt", "max_attempts", "token"),
                    *("settled", "unsettled", "delivery", "parent"),
                )
            },
        )
        for row in rows
    ]
