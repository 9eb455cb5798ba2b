"""The platform's database as tests use it: users, roles, calls in a request's transaction."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import AsyncConnection, sql
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from api import schema

Db: TypeAlias = psycopg.Connection[DictRow]

ROLES = ("anon", "authenticated", "service_role")
HASH = "$2b$12$hash"
PREFIX = "abcdefgh"
PATIENCE = 60.0
DIGEST = bytes(range(32))


# Supabase's schema `auth` as far as we meet it, and the rights that it gives by default.
SUPABASE = """
create schema auth;
create table auth.users (
    instance_id uuid, id uuid primary key, aud varchar(255), role varchar(255), email varchar(255),
    raw_user_meta_data jsonb, created_at timestamptz, is_sso_user boolean not null default false);
create unique index users_email_partial_key on auth.users (email) where is_sso_user = false;
create function auth.uid() returns uuid language sql stable as $$
    select coalesce(nullif(current_setting('request.jwt.claim.sub', true), ''),
        (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'))::uuid $$;
create function auth.role() returns text language sql stable as $$
    select coalesce(nullif(current_setting('request.jwt.claim.role', true), ''),
        (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role'))::text $$;
create function auth.jwt() returns jsonb language sql stable as $$
    select coalesce(nullif(current_setting('request.jwt.claim', true), ''),
        nullif(current_setting('request.jwt.claims', true), ''))::jsonb $$;
grant usage on schema auth to anon, authenticated, service_role;
"""
SUPABASE_RIGHTS = """
grant usage on schema auth to {app};
grant all on auth.users to {app};
alter default privileges for role {app} in schema public
    grant all on tables to anon, authenticated, service_role;
alter default privileges for role {app} in schema public
    grant all on sequences to anon, authenticated, service_role;
alter default privileges for role {app} in schema public
    grant all on functions to anon, authenticated, service_role;
"""


def make_supabase(admin_url: str, url: str) -> None:
    """Make a database look like Supabase's, whose `auth` belongs to another role than the app's."""
    database, app = (
        psycopg.conninfo.conninfo_to_dict(url)["dbname"],
        sql.Identifier(str(psycopg.conninfo.conninfo_to_dict(url)["user"])),
    )
    with psycopg.connect(admin_url, dbname=database, autocommit=True) as admin:
        admin.execute(SUPABASE.encode())
        admin.execute(sql.SQL(SUPABASE_RIGHTS).format(app=app))


async def install(url: str) -> tuple[str, ...]:
    async with await AsyncConnection.connect(url, autocommit=True) as conn:
        return await schema.install(conn)


def make_roles(admin_url: str, app_role: str) -> None:
    """Make Supabase's roles for the app's role, so that no test's role owns those of the server."""
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute("select pg_advisory_lock(hashtextextended('tests/sql/platform', 0))")
        for role in ROLES:
            known = admin.execute("select 1 from pg_roles where rolname = %s", (role,)).fetchone()
            if not known:
                admin.execute(sql.SQL("create role {} nologin").format(sql.Identifier(role)))
            admin.execute(
                sql.SQL("grant {} to {} with admin option").format(
                    sql.Identifier(role), sql.Identifier(app_role)
                )
            )


@contextmanager
def acting(db: Db, role: str, user: UUID | None = None) -> Iterator[Db]:
    """A transaction of a request: its role, and the claims of its user."""
    with db.transaction():
        db.execute(sql.SQL("set local role {}").format(sql.Identifier(role)))
        claims = json.dumps({"sub": str(user), "role": role}) if user else ""
        db.execute("select set_config('request.jwt.claims', %s, true)", (claims,))
        yield db


def call(db: Db, function: str, /, *, user: UUID | None = None, **arguments: Any) -> list[DictRow]:
    """Call a function as a user, or as the service; parameters are named without `p_`."""
    named = sql.SQL(", ").join(
        sql.SQL("{} => {}").format(sql.Identifier(f"p_{name}"), sql.Placeholder(name))
        for name in arguments
    )
    query = sql.SQL("select * from public.{}({})").format(sql.Identifier(function), named)
    values = {k: Jsonb(v) if isinstance(v, dict) else v for k, v in arguments.items()}
    with acting(db, "authenticated" if user else "service_role", user):
        return db.execute(query, values).fetchall()


def one(db: Db, function: str, /, *, user: UUID | None = None, **arguments: Any) -> DictRow:
    """Call a function that answers with one row."""
    [row] = call(db, function, user=user, **arguments)
    return row


def value(db: Db, function: str, /, *, user: UUID | None = None, **arguments: Any) -> Any:
    """Call a function that answers with one value."""
    return one(db, function, user=user, **arguments)[function]


def refused(
    db: Db, function: str, /, *, user: UUID | None = None, **arguments: Any
) -> tuple[str, str, str | None]:
    """Return the SQLSTATE, the code and the field of the refusal."""
    with pytest.raises(psycopg.Error) as refusal:
        call(db, function, user=user, **arguments)
    detail = json.loads(refusal.value.diag.message_detail or "{}")
    return refusal.value.sqlstate or "", detail.get("code"), detail.get("field")


@dataclass(frozen=True, slots=True)
class User:
    """A user who may trade, with a broker account and an agent of it."""

    id: UUID
    account: UUID
    agent: UUID


def new_user(db: Db, *, onboarded: bool = True) -> UUID:
    user = uuid4()
    db.execute("insert into auth.users (id, email) values (%s, %s)", (user, f"{user}@example.org"))
    if onboarded:
        call(db, "onboarding_complete", user=user)
    return user


def new_agent(db: Db, user: UUID, account: UUID | None = None) -> UUID:
    agent: UUID = one(
        db,
        "agent_pair",
        user=user,
        name="vps",
        broker_connection_id=account,
        key_hash=HASH,
        key_prefix=PREFIX,
        key_digest=DIGEST,
    )["agent_id"]
    return agent


def new_trader(db: Db) -> User:
    user = new_user(db)
    account = one(db, "broker_connection_create", user=user, name="demo")["id"]
    return User(user, account, new_agent(db, user, account))


def new_job(db: Db, user: UUID, job_type: str, **arguments: Any) -> UUID:
    """Put a job in as the service does."""
    created = one(db, "job_create", job_type=job_type, user_id=user, **arguments)
    assert created["verdict"] == "ok"
    job_id: UUID = created["job_id"]
    return job_id


def claim(db: Db, agent: UUID) -> DictRow | None:
    rows = call(db, "claim_next_job", agent_id=agent)
    return rows[0] if rows else None


def finish(db: Db, job: DictRow, outcome: str, output: Any = None, error: str | None = None) -> str:
    """Report an outcome for a claimed job and return the verdict."""
    row = db.execute(
        "select verdict from jobengine.finish(array[%s::uuid], array[%s::integer], array[%s],"
        " array[%s::jsonb], array[%s::text], array[%s::text])",
        (
            *(job["id"], job["lease_epoch"], outcome),
            *(None if output is None else Jsonb(output), None if error is None else "refused"),
            error,
        ),
    ).fetchone()
    assert row is not None
    verdict: str = row["verdict"]
    return verdict


def work(db: Db, agent: UUID, outcome: str, output: Any = None, error: str | None = None) -> UUID:
    """Claim the agent's next job and report this; return the job's id."""
    job = claim(db, agent)
    assert job is not None
    assert finish(db, job, outcome, output, error) == "ok"
    job_id: UUID = job["id"]
    return job_id


def row(db: Db, query: str, *values: Any) -> DictRow:
    """Read the one row of a query, with all rights."""
    [found] = db.execute(query.encode(), values).fetchall()
    return found


def wait_until_blocked(db: Db, backend_pid: int) -> None:
    """Return when that session waits for a lock."""
    blocked = "select cardinality(pg_blocking_pids(%s)) > 0 as blocked"
    deadline = time.monotonic() + PATIENCE
    while not row(db, blocked, backend_pid)["blocked"]:
        assert time.monotonic() < deadline, "it does not wait"


def new_version(db: Db, user: UUID) -> UUID:
    project = row(
        db, "insert into public.ea_projects (user_id, name) values (%s, 'p') returning id", user
    )
    version: UUID = row(
        db,
        "insert into public.ea_versions (project_id, user_id) values (%s, %s) returning id",
        project["id"],
        user,
    )["id"]
    return version


def new_deployment(db: Db, user: UUID) -> UUID:
    deployment: UUID = row(
        db,
        "insert into public.ea_deployments (user_id, version_id) values (%s, %s) returning id",
        user,
        new_version(db, user),
    )["id"]
    return deployment


def new_signal(db: Db, user: UUID) -> UUID:
    strategy = row(
        db,
        "insert into public.tv_strategies (user_id, name, webhook_secret) values (%s, 's', %s)"
        " returning id",
        *(user, str(uuid4())),
    )["id"]
    signal: UUID = row(
        db,
        "insert into public.tv_signals (user_id, strategy_id, symbol) values (%s, %s, 'EURUSD')"
        " returning id",
        *(user, strategy),
    )["id"]
    return signal
