"""The database under examination: its queries, what counts as too much, and who asks."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from psycopg import AsyncCursor
from psycopg.rows import namedtuple_row

from jobengine import schema
from jobengine._db import Connection
from jobengine.doctor.findings import Finding
from jobengine.engine import JobEngine

STATEMENT_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Limits:
    """From where on something is a finding; times in seconds."""

    hold: float = 30
    """A snapshot that is held so long."""
    slot_transactions: int = 100_000
    """A replication slot or standby so many transactions behind; they have no time."""
    dead_rows: int = 100_000
    """Dead rows of a hot table that are more than its living ones."""
    idle: float = 300
    """A queue with due jobs from which nobody has claimed so long."""
    overdue: float = 60
    """A lease that ran out so long ago."""
    clock: float = 1
    """The clocks' difference, beyond half the round trip."""
    connections: float = 0.8
    """The share of the server's connections that are open."""
    queue_usage: float = 0.1
    """The share of the notification queue that is full."""


@dataclass(frozen=True, slots=True)
class Patient:
    """What the checks ask."""

    engine: JobEngine
    conn: Connection
    limits: Limits
    clock: Callable[[], float] = time.time

    async def ask(self, query: str) -> Sequence[Any]:
        """Return the rows of sql/engine/doctor/<query>.sql, named by their columns."""
        text = (schema.sql_folder() / "doctor" / f"{query}.sql").read_bytes()
        async with self.reading():
            cursor = AsyncCursor(self.conn, row_factory=namedtuple_row)
            await cursor.execute(text)
            return await cursor.fetchall()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        """Let what follows read only, and no statement of it wait for ever."""
        async with self.conn.transaction():
            await self.conn.execute("set transaction read only")
            await self.conn.execute(
                f"set local statement_timeout = '{STATEMENT_SECONDS}s'".encode()
            )
            await self.conn.execute("set local search_path = pg_catalog, pg_temp")
            yield

    async def ask_one(self, query: str) -> Any:
        """Return its only row."""
        (row,) = await self.ask(query)
        return row


# A check returns what it found or, if all is well, a few words on what it saw.
Outcome: TypeAlias = list[Finding] | str
Check: TypeAlias = Callable[[Patient], Awaitable[Outcome]]


def number(count: int, singular: str, plural: str | None = None) -> str:
    """Return a count with its word."""
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"
