"""`verify` names every kind of difference, and nothing in a database as installed."""

from __future__ import annotations

import asyncio

import pytest
from psycopg import AsyncConnection

from jobengine import schema

AS_OWNER = "set role jobengine_owner"

# What somebody does to the schema, and the beginnings of the lines that tell it.
CHANGES = {
    # missing
    "drop index jobengine.ready_claim": ["- index CREATE INDEX ready_claim "],
    "drop function jobengine._strayed": ["- function _strayed("],
    "drop view jobengine.jobs cascade": [
        *("- column jobs.", "- function get(", "- function list(", "- view jobs "),
        *("- grant execute on function get ", "- grant execute on function list "),
        "- grant select on jobs ",
    ],
    "drop table jobengine.failure cascade": [
        *("- column failure.", "- constraint jobengine.failure ", "- grant select on failure "),
        *("- index CREATE UNIQUE INDEX failure_pkey ", "- policy failure ", "- table failure "),
    ],
    "drop type jobengine._stopped cascade": ["- column _stopped.", "- function _cancel_round("],
    "alter table jobengine.ended drop column settle_tries": ["- column ended.settle_tries "],
    "alter table jobengine.lease drop constraint lease_pkey": [
        *("- constraint jobengine.lease PRIMARY KEY", "- index CREATE UNIQUE INDEX lease_pkey "),
    ],
    "alter table jobengine.job drop constraint job_check": ["- constraint jobengine.job CHECK "],
    "revoke execute on function jobengine.claim(jsonb) from jobengine_worker": [
        "- grant execute on function claim to jobengine_worker"
    ],
    "revoke select on jobengine.jobs from jobengine_operator": [
        "- grant select on jobs to jobengine_operator"
    ],
    "revoke usage on schema jobengine from jobengine_client": [
        "- grant usage on schema to jobengine_client"
    ],
    "drop policy operator_reads on jobengine.job": ["- policy job operator_reads "],
    "delete from jobengine._migration": [
        *("- migration 0001_engine.sql ", "- migration 0002_settled_holder.sql "),
    ],
    # more than there should be
    "create table jobengine.mine (x integer)": ["+ column mine.x ", "+ table mine"],
    "create view jobengine.mine with (security_barrier) as select 1 as x": [
        *("+ column mine.x ", "+ view mine "),
    ],
    "create view jobengine.mine as select 1 as x": ["+ column mine.x ", "+ view mine "],
    "create materialized view jobengine.mine as select 1 as x": ["+ materialized view mine"],
    "create sequence jobengine.mine": ["+ sequence mine"],
    "create type jobengine.mine as (x integer)": ["+ column mine.x "],
    "create type jobengine.mine as enum ('x')": ["+ type mine"],
    "create function jobengine.mine() returns int language sql return 1": [
        *("+ function mine(", "+ public grant on function mine"),
    ],
    "create function jobengine.claim() returns int language sql return 1": [
        *("+ function claim(", "+ public grant on function claim"),
    ],
    "create index mine on jobengine.job (created_at)": ["+ index CREATE INDEX mine "],
    "alter table jobengine.job add column mine text": ["+ column job.mine "],
    "alter table jobengine.job add check (priority < 9)": ["+ constraint jobengine.job CHECK "],
    "create trigger mine after insert on jobengine.job execute function"
    " suppress_redundant_updates_trigger()": ["+ trigger job mine"],
    "grant execute on function jobengine._end to public": ["+ public grant on function _end"],
    "grant execute on function jobengine.retry to jobengine_client": [
        "+ grant execute on function retry to jobengine_client"
    ],
    "grant insert on jobengine.job to jobengine_worker": ["+ grant insert on job to "],
    "create policy mine on jobengine.lease for select to jobengine_operator using (false)": [
        "+ policy lease mine "
    ],
    "create policy mine on jobengine.lease for insert to jobengine_operator with check (true)": [
        "+ policy lease mine insert with check true"
    ],
    "insert into jobengine._migration (name, checksum) values ('9999_mine.sql', 'x')": [
        "+ migration 9999_mine.sql "
    ],
    # other than it should be
    "alter table jobengine.ended alter settle_tries set default 1": [
        *("+ column ended.settle_tries integer not null default 1",),
        *("- column ended.settle_tries integer not null default 0",),
    ],
    "alter table jobengine.ended alter settle_tries type bigint": [
        *("+ column ended.settle_tries bigint ", "- column ended.settle_tries integer "),
    ],
    "alter table jobengine.job alter queue drop not null": [
        *("+ column job.queue text", "- column job.queue text not null"),
    ],
    "alter table jobengine.job disable row level security": [
        *("+ table job", "- table job row level security"),
    ],
    "alter table jobengine.job force row level security": [
        *("+ table job row level security forced", "- table job row level security"),
    ],
    "alter table jobengine.waiting set logged": ["+ table waiting", "- table waiting unlogged"],
    "alter table jobengine.ready reset (vacuum_truncate)": ["+ table ready ", "- table ready "],
    "alter view jobengine.jobs set (security_invoker = false)": ["+ view jobs ", "- view jobs "],
    "alter function jobengine.claim(jsonb) security invoker": [
        *("+ function claim(", "- function claim("),
    ],
    "alter function jobengine.claim(jsonb) reset search_path": [
        *("+ function claim(", "- function claim("),
    ],
    "alter function jobengine.claim(jsonb) strict": ["+ function claim(", "- function claim("],
    "alter function jobengine._now() stable": ["+ function _now(", "- function _now("],
    "create or replace function jobengine._now() returns timestamptz language sql volatile"
    " set search_path = pg_catalog, pg_temp as 'select now()'": [
        *("+ function _now(", "- function _now("),
    ],
    "alter policy operator_reads on jobengine.job using (false)": [
        "+ policy job ",
        "- policy job ",
    ],
    "alter table jobengine.job_type rename to kind": [
        *("+ column kind.", "+ constraint jobengine.kind ", "+ grant select on kind "),
        *("+ index CREATE UNIQUE INDEX job_type_pkey ", "+ policy kind ", "+ table kind "),
        *("- column job_type.", "- constraint jobengine.job_type ", "- table job_type "),
        *("- grant select on job_type ", "- policy job_type "),
        "- index CREATE UNIQUE INDEX job_type_pkey ",
    ],
    "update jobengine._migration set checksum = 'x' where name ~ '^0001'": [
        *("+ migration 0001_engine.sql x", "- migration 0001_engine.sql "),
    ],
}


