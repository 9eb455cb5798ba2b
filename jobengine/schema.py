"""Installs the engine's SQL into a database and tells whether it is still what was installed.

Structure lives in `sql/engine/migrations` (each applied once, by checksum); functions, the view and
the grants are applied on every install. Everything happens in one transaction.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import scalar_row

from jobengine._migrations import SqlFolder
from jobengine.errors import EngineError, NotInstalled, SchemaMismatch, from_driver

MINIMUM_SERVER = 150000
# Installers in several databases meet at the cluster's roles, where no lock of one database helps:
# the loser of such a race starts again.
_RACES = ("XX000", "23505", "40001", "40P01")
_TRIES = 10

T = TypeVar("T")


def sql_folder() -> Path:
    """Return the folder of the engine's SQL: inside the package, or beside it in a checkout."""
    packaged = Path(__file__).parent / "_sql"
    checkout = Path(__file__).parent.parent / "sql" / "engine"
    return packaged if packaged.is_dir() else checkout


@dataclass(frozen=True, slots=True)
class Installed:
    """What an install did: the migrations it applied (none: there was nothing new)."""

    applied: tuple[str, ...]
    roles: bool


async def install(conn: AsyncConnection[Any], *, roles: bool = True) -> Installed:
    """Bring this database to the engine of this library, or leave it as it was.

    Safe to repeat and to run from several processes at once. Refuses (`SchemaMismatch`) a database
    that a newer library has installed, a migration that was edited, and foreign objects in the
    schema. `roles=False` makes the installing role the owner and the only user.
    """
    return await in_one_transaction(conn, lambda: _install(conn, roles=roles))


async def in_one_transaction(conn: AsyncConnection[Any], install: Callable[[], Awaitable[T]]) -> T:
    """Run an installation wholly or not at all; start again where installers of roles collide."""
    for tries_left in reversed(range(_TRIES)):
        try:
            async with conn.transaction():
                return await install()
        except psycopg.Error as error:
            if error.sqlstate in _RACES and tries_left:
                continue
            raise _explained(error) from error
    raise AssertionError


async def _install(conn: AsyncConnection[Any], *, roles: bool) -> Installed:
    applied = await apply(conn, roles=roles)
    if differences := await _catalog_differences(conn):
        raise SchemaMismatch(
            "schema jobengine differs from this library:\n" + "\n".join(differences)
        )
    return Installed(applied=applied, roles=roles)


async def verify(conn: AsyncConnection[Any]) -> list[str]:
    """Name every difference between this database and the library: `- missing`, `+ unexpected`.

    Reads the catalog only. An empty list means that migrations, tables, indexes, functions, grants
    and policies are exactly those that `install` makes.
    """
    try:
        if await _owner(conn) is None:
            return ["- schema jobengine"]
        return await _migration_differences(conn) + await _catalog_differences(conn)
    except psycopg.Error as error:
        raise from_driver(error) from error


async def catalog(conn: AsyncConnection[Any]) -> list[str]:
    """Describe what is in schema `jobengine`, one line each, as `sql/engine/catalog.txt` does."""
    async with conn.transaction():
        # PostgreSQL leaves out a schema that is on the search path when it prints a name.
        await conn.execute("set local search_path = pg_catalog")
        cursor = conn.cursor(row_factory=scalar_row)
        await cursor.execute((sql_folder() / "catalog.sql").read_bytes())
        return await cursor.fetchall()


async def apply(conn: AsyncConnection[Any], *, roles: bool = True) -> tuple[str, ...]:
    """Apply the files and return the new migrations, without a look at what came out of it.

    For `install`, which runs it in a transaction and looks.
    """
    if conn.info.server_version < MINIMUM_SERVER:
        raise SchemaMismatch(
            f"PostgreSQL 15 or newer is needed, this is {conn.info.server_version}"
        )
    files = _files()
    await conn.execute("select pg_advisory_xact_lock(hashtextextended('jobengine/install', 0))")
    await conn.execute("set local check_function_bodies = off")
    await conn.execute("set local client_min_messages = warning")
    await _check_owner(conn, roles=roles)
    await files.run(conn, "roles.sql" if roles else "no_roles.sql")
    if roles:
        await conn.execute("set local role jobengine_owner")
    await files.run(conn, "bootstrap.sql")
    applied = await files.migrate(conn)
    for pattern in ("views/*.sql", "functions/*.sql", "private.sql"):
        await files.run(conn, pattern)
    if roles:
        await files.run(conn, "grants.sql")
        await conn.execute("reset role")
    return applied


async def _check_owner(conn: AsyncConnection[Any], *, roles: bool) -> None:
    owner = await _owner(conn)
    if owner is not None and (owner == "jobengine_owner") != roles:
        raise SchemaMismatch(
            "the engine was installed without roles here; install with --no-roles"
            if roles
            else "the engine was installed with roles here; install without --no-roles"
        )


async def _owner(conn: AsyncConnection[Any]) -> str | None:
    cursor = conn.cursor(row_factory=scalar_row)
    await cursor.execute(
        "select nspowner::regrole::text from pg_namespace where nspname = 'jobengine'"
    )
    owner: str | None = await cursor.fetchone()
    return owner


def _files() -> SqlFolder:
    return SqlFolder(sql_folder(), "jobengine")


async def _migration_differences(conn: AsyncConnection[Any]) -> list[str]:
    try:
        async with conn.transaction():
            recorded = await _files().recorded(conn)
    except psycopg.errors.InsufficientPrivilege:
        return []  # another role than the owner; the catalog tells the rest
    return _differences(
        [f"migration {name} {checksum}" for name, checksum in _files().checksums().items()],
        [f"migration {name} {checksum}" for name, checksum in recorded.items()],
    )


async def _catalog_differences(conn: AsyncConnection[Any]) -> list[str]:
    expected = (sql_folder() / "catalog.txt").read_text().splitlines()
    if await _owner(conn) != "jobengine_owner":
        expected = [line for line in expected if not line.startswith(("grant ", "policy "))]
    return _differences(expected, await catalog(conn))


def _differences(expected: Sequence[str], found: Sequence[str]) -> list[str]:
    missing = sorted(set(expected) - set(found))
    unexpected = sorted(set(found) - set(expected))
    return [f"- {line}" for line in missing] + [f"+ {line}" for line in unexpected]


def _explained(error: psycopg.Error) -> EngineError:
    """Say what to do where the installing role may not create or grant the engine's roles."""
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return NotInstalled(
            error.diag.message_primary,
            hint="install as a role that may create roles and schemas, or with --no-roles",
        )
    return from_driver(error)
