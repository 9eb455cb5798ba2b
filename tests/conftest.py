"""Real PostgreSQL for every test: one server per run, one cloned database per module.

The server is the embedded one, or the one that DATABASE_URL names (its role must be able to create
databases and roles). The pytest process that controls the run makes the server and a template
database with the engine installed; the xdist workers find both in their environment.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from psycopg import AsyncConnection, sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import DictRow, dict_row

from jobengine import schema
from jobengine.embedded import EmbeddedPostgres
from jobengine.testing import Clock

ADMIN = "JOBENGINE_TEST_ADMIN_URL"
TEMPLATE = "JOBENGINE_TEST_TEMPLATE"
ROLES = ("jobengine_owner", "jobengine_client", "jobengine_worker", "jobengine_operator")
TABLES = "job, ready, lease, ended, failure, live_key, waiting, job_type"

settings.register_profile(
    "jobengine",
    deadline=None,  # never assert a time
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("jobengine")

_SERVER = pytest.StashKey[EmbeddedPostgres]()
_FOLDER = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """Make the server and the template, once per run."""
    _heed_signals()
    if hasattr(config, "workerinput") or config.option.collectonly or config.option.help:
        return
    if not os.environ.get("DATABASE_URL"):
        folder = config.stash[_FOLDER] = Path(tempfile.mkdtemp(prefix="jobengine-tests-"))
        folder.chmod(0o755)  # as root the server runs as another user, which must reach its data
        config.stash[_SERVER] = EmbeddedPostgres(folder / "postgres", durable=False)
        config.stash[_SERVER].start()
    server = config.stash.get(_SERVER, None)
    os.environ[ADMIN] = server.admin_url if server else os.environ["DATABASE_URL"]
    os.environ[TEMPLATE] = _make_template(os.environ[ADMIN])


def _heed_signals() -> None:
    """Undo what a shell does to its background jobs: what ignores a signal starts what does too."""
    for number, usual in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGQUIT, signal.SIG_DFL),
    ):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, usual)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave nothing behind: neither databases nor roles of this run, nor the server."""
    if hasattr(config, "workerinput") or TEMPLATE not in os.environ:
        return
    name = os.environ.pop(TEMPLATE)
    with psycopg.connect(os.environ[ADMIN], autocommit=True) as admin:
        admin.execute(sql.SQL("drop database if exists {} with (force)").format(_name(name)))
        admin.execute(sql.SQL("drop role if exists {}").format(_name(name)))
    if server := config.stash.get(_SERVER, None):
        server.stop()
        shutil.rmtree(config.stash[_FOLDER])


def _make_template(admin_url: str) -> str:
    """Create a login role and a database of the same name that it owns, with the engine in it."""
    name = f"jobengine_test_{secrets.token_hex(4)}"
    with psycopg.connect(admin_url, autocommit=True) as admin:
        for role in ROLES:
            exists = admin.execute("select 1 from pg_roles where rolname = %s", (role,)).fetchone()
            if not exists:
                admin.execute(sql.SQL("create role {} nologin").format(_name(role)))
        admin.execute(
            sql.SQL("create role {} login createrole password {}").format(_name(name), name)
        )
        for role in ROLES:
            admin.execute(
                sql.SQL("grant {} to {} with admin option").format(_name(role), _name(name))
            )
        _create_database(admin, name, owner=name)
    asyncio.run(_install(_url(admin_url, name, name)))
    return name


def _create_database(admin: psycopg.Connection[Any], name: str, *, owner: str) -> None:
    admin.execute(sql.SQL("create database {} owner {}").format(_name(name), _name(owner)))


async def _install(url: str) -> None:
    # Without install's comparison with catalog.txt: tests/contract names what is stale there.
    async with await AsyncConnection.connect(url) as conn:
        await schema.apply(conn)


def _name(text: str) -> sql.Identifier:
    return sql.Identifier(text)


def _url(admin_url: str, database: str, user: str) -> str:
    return make_conninfo(admin_url, dbname=database, user=user, password=user)


@pytest.fixture(scope="session")
def admin_url() -> str:
    """A role that may create databases and roles, on the server of this run."""
    return os.environ[ADMIN]


@pytest.fixture(scope="session")
def app_role() -> str:
    """The login role that owns the test databases; it is neither superuser nor bypasses RLS."""
    return os.environ[TEMPLATE]


@contextmanager
def fresh_database(admin_url: str, *, installed: bool = True) -> Iterator[str]:
    """Yield the URL of a new database of the app's role and drop it at the end."""
    template = os.environ[TEMPLATE]
    name = f"{template}_{secrets.token_hex(4)}"
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute(
            sql.SQL("create database {} owner {} template {}").format(
                _name(name), _name(template), _name(template if installed else "template1")
            )
        )
        try:
            yield _url(admin_url, name, template)
        finally:
            admin.execute(sql.SQL("drop database {} with (force)").format(_name(name)))


@pytest.fixture(scope="module")
def database_url(admin_url: str) -> Iterator[str]:
    """A database of this module's own, with the engine installed."""
    with fresh_database(admin_url) as url:
        yield url


@pytest.fixture
def empty_database_url(admin_url: str) -> Iterator[str]:
    """A database of this test's own, without the engine."""
    with fresh_database(admin_url, installed=False) as url:
        yield url


@pytest.fixture
def db(database_url: str) -> Iterator[psycopg.Connection[DictRow]]:
    """An autocommit connection to the module's database, emptied before the test."""
    with psycopg.connect(database_url, autocommit=True, row_factory=dict_row) as conn:
        clean(conn)
        yield conn


def clean(conn: psycopg.Connection[Any]) -> None:
    """Empty the engine's tables and give it its own clock back."""
    conn.execute("set role jobengine_owner")
    tables = ", ".join(f"jobengine.{table}" for table in TABLES.split(", "))
    conn.execute(f"truncate {tables}".encode())
    conn.execute((schema.sql_folder() / "functions" / "_now.sql").read_bytes())
    conn.execute("reset role")


@pytest.fixture
def clock(db: psycopg.Connection[DictRow]) -> Clock:
    """The engine's clock in this module's database, at 2030-01-01, standing still."""
    return Clock(db)
