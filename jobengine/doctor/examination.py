"""Makes every check and gathers what came of it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import psycopg
from psycopg import errors

from jobengine._db import Connection
from jobengine.doctor import connection, jobs, objects, server
from jobengine.doctor.findings import Finding, found
from jobengine.doctor.patient import STATEMENT_SECONDS, Check, Limits, Patient
from jobengine.engine import JobEngine

_CHECKS: dict[str, Check] = {
    "server": server.version,
    "durability": server.durability,
    "connections": server.connections,
    "role": connection.role,
    "pooler": connection.pooler,
    "clock": connection.clock,
    "schema": objects.objects,
    "vacuum": server.vacuum,
    "horizon": server.horizon,
    "listener": connection.listener,
    "settle": jobs.settle,
    "unsettled": jobs.unsettled,
    "parent_gone": jobs.parent_gone,
    "unknown": jobs.unknown,
    "leases": jobs.leases,
    "queues": jobs.queues,
}
_NO_ENGINE = (
    "the engine, or a part of it, is not in this database",
    "jobengine install",
)
_STANDBY = ("this server is a standby, where nothing can be written", "-- ask the primary")
_SLOW = (
    f"the query took longer than {STATEMENT_SECONDS} s",
    "-- run sql/engine/doctor/<check>.sql with psql, at a quieter time",
)


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found, and per check in which nothing was wrong, what was seen."""

    findings: list[Finding] = field(default_factory=list)
    fine: dict[str, str] = field(default_factory=dict)

    @property
    def healthy(self) -> bool:
        """Whether there is neither an error nor a warning."""
        return all(finding.severity == "note" for finding in self.findings)


async def examine(
    database: JobEngine | str,
    *,
    limits: Limits | None = None,
    clock: Callable[[], float] = time.time,
) -> Sequence[Finding]:
    """Return what is wrong with a database, its server or its jobs: an open engine's, or by URL.

    Writes nothing. What this role may not see is a note, never silence. `clock` is this machine's,
    in seconds since 1970. Raises `EngineUnavailable` where no server answers.
    """
    return (await examination(database, limits=limits, clock=clock)).findings


async def examination(
    database: JobEngine | str,
    *,
    limits: Limits | None = None,
    clock: Callable[[], float] = time.time,
) -> Examination:
    """Return what `examine` does, and what was seen where nothing is wrong."""
    result = Examination()
    skipped: dict[tuple[str, str], list[str]] = {}
    async with _opened(database) as engine, engine.connection() as conn, _plain(conn):
        patient = Patient(engine, conn, limits or Limits(), clock)
        who = (await patient.ask_one("role")).name
        for name, check in _CHECKS.items():
            try:
                outcome = await check(patient)
            except psycopg.Error as error:
                skipped.setdefault(_reason(error, who), []).append(name)
                continue
            if isinstance(outcome, str):
                result.fine[name] = outcome
            else:
                result.findings.extend(outcome)
    for (reason, remedy), names in skipped.items():
        result.findings.append(found("not_checked", f"{', '.join(names)}: {reason}", remedy))
    return result


@asynccontextmanager
async def _opened(database: JobEngine | str) -> AsyncIterator[JobEngine]:
    async with AsyncExitStack() as stack:
        if isinstance(database, str):
            database = await stack.enter_async_context(JobEngine(database, max_size=3))
        yield database


@asynccontextmanager
async def _plain(conn: Connection) -> AsyncIterator[None]:
    """Let each query be a transaction of its own and none be prepared: a pooler may be between."""
    autocommit, threshold = conn.autocommit, conn.prepare_threshold
    await conn.set_autocommit(True)
    conn.prepare_threshold = None
    try:
        yield
    finally:
        conn.prepare_threshold = threshold
        if not conn.closed:
            await conn.set_autocommit(autocommit)


def _reason(error: psycopg.Error, who: str) -> tuple[str, str]:
    """Say why a check was not made and what would make it possible; raise what is no reason."""
    missing = (errors.InvalidSchemaName, errors.UndefinedTable, errors.UndefinedColumn)
    if isinstance(error, errors.InsufficientPrivilege):
        return error.diag.message_primary or str(error), (
            "-- run doctor as the role that installed the engine, or:\n"
            f'grant jobengine_operator to "{who}";'
        )
    if isinstance(error, (*missing, errors.UndefinedObject, errors.UndefinedFunction)):
        return _NO_ENGINE
    if isinstance(error, errors.ReadOnlySqlTransaction):
        return _STANDBY
    if isinstance(error, errors.QueryCanceled):
        return _SLOW
    raise error
