"""A host's parents: folders that count the completed jobs of their `input.folder`."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from tests.races.calls import call
from tests.races.jobs import run
from tests.races.sessions import Call

_HOST = """
drop schema if exists host cascade;
create schema host;
grant usage on schema host to jobengine_owner;
create table host.folder (folder_id integer primary key, completed integer not null default 0);
insert into host.folder select generate_series(1, 4);

-- A sum over the ended jobs: adds the new end, takes the former one back.
create function host.settle_folders(p_jobs jobengine.settled_job[]) returns void
language sql security definer set search_path = host, pg_temp
as $$
    with delta as (
        select (j.input ->> 'folder')::integer as folder_id,
               (count(*) filter (where j.status = 'completed')
                - count(*) filter (where j.prior_status = 'completed'))::integer as completed
        from unnest(p_jobs) j
        group by 1
    ), locked as materialized (
        select f.folder_id from folder f
        where f.folder_id in (select d.folder_id from delta d)
        order by f.folder_id
        for update
    )
    update folder f set completed = f.completed + d.completed
    from delta d join locked l on l.folder_id = d.folder_id
    where f.folder_id = d.folder_id
$$;
revoke execute on function host.settle_folders(jobengine.settled_job[]) from public;
grant execute on function host.settle_folders(jobengine.settled_job[]) to jobengine_owner;
"""


# The engine waits two seconds for a parent: no longer than a machine may stand still, and then
# what waits here is not let go in time.
_PATIENT = """
set role jobengine_owner;
alter function jobengine._settle(text, jobengine.settled_job[]) set lock_timeout = '{}s';
reset role;
"""


def create(db: psycopg.Connection[DictRow], *job_types: str, patience: int = 60) -> None:
    """Create the folders 1 to 4 and let these job types settle into them.

    A locked parent is waited for as many seconds as `patience` says.
    """
    db.execute(_HOST.encode())
    db.execute(_PATIENT.format(patience).encode())
    for job_type in job_types:
        run(db, call("register_job_type", job_type=job_type, settle="host.settle_folders"))


def lock(folder_id: int) -> Call:
    return Call(
        sql.SQL("select 1 from host.folder where folder_id = %(folder)s for update"),
        {"folder": folder_id},
    )


def folder(folder_id: int) -> dict[str, Any]:
    """Return the arguments of a job in this folder."""
    return {"inputs": Jsonb({"folder": folder_id})}


def completed(db: psycopg.Connection[DictRow]) -> dict[int, int]:
    """Return what the folders that count anything have counted."""
    rows = db.execute("select folder_id, completed from host.folder where completed <> 0")
    return {row["folder_id"]: row["completed"] for row in rows.fetchall()}
