"""Installs the platform's SQL (`sql/platform`, schema `public`) after the engine's.

Migrations are applied once, by checksum; views, functions, rights, job types and triggers on every
install. `docs/platform-database.md` says what comes of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from psycopg import AsyncConnection

from jobengine import schema
from jobengine._migrations import SqlFolder

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