async def differences(url: str, *statements: str) -> list[str]:
    """Return what verify names after these statements and did not name before; undo them."""
    async with await AsyncConnection.connect(url) as conn:
        known = await schema.verify(conn)
        for statement in statements:
            await conn.execute(statement.encode())
        found = await schema.verify(conn)
        await conn.rollback()
        return [line for line in found if line not in known]


@pytest.mark.parametrize("change", CHANGES)
def test_verify_names_the_difference(database_url: str, change: str) -> None:
    found = asyncio.run(differences(database_url, AS_OWNER, change))
    named = CHANGES[change]
    assert [line for line in found if not line.startswith(tuple(named))] == []
    assert [start for start in named if not any(line.startswith(start) for line in found)] == []


@pytest.mark.parametrize(
    "kind, name", [("function", "jobengine.claim(jsonb)"), ("table", "jobengine.job")]
)
def test_verify_names_another_owner(database_url: str, app_role: str, kind: str, name: str) -> None:
    allow = f'grant create on schema jobengine to "{app_role}"'
    move = f'alter {kind} {name} owner to "{app_role}"'
    found = asyncio.run(differences(database_url, AS_OWNER, allow, "reset role", move))
    bare = name.removeprefix("jobengine.").partition("(")[0]
    assert any(line.startswith("+ other owner of ") and line.endswith(bare) for line in found)


def test_verify_leaves_a_hosts_own_grants_and_policies_alone(
    database_url: str, app_role: str
) -> None:
    grant = f'grant select on jobengine.jobs to "{app_role}"'
    policy = f'create policy host on jobengine.job for select to "{app_role}" using (true)'
    assert asyncio.run(differences(database_url, AS_OWNER, grant, policy)) == []
