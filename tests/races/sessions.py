"""Sessions that may wait for each other while the test goes on.

A wait is proved by `pg_blocking_pids`, never by time. Nothing here sleeps: every loop asks the
database for a fact, and gives up at a deadline that no working machine comes near.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import DictRow, dict_row

DEADLINE_SECONDS = 60.0

Rows = list[DictRow]


@dataclass(frozen=True, slots=True)
class Call:
    """One statement and its parameters."""

    query: sql.SQL | sql.Composed
    params: dict[str, Any]


BEGIN = Call(sql.SQL("begin"), {})
COMMIT = Call(sql.SQL("commit"), {})
ROLLBACK = Call(sql.SQL("rollback"), {})


class Running:
    """A call on its way in another session."""

    def __init__(self, watcher: psycopg.Connection[DictRow], pid: int, rows: Future[Rows]) -> None:
        self._watcher = watcher
        self._rows = rows
        self.pid = pid

    def done(self, *, within: float = 0.0) -> bool:
        wait_for([self._rows], timeout=within)
        return self._rows.done()

    def rows(self) -> Rows:
        """Return what the call answered, or raise what it raised, once it has ended."""
        return self._rows.result(timeout=DEADLINE_SECONDS)

    def waits_for(self, holder: Session) -> Running:
        """Return once the call waits for the other session's transaction."""
        return self._waits(lambda blocking: holder.pid in blocking)

    def waits_for_someone(self) -> Running:
        """Return once the call waits for a lock, whoever has it."""
        return self._waits(bool)

    def _waits(self, enough: Callable[[list[int]], bool]) -> Running:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not enough(blockers(self._watcher, [self.pid])[self.pid]):
            assert not self.done(), f"ended without waiting: {self._rows.result()}"
            assert time.monotonic() < deadline, "neither ended nor waits"
        return self


class Session:
    """A connection with a thread of its own; in autocommit mode until `begin`."""

    def __init__(self, url: str, watcher: psycopg.Connection[DictRow]) -> None:
        self._conn = psycopg.connect(url, autocommit=True, row_factory=dict_row)
        self._thread = ThreadPoolExecutor(1)
        self._watcher = watcher
        self.pid = self._conn.info.backend_pid

    def send(self, *calls: Call) -> Running:
        """Start calls, one after the other, and return at once; the last one gives the rows."""
        return Running(self._watcher, self.pid, self._thread.submit(self._execute, calls))

    def run(self, call: Call) -> Rows:
        """Make a call that is to end without the help of any other session."""
        return self.send(call).rows()

    def begin(self, call: Call) -> Rows:
        """Make a call and keep its transaction open."""
        return self.send(BEGIN, call).rows()

    def commit(self) -> None:
        self.run(COMMIT)

    def rollback(self) -> None:
        self.run(ROLLBACK)

    def close(self) -> None:
        self._thread.shutdown()
        self._conn.close()

    def _execute(self, calls: tuple[Call, ...]) -> Rows:
        for call in calls:
            cursor = self._conn.execute(call.query, call.params or None)
        return cursor.fetchall() if cursor.description else []


def blockers(watcher: psycopg.Connection[DictRow], pids: list[int]) -> dict[int, list[int]]:
    """Return, for each session, the sessions that it waits for."""
    rows = watcher.execute("select p, pg_blocking_pids(p) as by from unnest(%s) p", (pids,))
    return {row["p"]: row["by"] for row in rows}


@contextmanager
def opened(
    url: str, watcher: psycopg.Connection[DictRow], count: int
) -> Iterator[tuple[Session, ...]]:
    """Open sessions, and end them with whatever they still do."""
    sessions = tuple(Session(url, watcher) for _ in range(count))
    try:
        yield sessions
    finally:
        watcher.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where pid = any(%s) and state <> 'idle'",
            ([session.pid for session in sessions],),
        )
        for session in sessions:
            session.close()
