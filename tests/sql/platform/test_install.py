"""Installing: twice, on Supabase's schema, over tables of before us."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg.rows import dict_row

from api import schema
from jobengine.embedded import EmbeddedPostgres
from jobengine.errors import EngineError, SchemaMismatch
from tests.conftest import fresh_database
from tests.migration.databases import verify
from tests.sql.platform.helpers import (
    Db,
    call,
    claim,
    install,
    make_supabase,
    new_trader,
    refused,
    row,
    work,
)

BOTH = (
    *("0001_engine.sql", "0002_settled_holder.sql"),
    *("0001_base.sql", "0002_tech_plan_additions.sql", "0003_trading.sql"),
    *("0004_webhooks.sql", "0005_starts_together.sql", "0006_reads.sql"),
    "0007_broker_errors.sql",
)

# The base schema as T03 meets it, before its additions.
BASE = """
create schema auth;
create table auth.users (id uuid primary key, email text);
create function auth.uid() returns uuid language sql stable as $$ select null::uuid $$;
create table public.broker_connections (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null references auth.users on delete cascade, name text not null);
create table public.mt5_agents (
    id uuid primary key default gen_random_uuid(), user_id uuid not null references auth.users,
    is_connected boolean not null default false, last_heartbeat timestamptz, metrics jsonb);
create table public.ea_projects (
    id uuid primary key default gen_random_uuid(), user_id uuid not null references auth.users);
create table public.jobs (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null references auth.users on delete cascade,
    job_type text not null constraint jobs_job_type_check check (job_type <> 'withdraw'),
    status text not null default 'pending', input_data jsonb, output_data jsonb,
    error_message text, agent_id uuid references public.mt5_agents, claimed_at timestamptz,
    created_at timestamptz not null default now());
insert into auth.users values ('00000000-0000-4000-8000-00000000000a', 'anna@example.org');
insert into public.mt5_agents (id, user_id) values
    ('00000000-0000-4000-8000-0000000000aa', '00000000-0000-4000-8000-00000000000a');
insert into public.jobs (job_type, status, agent_id, input_data, created_at, user_id)
select t.job_type, t.status, t.agent_id::uuid, t.input, now() - t.age * interval '1 second',
       '00000000-0000-4000-8000-00000000000a'
from (values
    ('get_account', 'pending',   null, '{"n": 2}'::jsonb, 20),
    ('trade',       'pending',   '00000000-0000-4000-8000-0000000000aa', '{"n": 1}', 30),
    ('compile',     'running',   '00000000-0000-4000-8000-0000000000aa', null, 10),
    ('trade',       'claimed',   '00000000-0000-4000-8000-0000000000aa', '{"n": 4}', 9),
    ('trade',       'completed', '00000000-0000-4000-8000-0000000000aa', '{"n": 5}', 8),
    ('get_account', 'failed',    null, '{"n": 6}', 7)
) t (job_type, status, agent_id, input, age);
"""
ANNA = UUID("00000000-0000-4000-8000-00000000000a")
AGENT = UUID("00000000-0000-4000-8000-0000000000aa")


@pytest.fixture
def url(admin_url: str, roles: None) -> Iterator[str]:
    with fresh_database(admin_url, installed=False) as url:
        yield url


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the platform's SQL, which the service takes for its own until the test's end."""
    folder = tmp_path / "platform"
    shutil.copytree(schema.FOLDER, folder)
    monkeypatch.setattr(schema, "FOLDER", folder)
    return folder


def unlike(url: str) -> list[str]:
    """Name what differs from what an install of both makes."""

    async def differences() -> list[str]:
        async with await AsyncConnection.connect(url, autocommit=True) as conn:
            return await schema.verify(conn)

    return asyncio.run(differences())


