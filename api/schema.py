"""Installs the platform's SQL (`sql/platform`, schema `public`) after the engine's.

Migrations are applied once, by checksum; views, functions, rights, job types and triggers on every
install. `docs/platform-database.md` says what comes of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import scalar_row

from jobengine import schema
from jobengine._migrations import SqlFolder
from jobengine.errors import from_driver

FOLDER = Path(__file__).parent.parent / "sql" / "platform"
# Internal functions before the views that use them, the views before the functions that return
# their rows; rights before the job types, whose settle functions are checked for them.
_AGAIN = (
    "functions/_*.sql",
    "views/*.sql",
    "functions/[!_]*.sql",
    "grants.sql",
    "job_types.sql",
    "legacy.sql",
    "triggers.sql",
)


# Of these one too many is a difference: it changes who may do what, or what happens by itself.
_NO_MORE = ("function", "grant", "policy", "trigger")


async def install(conn: AsyncConnection[Any]) -> tuple[str, ...]:
    """Bring engine and platform to this version, in one transaction; return the new migrations.

    Safe to repeat and to run from several processes at once. Runs unchanged on Supabase, whose
    schema `auth` and roles are used, and on a plain PostgreSQL, where they are made. Needs a role
    that may create roles; what it makes belongs to that role. Raises what
    `jobengine.schema.install` raises, also for the platform's own migrations.
    """

    async def both() -> tuple[str, ...]:
        engine = await schema.install(conn)
        return engine.applied + await apply(conn)

    return await schema.in_one_transaction(conn, both)


async def apply(conn: AsyncConnection[Any]) -> tuple[str, ...]:
    """Apply the platform's files; the engine is there, and the caller's transaction is open."""
    await conn.execute("set local check_function_bodies = off")
    await conn.execute("set local client_min_messages = warning")
    files = SqlFolder(FOLDER, "platform")
    await files.run(conn, "roles.sql")
    await files.run(conn, "bootstrap.sql")
    applied = await files.migrate(conn)
    for pattern in _AGAIN:
        await files.run(conn, pattern)
    return applied


async def verify(conn: AsyncConnection[Any]) -> list[str]:
    """Name every difference between this database and this version: `- missing`, `+ unexpected`.

    Engine and platform; reads the catalog only. Empty: all is as `install` makes it. What the
    database has besides is no difference: other tables and functions, and what tables of before us
    have had; but a function, right, policy or trigger too many of one of ours is.
    """
    try:
        engine = await schema.verify(conn)
        if "- schema jobengine" in engine:
            return engine
        return engine + await _migrations(conn) + _differences(_expected(), await catalog(conn))
    except psycopg.Error as error:
        raise from_driver(error) from error


async def catalog(conn: AsyncConnection[Any]) -> list[str]:
    """Describe what is in the schemas that the platform touches, as `catalog.txt` does."""
    async with conn.transaction():
        # PostgreSQL leaves out a schema that is on the search path when it prints a name.
        await conn.execute("set local search_path = pg_catalog")
        cursor = conn.cursor(row_factory=scalar_row)
        await cursor.execute((FOLDER / "catalog.sql").read_bytes())
        return await cursor.fetchall()


def _expected() -> list[str]:
    return (FOLDER / "catalog.txt").read_text().splitlines()


async def _migrations(conn: AsyncConnection[Any]) -> list[str]:
    files = SqlFolder(FOLDER, "platform")
    try:
        async with conn.transaction():
            recorded = await files.recorded(conn)
    except psycopg.errors.InsufficientPrivilege:
        return []  # another role than the owner; the catalog tells the rest
    except psycopg.errors.UndefinedTable:
        recorded = {}
    shipped, applied = files.checksums().items(), recorded.items()
    return [f"- migration {name} {checksum}" for name, checksum in sorted(shipped - applied)] + [
        f"+ migration {name} {checksum}" for name, checksum in sorted(applied - shipped)
    ]


def _differences(expected: Iterable[str], found: Iterable[str]) -> list[str]:
    wanted, there = set(expected), set(found)
    ours = {_named(line) for line in wanted}
    unexpected = {
        line for line in there - wanted if line.startswith(_NO_MORE) and _named(line) in ours
    }
    return [f"- {line}" for line in sorted(wanted - there)] + [
        f"+ {line}" for line in sorted(unexpected)
    ]


def _named(line: str) -> str:
    """Return what a line is of: the table, or the function without its arguments."""
    return re.split(r"[ (]", line.split(" ", 1)[1], maxsplit=1)[0]
