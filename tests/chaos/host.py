"""The host program of a chaos run: its tables, its settle functions, what they say in the end."""

from __future__ import annotations

from typing import Any

import psycopg

from tests.contract.documents import diagram
from tests.faults.history_run import HOST, finals
from tests.history import Audit, Final, Move, Parent

ENDS = ("completed", "failed", "cancelled", "expired", "unknown")
LEASE_SECONDS = 1.0

# A parent counts how its jobs ended; it adds a new end and takes the former one back.
PARENTS = f"""
create table public.parent (
    name text primary key,
    jobs integer not null,
    {", ".join(f"{end} integer not null default 0" for end in ENDS)}
);
create function public.settle_children(p_jobs jobengine.settled_job[]) returns void
language plpgsql security definer set search_path = public, pg_temp as $$
begin
    perform 1 from parent where name in (select j.input ->> 'parent' from unnest(p_jobs) j)
    order by name for update;
    update parent p
    set {", ".join(f"{end} = p.{end} + c.{end}" for end in ENDS)}
    from (
        select j.input ->> 'parent' as name,
               {
    ", ".join(
        f"count(*) filter (where j.status = '{end}') - "
        f"count(*) filter (where j.prior_status = '{end}') as {end}"
        for end in ENDS
    )
}
        from unnest(p_jobs) j
        group by 1
    ) c
    where p.name = c.name;
    perform settle_history(p_jobs);
end
$$;
revoke execute on function public.settle_children(jobengine.settled_job[]) from public;
grant execute on function public.settle_children(jobengine.settled_job[]) to jobengine_owner;
"""

# What the tables go through, noted by triggers: neither the functions nor the agents are asked. A
# lease that lapsed is on its way to `ended`, where it is noted.
MOVES = """
create table public.move (
    number bigint generated always as identity,
    job_id uuid not null,
    status text not null,
    epoch integer not null,
    request_id text
);
create function public.note_move() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_status text := case tg_table_name
        when 'ready' then 'pending'
        when 'ended' then to_jsonb(new) ->> 'status'
        when 'lease' then case when to_jsonb(new) ->> 'started_at' is null then 'claimed'
                               else 'running' end end;
begin
    if (to_jsonb(new) ->> 'lapsed') is distinct from 'true' then
        insert into public.move (job_id, status, epoch, request_id)
        values (new.job_id, v_status, new.lease_epoch, to_jsonb(new) ->> 'request_id');
    end if;
    return null;
end
$$;
create table public.kept (job_id uuid not null, epoch integer not null);
create function public.note_kept() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into public.kept (job_id, epoch) values (new.job_id, new.lease_epoch);
    return null;
end
$$;
create trigger note_move after insert on jobengine.ready
    for each row execute function public.note_move();
create trigger note_move after insert on jobengine.lease
    for each row execute function public.note_move();
create trigger note_start after update on jobengine.lease
    for each row when (old.started_at is null and new.started_at is not null)
    execute function public.note_move();
create trigger note_kept after update on jobengine.lease
    for each row when (old.lease_expires_at <> new.lease_expires_at and not new.lapsed)
    execute function public.note_kept();
create trigger note_move after insert on jobengine.ended
    for each row execute function public.note_move();
create trigger note_resolution after update on jobengine.ended
    for each row when (old.status <> new.status) execute function public.note_move();
"""

MOVED = """
select job_id::text as job, status, epoch, request_id as request from public.move order by number
"""
KEPT = "select distinct job_id::text as job, epoch from public.kept"

TYPE = """
select jobengine.register_job_type(
    %s, p_delivery => %s, p_lease_seconds => %s, p_backoff_seconds => 0.02,
    p_backoff_max_seconds => 0.1, p_settle => %s)
"""
TYPES = {
    "again": ("at_least_once", "public.settle_history"),
    "once": ("at_most_once", "public.settle_history"),
    "child": ("at_least_once", "public.settle_children"),
}

LEFT = """
select (select count(*) from jobengine.ready) as ready,
       (select count(*) from jobengine.lease) as lease,
       (select count(*) from jobengine.ended where settle_at is not null) as unsettled
"""

BUSY = """
select count(*) as actors from pg_stat_activity
where application_name = 'jobengine' and exists (select from jobengine.ended)
"""

LEFTOVERS = {
    "live keys of ended jobs": "select count(*) as n from jobengine.live_key",
    "connections": """select count(*) as n from pg_stat_activity
        where datname = current_database() and backend_type = 'client backend'
          and pid <> pg_backend_pid()""",
    "advisory locks": """select count(*) as n from pg_locks l
        join pg_database d on d.oid = l.database and d.datname = current_database()
        where l.locktype = 'advisory' and l.pid <> pg_backend_pid()""",
    "transactions left open": """select count(*) as n from pg_stat_activity
        where datname = current_database() and state like 'idle in transaction%'""",
}

Db = psycopg.Connection[Any]


def furnish(owner: Db, admin: Db) -> None:
    """Make the host's tables as their owner, and the triggers as the superuser."""
    owner.execute(HOST.encode())
    owner.execute(PARENTS.encode())
    for name, (delivery, settle) in TYPES.items():
        owner.execute(TYPE.encode(), (name, delivery, LEASE_SECONDS, settle))
    admin.execute(MOVES.encode())


def final_jobs(admin: Db) -> list[Final]:
    """Return where each job is in the end."""
    return finals(admin)


def audit(admin: Db) -> Audit:
    """Return what the triggers and the parents tell, and what docs/states.md allows."""
    return Audit(
        parents=_parents(admin),
        moves=[Move(**row) for row in admin.execute(MOVED.encode()).fetchall()],
        steps=frozenset(diagram("states.md")),
        kept=[(row["job"], row["epoch"]) for row in admin.execute(KEPT.encode()).fetchall()],
    )


def _parents(admin: Db) -> list[Parent]:
    rows = admin.execute("select * from public.parent").fetchall()
    return [Parent(row["name"], row["jobs"], {end: row[end] for end in ENDS}) for row in rows]


def busy(admin: Db) -> int:
    """Return how many actors are connected, 0 before the first job has ended."""
    row = admin.execute(BUSY.encode()).fetchone()
    assert row
    return int(row["actors"])


def left(admin: Db) -> dict[str, int]:
    """Return how much has not come to its end yet, by where it is."""
    row = admin.execute(LEFT.encode()).fetchone()
    assert row
    return {name: int(count) for name, count in row.items() if count}


def leftovers(admin: Db) -> list[str]:
    """Name what the actors left behind, who are all gone."""
    found = []
    for what, query in LEFTOVERS.items():
        row = admin.execute(query.encode()).fetchone()
        if row and row["n"]:
            found.append(f"no_leftovers: {row['n']} {what}")
    return found