def run(url: str, statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(statements.encode())


def connected(url: str) -> Db:
    return psycopg.connect(url, autocommit=True, row_factory=dict_row)


def everything(url: str) -> list[Any]:
    """Columns, constraints, indexes, triggers, policies, rights and functions of `public`."""
    with psycopg.connect(url) as conn:
        return conn.execute(
            "select 'column', table_name || '.' || column_name, data_type || is_nullable"
            " || coalesce(column_default, '') from information_schema.columns"
            " where table_schema = 'public' union all"
            " select 'constraint', conrelid::regclass::text, pg_get_constraintdef(oid)"
            " from pg_constraint where connamespace = 'public'::regnamespace union all"
            " select 'index', indexname, indexdef from pg_indexes where schemaname = 'public'"
            " union all select 'trigger', tgrelid::regclass || tgname, pg_get_triggerdef(oid)"
            " from pg_trigger where not tgisinternal union all"
            " select 'policy', tablename || policyname, coalesce(qual, '') || roles::text || cmd"
            " from pg_policies union all"
            " select 'rights', relname, relacl::text from pg_class"
            " where relnamespace in ('public'::regnamespace, 'jobengine'::regnamespace) union all"
            " select 'function', oid::regprocedure::text, prosrc || coalesce(proacl::text, '')"
            " from pg_proc where pronamespace = 'public'::regnamespace order by 1, 2, 3"
        ).fetchall()


def test_an_install_is_repeated_without_a_change(url: str) -> None:
    assert asyncio.run(install(url)) == BOTH
    before = everything(url)
    assert asyncio.run(install(url)) == ()
    assert everything(url) == before
    assert verify(url) == []
    assert unlike(url) == []


def test_the_additions_may_run_again(url: str) -> None:
    asyncio.run(install(url))
    with connected(url) as db:
        user = new_trader(db)
        signal = row(
            db, "insert into public.tv_signals (user_id) values (%s) returning id", user.id
        )["id"]
        created = call(
            db,
            "job_create",
            user=user.id,
            job_type="trade",
            agent_id=user.agent,
            parent_type="tv_signal",
            parent_id=signal,
        )
        before = everything(url)
        run(url, (schema.FOLDER / "migrations" / BOTH[3]).read_text())
        assert everything(url) == before
        kept = row(db, "select job_id from public.tv_signals where id = %s", signal)
        assert kept["job_id"] == created[0]["job_id"]
        assert claim(db, user.agent) is not None


def test_supabases_users_and_functions_stay_as_they_are(admin_url: str, url: str) -> None:
    make_supabase(admin_url, url)
    user = uuid4()
    run(url, f"insert into auth.users (id, email) values ('{user}', 'early@example.org')")
    described = (
        "select p.proname, p.prosrc, p.proowner::regrole::text from pg_proc p"
        " where p.pronamespace = 'auth'::regnamespace order by 1"
    )
    with connected(url) as db:
        before = db.execute(described).fetchall()
        assert asyncio.run(install(url)) == BOTH
        assert db.execute(described).fetchall() == before
        assert call(db, "settings_get", user=user)[0]["email"] == "early@example.org"
        for function in ("user_add", "user_find"):
            assert refused(db, function, email="x@example.org") == (
                *("FX409", "users_elsewhere", None),
            )
        trader = new_trader(db)
        call(db, "job_create", user=trader.id, job_type="trade", input={"symbol": "EURUSD"})
        work(db, trader.agent, "completed", {"fill_price": 1.5})
        db.execute("delete from auth.users where id = %s", (trader.id,))
    assert verify(url) == []
    assert unlike(url) == []


def test_a_database_of_before_us_is_taken_over(url: str) -> None:
    run(url, BASE)
    assert asyncio.run(install(url)) == BOTH
    with connected(url) as db:
        taken = db.execute(
            "select job_type, status, input_data, agent_id from public.jobs order by id"
        ).fetchall()
        assert [tuple(job.values()) for job in taken] == [
            ("trade", "pending", {"n": 1}, AGENT),
            ("get_account", "pending", {"n": 2}, None),
            ("compile", "pending", {}, AGENT),
        ]
        left = db.execute(
            "select job_type, status, enqueued_job_id is null as left_behind"
            " from public.jobs_legacy order by created_at"
        ).fetchall()
        assert [tuple(old.values()) for old in left] == [
            ("trade", "pending", False),
            ("get_account", "pending", False),
            ("compile", "running", False),
            ("trade", "claimed", True),
            ("trade", "completed", True),
            ("get_account", "failed", True),
        ]
        order = claim(db, AGENT)
        assert order is not None
        assert (order["user_id"], order["input_data"]) == (ANNA, {"n": 1})
        assert asyncio.run(install(url)) == ()
        assert row(db, "select count(*) from public.jobs")["count"] == 3
        assert row(db, "select email from public.profiles")["email"] == "anna@example.org"
        for role in ("anon", "authenticated"):
            able = row(db, "select has_table_privilege(%s, 'public.jobs_legacy', 'select')", role)
            assert able == {"has_table_privilege": False}
    assert verify(url) == []
    assert unlike(url) == []


def test_an_order_of_last_month_is_not_sent_now(url: str) -> None:
    run(url, BASE)
    run(
        url,
        "update public.jobs set created_at = now() - interval '30 days' where status = 'pending'",
    )
    asyncio.run(install(url))
    with connected(url) as db:
        claimed = claim(db, AGENT)
        assert claimed is not None
        assert claimed["job_type"] != "trade"
        order = row(db, "select status from public.jobs where job_type = 'trade'")
        assert order == {"status": "expired"}


def test_a_signal_of_before_us_lets_go_of_the_old_job(url: str) -> None:
    run(url, BASE)
    run(
        url,
        "create table public.tv_signals (id uuid primary key default gen_random_uuid(),"
        f" user_id uuid not null default '{ANNA}', job_id uuid references public.jobs,"
        " volume numeric(10, 2), fill_price numeric(18, 5), strategy_id uuid, status text,"
        " created_at timestamptz not null default now());"
        "insert into public.tv_signals (job_id, volume, status)"
        " select id, 0.5, 'pending' from public.jobs limit 1",
    )
    asyncio.run(install(url))
    with connected(url) as db:
        found = row(db, "select job_id, volume::text from public.tv_signals")
    assert tuple(found.values()) == (None, "0.50000000")


def test_an_older_install_gets_what_trading_needs(url: str, files: Path) -> None:
    """Nothing has written these rows: the functions that could are dropped, or never were."""
    new = files / "migrations" / BOTH[4]
    text = new.read_text()
    new.unlink()
    asyncio.run(install(url))
    with connected(url) as db:
        user = new_trader(db)
        db.execute(
            "insert into public.idempotency_key (user_id, key, request_hash, created_at, begun_at)"
            " values (%s, 'k', 'h', now(), now())",
            (user.id,),
        )
        db.execute("insert into public.daily_pnl (user_id, day) values (%s, now())", (user.id,))
        db.execute(
            "create function public.idempotency_begin(uuid, text, bytea) returns integer"
            " language sql as 'select 1'"
        )
    new.write_text(text)
    assert asyncio.run(install(url)) == (BOTH[4],)
    with connected(url) as db:
        call(db, "agent_heartbeat", agent_id=user.agent)
        made = call(
            db, "order_create", user=user.id, symbol="EURUSD", side="buy", volume=Decimal(1)
        )
        assert made[0]["agent_id"] == user.agent
        assert row(db, "select to_regproc('public.idempotency_begin') as gone")["gone"] is None


def test_an_older_installs_orders_are_found_by_how_they_ended(url: str) -> None:
    asyncio.run(install(url))
    with connected(url) as db:
        user = new_trader(db)
        for output in ({"fill_price": 1}, {"fill_price": 1, "retcode": 10010}):
            call(db, "job_create", user=user.id, job_type="trade", input={"symbol": "EURUSD"})
            work(db, user.agent, "completed", output)
        call(db, "job_create", user=user.id, job_type="close_position", input={"ticket": "1"})
        work(db, user.agent, "completed", {})
        for outcome in ("rejected", "unknown", "cancelled"):
            call(db, "job_create", user=user.id, job_type="trade", input={"symbol": "EURUSD"})
            work(db, user.agent, outcome)
        call(db, "job_create", user=user.id, job_type="get_account")
        work(db, user.agent, "rejected")
        kept = "select user_id, status, job_id from public.order_end order by job_id"
        before = db.execute(kept).fetchall()
        assert [end["status"] for end in before] == [
            *("filled", "partially_filled", "closed", "rejected", "unknown", "cancelled"),
        ]
        db.execute(
            "drop table public.order_end;"
            "drop index public.mt5_agents_pairing_key_digest_idx;"
            "drop index public.mt5_agents_previous_key_digest_idx;"
            "delete from platform._migration where name = '0006_reads.sql'"
        )
        assert asyncio.run(install(url)) == ("0006_reads.sql",)
        assert db.execute(kept).fetchall() == before
    assert unlike(url) == []


def test_a_migration_that_fails_leaves_nothing(url: str, files: Path) -> None:
    (files / "migrations" / "0009_broken.sql").write_text("select 1 / 0")
    with pytest.raises(EngineError, match="division by zero"):
        asyncio.run(install(url))
    with psycopg.connect(url) as conn:
        left = conn.execute(
            "select nspname from pg_namespace where nspname in ('jobengine', 'platform', 'auth')"
        ).fetchall()
    assert left == []


def test_an_edited_migration_is_refused(url: str, files: Path) -> None:
    asyncio.run(install(url))
    before = everything(url)
    with (files / "migrations" / BOTH[2]).open("a") as migration:
        migration.write("-- one more line\n")
    with pytest.raises(SchemaMismatch, match=r"edited after it was applied: 0001_base\.sql"):
        asyncio.run(install(url))
    assert everything(url) == before


def test_a_newer_database_is_refused(
    url: str, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (files / "migrations" / "0009_more.sql").write_text("select 1")
    asyncio.run(install(url))
    monkeypatch.undo()
    with pytest.raises(SchemaMismatch, match=r"newer than this library: it has 0009_more\.sql"):
        asyncio.run(install(url))


def test_who_makes_the_roles_may_take_them_and_inherits_nothing(tmp_path: Path) -> None:
    """On a server of its own: roles belong to the whole server."""
    with EmbeddedPostgres(tmp_path / "postgres", durable=False) as server:
        asyncio.run(install(server.url))
        asyncio.run(install(server.url))
        with connected(server.url) as db:
            user = new_trader(db)
            assert call(db, "agent_list", user=user.id)[0]["agent_id"] == user.agent
            assert call(db, "agent_queues", agent_ids=[user.agent])
            inherits = row(db, "select pg_has_role('service_role', 'usage') as inherits")
        assert inherits == {"inherits": server_inherits(server)}


def server_inherits(server: EmbeddedPostgres) -> bool:
    """Before PostgreSQL 16 a membership cannot say that it gives no rights by itself."""
    with psycopg.connect(server.url) as conn:
        return conn.info.server_version < 160000


def test_processes_may_install_at_once(url: str) -> None:
    async def at_once() -> list[tuple[str, ...]]:
        return await asyncio.gather(*(install(url) for _ in range(3)))

    assert sorted(asyncio.run(at_once())) == [(), (), BOTH]
