"""Installers that meet all succeed, in one database and in several databases of one server.

The roles belong to the server, where no lock of a database helps; hence a server of our own, which
has no roles yet.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg import AsyncConnection, sql
from psycopg.conninfo import make_conninfo

from jobengine import schema
from jobengine.embedded import EmbeddedPostgres
from jobengine.schema import Installed
from tests.conftest import ROLES
from tests.migration.databases import MIGRATIONS, install, verify

INSTALLERS = 8
DEADLINE_SECONDS = 60

Waiting = Callable[[], str | None]


@pytest.fixture
def databases(server: EmbeddedPostgres) -> Iterator[list[str]]:
    """Two empty databases on a server without the engine's roles."""
    names = ["first", "second"]
    with psycopg.connect(server.admin_url, autocommit=True) as admin:
        for name in names:
            admin.execute(
                sql.SQL("create database {} owner jobengine").format(sql.Identifier(name))
            )
        yield [make_conninfo(server.url, dbname=name) for name in names]
        for name in names:
            admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))
        for role in ROLES:
            admin.execute(sql.SQL("drop role if exists {}").format(sql.Identifier(role)))


@pytest.fixture
def waiting(server: EmbeddedPostgres) -> Iterator[Waiting]:
    """What some session waits for: the name of a lock, or None."""
    with psycopg.connect(server.admin_url, autocommit=True) as admin:

        def found() -> str | None:
            row = admin.execute(
                "select wait_event from pg_stat_activity where wait_event_type = 'Lock'"
            ).fetchone()
            return row[0] if row else None

        yield found


@pytest.mark.parametrize("attempt", range(2))
def test_installers_of_one_database_all_succeed(databases: list[str], attempt: int) -> None:
    assert applied(install_together(databases[:1] * INSTALLERS)) == [MIGRATIONS]
    assert verify(databases[0]) == []


@pytest.mark.parametrize("attempt", range(2))
def test_installers_of_two_databases_all_succeed(databases: list[str], attempt: int) -> None:
    assert applied(install_together(databases * (INSTALLERS // 2))) == [MIGRATIONS, MIGRATIONS]
    assert [verify(url) for url in databases] == [[], []]


def test_installers_of_one_database_wait_for_each_other(
    databases: list[str], waiting: Waiting
) -> None:
    lock, second = asyncio.run(meet(databases[0], databases[0], waiting))
    assert lock == "advisory"
    assert second.applied == ()


def test_an_install_survives_that_another_database_creates_the_roles(
    databases: list[str], waiting: Waiting
) -> None:
    lock, second = asyncio.run(meet(databases[0], databases[1], waiting))
    assert lock == "transactionid"
    assert second.applied == MIGRATIONS
    assert [verify(url) for url in databases] == [[], []]


def test_an_install_survives_that_another_database_grants_the_roles(
    databases: list[str], waiting: Waiting
) -> None:
    with psycopg.connect(databases[0]) as conn:
        for role in ROLES:
            conn.execute(sql.SQL("create role {}").format(sql.Identifier(role)))
    lock, second = asyncio.run(meet(databases[0], databases[1], waiting))
    # Releases that do not lock the role let the grant fail with a duplicate key: it is tried again.
    assert lock in ("object", "transactionid")
    assert second.applied == MIGRATIONS
    assert [verify(url) for url in databases] == [[], []]


def test_an_install_goes_on_where_another_one_gave_up(
    databases: list[str], waiting: Waiting
) -> None:
    lock, second = asyncio.run(meet(databases[0], databases[1], waiting, commit=False))
    assert lock == "transactionid"
    assert second.applied == MIGRATIONS
    assert verify(databases[0]) == ["- schema jobengine"]
    assert verify(databases[1]) == []


async def meet(
    first: str, second: str, waiting: Waiting, *, commit: bool = True
) -> tuple[str, Installed]:
    """Install into the second database while an install of the first one is not yet committed.

    Returns what the second one waited for, and what it did.
    """
    async with (
        await AsyncConnection.connect(first) as holder,
        await AsyncConnection.connect(second, autocommit=True) as other,
    ):
        await schema.apply(holder)
        installing = asyncio.create_task(schema.install(other))
        lock = await awaited(waiting, installing)
        await (holder.commit() if commit else holder.rollback())
        return lock, await installing


async def awaited(waiting: Waiting, installing: asyncio.Task[Installed]) -> str:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        if lock := waiting():
            return lock
        assert not installing.done(), "it did not wait"
        await asyncio.sleep(0)
    raise TimeoutError("nobody waits for a lock")


def install_together(urls: list[str]) -> list[Installed]:
    """Install from as many connections at the same moment."""
    ready = threading.Barrier(len(urls))

    def installer(url: str) -> Installed:
        ready.wait(timeout=DEADLINE_SECONDS)
        return install(url)

    with ThreadPoolExecutor(len(urls)) as pool:
        return list(pool.map(installer, urls))


def applied(installs: list[Installed]) -> list[tuple[str, ...]]:
    """What those that found something to do have applied; the others found it done."""
    return [found.applied for found in installs if found.applied]
