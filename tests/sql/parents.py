"""A host with parents of jobs: schema `app`, whose settle function can be made to fail."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from tests.sql.helpers import Db

# A parent keeps a sum (how many of its jobs are completed) and the last status. A job names its
# parent in its input. `fault` lists the parents whose jobs cannot be settled, with the SQLSTATE.
SCHEMA = """
    drop schema if exists app cascade;
    create schema app;
    grant usage on schema app to jobengine_owner;
    create table app.parent (
        parent_id text primary key, completed integer not null default 0, last_status text);
    alter table app.parent enable row level security;
    create table app.fault (parent_id text primary key, sqlstate text not null);
    create table app.seen (
        call bigint, job_id uuid, tenant_id uuid, job_type text, status text, prior_status text,
        input jsonb, output jsonb, error_code text, error_message text, meta jsonb,
        agent_id text);
    create sequence app.calls;  -- counts the calls that failed as well
    create function app.settle(p_jobs jobengine.settled_job[]) returns void
    language plpgsql security definer set search_path = app, pg_temp as $$
    declare
        v_call bigint := nextval('calls');
        v_fault text := (
            select f.sqlstate from unnest(p_jobs) j
            join fault f on f.parent_id = j.input ->> 'parent'
            order by f.parent_id limit 1);
        v_changed integer;
    begin
        if v_fault is not null then
            raise exception using errcode = v_fault, message = 'not now';
        end if;
        insert into seen
        select v_call, j.job_id, j.tenant_id, j.job_type, j.status, j.prior_status,
               j.input, j.output, j.error_code, j.error_message, j.meta, j.agent_id
        from unnest(p_jobs) j;
        update parent p
        set completed = p.completed + d.change, last_status = d.last_status
        from (
            select j.input ->> 'parent' as parent_id,
                   sum((j.status = 'completed')::integer)
                   - sum((coalesce(j.prior_status, '') = 'completed')::integer) as change,
                   (array_agg(j.status order by j.job_id desc))[1] as last_status
            from unnest(p_jobs) j group by 1) d
        where p.parent_id = d.parent_id;
        get diagnostics v_changed = row_count;
        if v_changed < (select count(distinct j.input ->> 'parent') from unnest(p_jobs) j) then
            raise exception using errcode = 'JE010', message = 'parent_gone';
        end if;
    end;
    $$;
    revoke execute on function app.settle from public;
    grant execute on function app.settle to jobengine_owner;
"""


class Parents:
    """The host's tables, emptied, and what its settle function was told."""

    def __init__(self, db: Db) -> None:
        """Create schema `app` afresh."""
        self._db = db
        with db.transaction():
            db.execute("set local client_min_messages = warning")
            db.execute(SCHEMA.encode())

    def add(self, parent_id: str) -> dict[str, str]:
        """Add a parent and return the input of a job that belongs to it."""
        self._db.execute("insert into app.parent (parent_id) values (%s)", (parent_id,))
        return {"parent": parent_id}

    def get(self, parent_id: str) -> tuple[int, str | None]:
        """Return a parent's completed jobs and last status."""
        query = "select completed, last_status from app.parent where parent_id = %s"
        [row] = self._db.execute(query, (parent_id,)).fetchall()
        return row["completed"], row["last_status"]

    def break_(self, parent_id: str, sqlstate: str = "22023") -> None:
        """Let the settle function fail for the jobs of this parent."""
        self._db.execute("insert into app.fault values (%s, %s)", (parent_id, sqlstate))

    def mend(self) -> None:
        """Let the settle function work again."""
        self._db.execute("delete from app.fault")

    def seen(self, job_id: UUID) -> list[tuple[str, str | None]]:
        """Return the status and prior status with which a job was settled, in order."""
        query = "select status, prior_status from app.seen where job_id = %s order by call"
        return [(r["status"], r["prior_status"]) for r in self._db.execute(query, (job_id,))]

    def told(self, job_id: UUID) -> dict[str, Any]:
        """Return what the settle function was told last of this job."""
        query = "select * from app.seen where job_id = %s order by call desc limit 1"
        [row] = self._db.execute(query, (job_id,)).fetchall()
        return row

    def calls(self) -> int:
        """Return how often the settle function was called, failed calls included."""
        query = "select case when is_called then last_value else 0 end as calls from app.calls"
        [row] = self._db.execute(query).fetchall()
        calls: int = row["calls"]
        return calls
