"""Install, verify and look at a database, from tests that are not async."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import scalar_row

from jobengine import schema
from jobengine.schema import Installed

T = TypeVar("T")

FIRST, SECOND = MIGRATIONS = ("0001_engine.sql", "0002_settled_holder.sql")


def run(url: str, action: Callable[[AsyncConnection[Any]], Awaitable[T]]) -> T:
    """Do something with an autocommit connection, as a program would."""

    async def connected() -> T:
        async with await AsyncConnection.connect(url, autocommit=True) as conn:
            return await action(conn)

    return asyncio.run(connected())


def install(url: str, *, roles: bool = True) -> Installed:
    return run(url, lambda conn: schema.install(conn, roles=roles))


def verify(url: str) -> list[str]:
    return run(url, schema.verify)


def catalog(url: str) -> list[str]:
    return run(url, schema.catalog)


def write_catalog(url: str) -> None:
    """Install into an empty database whatever the files say and note it in their catalog.txt."""

    async def apply(conn: AsyncConnection[Any]) -> None:
        async with conn.transaction():
            await schema.apply(conn)
        lines = await schema.catalog(conn)
        (schema.sql_folder() / "catalog.txt").write_text("\n".join(lines) + "\n")

    run(url, apply)


def rows(url: str) -> list[str]:
    """Every row of every table in schema jobengine with the transaction that wrote it."""
    with psycopg.connect(url, row_factory=scalar_row) as conn:
        tables = conn.execute(
            "select oid::regclass::text from pg_class"
            " where relnamespace = 'jobengine'::regnamespace and relkind = 'r' order by 1"
        ).fetchall()
        conn.execute("set role jobengine_owner")
        return [
            f"{table} {row}"
            for table in tables
            for row in conn.execute(f"select xmin || to_jsonb(t)::text from {table} t").fetchall()
        ]


def left_behind(url: str) -> list[str]:
    """Whatever an install may have left: the schema, or roles that did not exist before."""
    with psycopg.connect(url, row_factory=scalar_row) as conn:
        return conn.execute(
            "select 'schema ' || nspname from pg_namespace where nspname = 'jobengine'"
            " union all select 'role ' || rolname from pg_roles where rolname ~ '^jobengine_(owner|"
            "client|worker|operator)$'"
        ).fetchall()
