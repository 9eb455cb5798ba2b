"""`python -m api verify`: the database is compared with what this version makes, name by name."""

from __future__ import annotations

import asyncio

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo

from api import schema
from api.__main__ import main
from jobengine import schema as engine
from tests.conftest import fresh_database


def differences(url: str, after: str = "") -> list[str]:
    """Name the differences after this was done, which is taken back."""

    async def ask() -> list[str]:
        async with await AsyncConnection.connect(url) as conn:
            await conn.execute(after.encode())
            found = await schema.verify(conn)
            await conn.rollback()
            return found

    return asyncio.run(ask())


@pytest.fixture(params=["platform_url", "supabase_url"])
def either_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue(request.param)
    return url


def test_what_was_installed_is_as_shipped(either_url: str) -> None:
    """Else: `python tools/catalog.py`; the same file has to be right for every server."""
    assert differences(either_url) == []


# What is done to the database, and the beginnings of the lines that name it.
PLANTS = {
    "a table": (
        "drop table public.ea_artifacts",
        [
            *("- column ea_artifacts.", "- constraint ea_artifacts ", "- grant ea_artifacts "),
            *("- index ea_artifacts ", "- policy ea_artifacts ", "- table ea_artifacts "),
            "- trigger ea_artifacts ",
        ],
    ),
    "a column": (
        "alter table public.mt5_agents drop column capabilities",
        [
            "- column mt5_agents.capabilities text[]",
            "- grant mt5_agents.capabilities select to authenticated",
        ],
    ),
    "another type": (
        "alter table public.ea_projects alter description type varchar(9)",
        ["- column ea_projects.description text"],
    ),
    "an index": ("drop index public.trade_events_orders_idx", ["- index trade_events CREATE"]),
    "a constraint": (
        "alter table public.user_settings drop constraint user_settings_trading_state_check",
        ["- constraint user_settings CHECK"],
    ),
    "a function": (
        "alter function public._now() stable security definer",
        ["+ function _now() returns", "- function _now() returns"],
    ),
    "an overload": (
        "create function public.job_cancel(text) returns text language sql as 'select 1::text'",
        ["+ function job_cancel(text)", "+ grant job_cancel() execute to public"],
    ),
    "a view": (
        "alter view public.settings set (security_invoker = false)",
        ["- view settings with security_invoker=true"],
    ),
    "a right": ("grant select on public.order_end to anon", ["+ grant order_end select to anon"]),
    "a right to a secret": (
        "grant select (pairing_key_hash) on public.mt5_agents to authenticated",
        ["+ grant mt5_agents.pairing_key_hash select to authenticated"],
    ),
    "a right to the engine": (
        "grant delete on jobengine.ended to service_role",
        ["+ grant jobengine.ended delete to service_role"],
    ),
    "a right less": (
        "revoke execute on function public.order_list from authenticated",
        ["- grant order_list() execute to authenticated"],
    ),
    "a policy": (
        "create policy all_of_it on public.tv_signals using (true)",
        ["+ policy tv_signals all_of_it all to public using true"],
    ),
    "no row level security": (
        "alter table public.audit_log disable row level security",
        ["- table audit_log row level security"],
    ),
    "a trigger": (
        "create trigger more after insert on public.tv_signals execute function public._touch()",
        ["+ trigger tv_signals CREATE TRIGGER more"],
    ),
    "a trigger that is off": (
        "alter table public.trade_events disable trigger append_only",
        ["+ trigger trade_events CREATE TRIGGER append_only", "- trigger trade_events"],
    ),
}


@pytest.mark.parametrize("plant", PLANTS)
def test_a_difference_is_named(platform_url: str, plant: str) -> None:
    statement, expected = PLANTS[plant]
    found = differences(platform_url, statement)
    assert {line for line in found if not line.startswith(tuple(expected))} == set()
    assert [name for name in expected if not any(line.startswith(name) for line in found)] == []


# What somebody else may have in the same database, and tables of before us may have had.
BESIDES = [
    "create table public.notes (id integer primary key, at timestamptz)",
    "create function public.own() returns integer language sql as 'select 1'",
    "create view public.mine as select id from public.profiles",
    "alter table public.mt5_agents add column nickname text",
    "create index on public.trade_events (retcode)",
    "alter table public.profiles add check (length(display_name) < 200)",
    "alter table public.broker_connections alter name drop not null, alter name drop default",
    "grant select on public.trade_events to pg_monitor",
]


@pytest.mark.parametrize("statement", BESIDES)
def test_what_is_there_besides_is_no_difference(platform_url: str, statement: str) -> None:
    assert differences(platform_url, statement) == []


def test_migrations_are_compared(platform_url: str) -> None:
    gone = "delete from platform._migration where name = '0006_reads.sql'"
    [line] = differences(platform_url, gone)
    assert line.startswith("- migration 0006_reads.sql ")
    edited = "update platform._migration set checksum = 'x' where name = '0006_reads.sql'"
    missing, unexpected = differences(platform_url, edited)
    assert missing == line
    assert unexpected == "+ migration 0006_reads.sql x"


def test_nothing_and_the_engine_alone_are_named(admin_url: str, roles: None) -> None:
    with fresh_database(admin_url, installed=False) as url:
        assert differences(url) == ["- schema jobengine"]
        asyncio.run(engine_alone(url))
        found = differences(url)
        assert {"- table order_end row level security", "- column orders.status text"} < set(found)
        assert not [line for line in found if line.startswith("+")]


async def engine_alone(url: str) -> None:
    async with await AsyncConnection.connect(url, autocommit=True) as conn:
        await engine.install(conn)


def test_the_command_tells_and_has_a_code(
    admin_url: str, roles: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with fresh_database(admin_url, installed=False) as url:
        monkeypatch.setenv("DATABASE_URL", url)
        assert main(["migrate"]) == 0
        assert main(["verify"]) == 0
        assert capsys.readouterr().out == "the database is as this version makes it\n"
        with psycopg.connect(url) as conn:
            conn.execute("grant select on public.order_end to anon")
        assert main(["verify"]) == 1
        assert capsys.readouterr().out == "+ grant order_end select to anon\n"
        assert main(["migrate"]) == 0
        assert main(["verify"]) == 0
    monkeypatch.delenv("DATABASE_URL")
    assert main(["verify"]) == 2
    assert "DATABASE_URL is not set" in capsys.readouterr().err


def test_a_database_that_is_not_there_is_a_failure(
    platform_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", make_conninfo(platform_url, dbname="nowhere"))
    assert main(["verify"]) == 1
    assert "nowhere" in capsys.readouterr().err
