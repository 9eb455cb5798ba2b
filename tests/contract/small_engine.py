"""A small engine that breaks no rule of tools/sql_check.py, to plant violations in."""

from __future__ import annotations

from pathlib import Path

TOUCH = """\
-- jobengine.touch: marks jobs as seen.
-- Transition: pending → running; running → completed | failed
-- Returns: the jobs that were there.
-- Writes: job
-- Locks: its jobs, sorted by id; it waits for those that others hold.
-- Calls: _now, _refuse
-- Raises: JE002
-- Concurrency: safe; two calls meet the jobs in the same order,
--   so that neither waits for the other in a circle.
create or replace function jobengine.touch(p_job_ids uuid[]) returns setof uuid
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_now timestamptz := jobengine._now();
    v_old jobengine.job;
    v_held jobengine._item[];
begin
    perform jobengine._refuse() where p_job_ids is null;
    perform from jobengine.job j where j.job_id = any (p_job_ids) order by j.job_id for update;
    select * into v_old from jobengine.job j limit 1;
    return query
    with seen as (
        update jobengine.job j set seen_at = v_now where j.job_id = any (p_job_ids)
        returning j.job_id
    )
    select s.* from seen s;
end;
$$;
"""

REFUSE = """\
-- jobengine._refuse: refuses.
-- Transition: none
-- Returns: nothing, it always raises.
-- Writes: nothing
-- Locks: nothing
-- Calls: nothing
-- Raises: JE002
-- Concurrency: safe.
create or replace function jobengine._refuse() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception using errcode = 'JE002', message = 'no';
end;
$$;
"""

NOW = """\
-- jobengine._now: the clock.
-- Transition: none
-- Returns: the time.
-- Writes: nothing
-- Locks: nothing
-- Calls: nothing
-- Raises: nothing
-- Concurrency: safe.
create or replace function jobengine._now() returns timestamptz
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
    select clock_timestamp()
$$;
"""

GRANTS = """\
-- Who may call what.
do $$
declare
    v_grant record;
begin
    for v_grant in
        select g.function from (values ('touch', 'jobengine_client')) g (function, roles)
    loop
        execute pg_catalog.format('grant execute on function jobengine.%I to x', v_grant.function);
    end loop;
end;
$$;
"""

MIGRATION = """\
-- One table, one type.
create type jobengine._item as (job_id uuid);
create table jobengine.job (job_id uuid primary key, seen_at timestamptz not null);
"""

BOOTSTRAP = """\
-- The list of migrations.
create table jobengine._migration (name text, applied_at timestamptz default clock_timestamp());
"""

LOOK = """\
-- jobengine doctor, look: the jobs.
-- Reads: jobengine.job
-- Rights: the owner
select j.job_id, clock_timestamp() - j.seen_at as age from jobengine.job j;
"""

FILES = {
    "functions/touch.sql": TOUCH,
    "functions/_refuse.sql": REFUSE,
    "functions/_now.sql": NOW,
    "doctor/look.sql": LOOK,
    "grants.sql": GRANTS,
    "migrations/0001_engine.sql": MIGRATION,
    "bootstrap.sql": BOOTSTRAP,
}


def write(folder: Path, files: dict[str, str]) -> Path:
    """Write the files of an engine and return its folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder
