from __future__ import annotations

import asyncio
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.rows import dict_row

from jobengine import schema
from jobengine.testing import Clock
from tests.conftest import fresh_database
from tests.sql.platform.helpers import Db, User, install, make_roles, make_supabase, new_trader


@pytest.fixture(scope="session")
def roles(admin_url: str, app_role: str) -> None:
    """The roles of Supabase on the server of this run."""
    make_roles(admin_url, app_role)


@pytest.fixture(scope="module")
def platform_url(admin_url: str, roles: None) -> Iterator[str]:
    """A database of this module's own, with engine and platform installed."""
    with fresh_database(admin_url) as url:
        asyncio.run(install(url))
        yield url


@pytest.fixture(scope="module")
def supabase_url(admin_url: str, roles: None) -> Iterator[str]:
    """The same in a database that looks like Supabase's."""
    with fresh_database(admin_url) as url:
        make_supabase(admin_url, url)
        asyncio.run(install(url))
        yield url


@pytest.fixture
def pdb(platform_url: str) -> Iterator[Db]:
    """An autocommit connection of the owner; tests keep apart by making their own users."""
    with psycopg.connect(platform_url, autocommit=True, row_factory=dict_row) as conn:
        conn.execute("set lock_timeout = '30s'")
        own_clock(conn)
        yield conn


def own_clock(conn: Db) -> None:
    """Give the engine its own clock back."""
    conn.execute("set role jobengine_owner")
    conn.execute((schema.sql_folder() / "functions" / "_now.sql").read_bytes())
    conn.execute("reset role")


@pytest.fixture
def still(pdb: Db) -> Clock:
    """The clock of engine and platform, standing still."""
    return Clock(pdb)


@pytest.fixture
def anna(pdb: Db) -> User:
    return new_trader(pdb)


@pytest.fixture
def bert(pdb: Db) -> User:
    return new_trader(pdb)
