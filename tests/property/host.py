"""A host of the engine: parents that follow their jobs through settle functions.

`SumParents` counts its jobs per status and takes back the former status of a job that ends anew.
`LastParents` has the status of its newest job. Both refuse on command: everything (`broken`,
`locked`), single jobs (`poison`), and jobs whose parent does not exist.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg

from jobengine.testing.model import Settled

PARENTS = (1, 2)
MISSING_PARENT = 3
STATUSES = ("completed", "failed", "cancelled", "expired", "unknown")

_TABLES = """
create table if not exists public.sum_parent (
    parent integer, status text, jobs integer not null default 0, primary key (parent, status));
create table if not exists public.last_parent (
    parent integer primary key, last_job_id uuid, status text);
create table if not exists public.mood (mood text not null);
create table if not exists public.poison (job_id uuid primary key);
"""

_REFUSE = """
create or replace function public.refuse(p_jobs jobengine.settled_job[]) returns void
language plpgsql as $$
begin
    case (select m.mood from public.mood m)
        when 'broken' then raise exception 'broken';
        when 'locked' then raise exception using errcode = '55P03', message = 'locked';
        else null;
    end case;
    if exists (select from public.poison p join unnest(p_jobs) j on j.job_id = p.job_id) then
        raise exception 'poison';
    end if;
    if exists (select from unnest(p_jobs) j where (j.input ->> 'parent')::int not in (
            select l.parent from public.last_parent l)) then
        raise exception using errcode = 'JE010', message = 'no such parent';
    end if;
end;
$$;
"""

_SETTLE_SUM = """
create or replace function public.settle_sum(p_jobs jobengine.settled_job[]) returns void
language plpgsql security definer set search_path = public, pg_temp as $$
begin
    update public.sum_parent p
    set jobs = p.jobs + c.change
    from (
        select (j.input ->> 'parent')::int as parent, e.status, sum(e.change) as change
        from unnest(p_jobs) j
        cross join lateral (values (j.status, 1), (j.prior_status, -1)) e (status, change)
        group by 1, 2
    ) c
    where p.parent = c.parent and p.status = c.status;
    -- Last on purpose: the engine must take back what was written before the error.
    perform public.refuse(p_jobs);
end;
$$;
"""

_SETTLE_LAST = """
create or replace function public.settle_last(p_jobs jobengine.settled_job[]) returns void
language plpgsql security definer set search_path = public, pg_temp as $$
begin
    perform public.refuse(p_jobs);
    update public.last_parent p
    set last_job_id = n.job_id, status = n.status
    from (
        select distinct on (j.input ->> 'parent')
               (j.input ->> 'parent')::int as parent, j.job_id, j.status
        from unnest(p_jobs) j
        order by j.input ->> 'parent', j.job_id desc
    ) n
    where p.parent = n.parent and (p.last_job_id is null or p.last_job_id <= n.job_id);
end;
$$;
"""

_RIGHTS = """
revoke execute on function public.settle_sum, public.settle_last from public;
grant execute on function public.settle_sum, public.settle_last to jobengine_owner;
"""


def install(conn: psycopg.Connection[Any]) -> None:
    """Create the host's tables and functions, with every parent at nothing."""
    for part in (_TABLES, _REFUSE, _SETTLE_SUM, _SETTLE_LAST, _RIGHTS):
        conn.execute(part.encode())
    conn.execute("truncate public.sum_parent, public.last_parent, public.mood, public.poison")
    conn.execute("insert into public.mood values ('calm')")
    for parent in PARENTS:
        conn.execute("insert into public.last_parent values (%s)", (parent,))
        for status in STATUSES:
            conn.execute("insert into public.sum_parent values (%s, %s)", (parent, status))


@dataclass
class Host:
    """The host in plain Python."""

    mood: str = "calm"
    poison: set[UUID] = field(default_factory=set)
    sums: Counter[tuple[int, str]] = field(default_factory=Counter)
    last: dict[int, tuple[UUID, str]] = field(default_factory=dict)

    def settle(self, function: str, job: Settled) -> str | None:
        """Change the parent, or say why not."""
        refusal = self._refusal(job)
        if refusal is None and function == "settle_sum":
            self._add(job)
        elif refusal is None:
            self._follow(job)
        return refusal

    def _refusal(self, job: Settled) -> str | None:
        if self.mood != "calm":
            return {"broken": "P0001 broken", "locked": "55P03 locked"}[self.mood]
        if job.job_id in self.poison:
            return "P0001 poison"
        return None if job.input["parent"] in PARENTS else "parent_gone"

    def _add(self, job: Settled) -> None:
        if job.status != "pending":
            self.sums[job.input["parent"], job.status] += 1
        if job.prior_status is not None:
            self.sums[job.input["parent"], job.prior_status] -= 1

    def _follow(self, job: Settled) -> None:
        newest = self.last.get(job.input["parent"])
        if newest is None or newest[0] <= job.job_id:
            self.last[job.input["parent"]] = (job.job_id, job.status)
