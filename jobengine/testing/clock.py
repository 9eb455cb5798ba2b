"""`Clock`: the time of the engine in a test's database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Self

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from jobengine import schema
from jobengine.errors import InvalidArgument, NotInstalled, translated

START = datetime(2030, 1, 1, tzinfo=UTC)

_TABLE = "create table if not exists jobengine.test_clock (at timestamptz not null)"
_NOW = """
create or replace function jobengine._now() returns timestamptz
language sql volatile security definer set search_path = pg_catalog, pg_temp
as 'select at from jobengine.test_clock'
"""


class Clock:
    """The engine's clock in a test's database: it stands still until the test moves it.

    It counts for every session, from the moment at which the connection's transaction commits.
    The role must be allowed to act as the engine's owner. Until `remove`, or the end of the `with`
    block, `verify` names the replaced function; never use it where jobs matter.
    """

    def __init__(self, connection: psycopg.Connection[Any], at: datetime = START) -> None:
        """Replace the engine's clock by one that shows `at`."""
        if at.tzinfo is None:
            raise InvalidArgument("at", "a datetime with a time zone")
        self._connection = connection
        with _as_owner(connection) as cursor:
            cursor.execute(_TABLE)
            cursor.execute("delete from jobengine.test_clock")
            cursor.execute("insert into jobengine.test_clock values (%s)", (at,))
            cursor.execute(_NOW)

    def __enter__(self) -> Self:
        """Return the clock."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove it."""
        self.remove()

    @property
    def shared(self) -> bool:
        """Whether other sessions see at once what is done to it."""
        idle = self._connection.info.transaction_status == TransactionStatus.IDLE
        return idle and self._connection.autocommit

    def advance(self, seconds: float) -> None:
        """Move the clock on, or back."""
        with _as_owner(self._connection) as cursor:
            cursor.execute(
                "update jobengine.test_clock set at = at + make_interval(secs => %s)", (seconds,)
            )

    def remove(self) -> None:
        """Give the engine its own clock back."""
        with _as_owner(self._connection) as cursor:
            cursor.execute((schema.sql_folder() / "functions" / "_now.sql").read_bytes())
            cursor.execute("drop table if exists jobengine.test_clock")


@contextmanager
def _as_owner(connection: psycopg.Connection[Any]) -> Iterator[psycopg.Cursor[Any]]:
    """Yield a cursor whose statements run as the owner of the engine; the role comes back."""
    with translated():
        cursor = psycopg.Cursor(connection, row_factory=tuple_row)
        cursor.execute(
            "select pg_get_userbyid(nspowner), current_setting('role') from pg_namespace"
            " where nspname = 'jobengine'"
        )
        if (roles := cursor.fetchone()) is None:
            raise NotInstalled
        owner, before = roles
        cursor.execute("select set_config('role', %s, false)", (owner,))
        try:
            yield cursor
        finally:
            # A transaction that failed takes the role back by itself.
            if connection.info.transaction_status != TransactionStatus.INERROR:
                cursor.execute("select set_config('role', %s, false)", (before,))
