"""Checks of the way to the server: role, pooler, clock, notifications."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from typing import Any

import psycopg
from psycopg import sql

from jobengine._db import Connection
from jobengine.doctor.findings import Finding, found
from jobengine.doctor.patient import Outcome, Patient, number
from jobengine.errors import EngineError

_PATIENCE = 5.0  # for what a server does at once
_POOLER_REMEDY = """\
-- give workers the server's own address, or a pool in session mode (PgBouncer: pool_mode=session);
-- programs that only enqueue may stay, with psycopg's prepare_threshold=None"""


async def role(patient: Patient) -> Outcome:
    """Who asks: neither somebody whom row-level security does not bind, nor a stranger."""
    who = await patient.ask_one("role")
    if who.superuser or who.bypasses:
        what = "is a superuser" if who.superuser else "has bypassrls"
        remedy = (
            "-- a login role for the program, with what it needs and no more:\n"
            "create role app login;\ngrant jobengine_client, jobengine_worker to app;"
        )
        return [found("superuser", f"{who.name} {what} and sees every tenant's rows", remedy)]
    if who.owner_name and not who.owner and not who.roles:
        remedy = f'grant jobengine_client to "{who.name}"; -- or _worker, _operator'
        return [found("no_engine_role", f"{who.name} has none of the engine's roles", remedy)]
    roles = who.roles or ([f"the owner, {who.owner_name}"] if who.owner else ["no engine here"])
    return f"{who.name}: {', '.join(roles)}"


async def pooler(patient: Patient) -> Outcome:
    """Does a session last from one transaction to the next.

    While another connection is inside a transaction, a pool that hands out sessions by transaction
    must serve this one by another process of the server.
    """
    before = await _backend(patient.conn)
    try:
        async with asyncio.timeout(_PATIENCE):
            async with patient.engine.connection() as other, other.transaction():
                await _backend(other)
                after = await _backend(patient.conn)
    except (TimeoutError, EngineError) as error:
        remedy = "-- let two connections at a time be opened"
        return [found("not_checked", f"pooler: no second connection: {error}", remedy)]
    if before == after:
        return "sessions last"
    seen = f"one connection was served by process {before}, then by process {after}"
    return [found("transaction_pooler", seen, _POOLER_REMEDY)]


async def _backend(conn: Connection) -> int:
    cursor = await conn.execute("select pg_backend_pid() as pid")
    pid: int = _only(await cursor.fetchone())
    return pid


def _only(row: Any) -> Any:
    """Return the only value of a row, whatever kind of rows the program's pool makes."""
    return next(iter(row.values())) if isinstance(row, dict) else row[0]


async def clock(patient: Patient) -> Outcome:
    """Do this machine and the server agree on the time; the shortest of three round trips."""
    measured = [await _offset(patient) for _ in range(3)]
    error, offset = min(measured)
    seen = (
        f"this machine is {abs(offset):.1f} s {'behind' if offset > 0 else 'ahead of'} the server"
    )
    if abs(offset) - error <= patient.limits.clock:
        return f"{abs(offset):.3f} s apart, give or take {error:.3f} s"
    remedy = (
        "-- set the clock of this machine by NTP: timedatectl set-ntp true\n"
        "-- leases do not depend on it, they use the server's clock; a run_at made here does"
    )
    return [found("clock_offset", seen, remedy)]


async def _offset(patient: Patient) -> tuple[float, float]:
    """Return half a round trip, and how far the server is ahead."""
    began, here = time.monotonic(), patient.clock()
    cursor = await patient.conn.execute(
        "select extract(epoch from clock_timestamp())::double precision as now"
    )
    there = _only(await cursor.fetchone())
    half = (time.monotonic() - began) / 2
    return half, there - here - half


async def listener(patient: Patient) -> Outcome:
    """Do notifications come, is their queue short, do those live who sleep."""
    findings = []
    milliseconds = await _round_trip(patient.conn)
    if milliseconds is None:
        seen = f"a notification to this very connection did not come within {_PATIENCE:g} s"
        findings.append(found("notification_lost", seen, _POOLER_REMEDY))
    usage = float(_only(await (await patient.conn.execute(_USAGE)).fetchone()))
    if usage > patient.limits.queue_usage:
        findings.append(_full_queue(usage))
    sleepers, stale = await _sleepers(patient)
    if isinstance(stale, Finding):
        findings.append(stale)
    return findings or f"{milliseconds:.1f} ms there and back, {sleepers}"


_USAGE = "select pg_notification_queue_usage() as usage"


def _full_queue(usage: float) -> Finding:
    remedy = (
        "-- the listener that is furthest behind sits in a transaction; find and end it:\n"
        "select pid, usename, application_name, xact_start from pg_stat_activity"
        " where state = 'idle in transaction' order by xact_start;"
    )
    return found("notification_queue", f"the notification queue is {usage:.0%} full", remedy)


async def _sleepers(patient: Patient) -> tuple[str, Finding | None]:
    """Say how many sleep, and whether rows are left of those who died."""
    try:
        rows = await patient.ask("waiting")
    except psycopg.errors.InsufficientPrivilege:
        remedy = "-- run doctor as the role that installed the engine"
        seen = "listener: this role may not see who sleeps (jobengine.waiting)"
        return "", found("not_checked", seen, remedy)
    except (psycopg.errors.InvalidSchemaName, psycopg.errors.UndefinedTable):
        return "nobody can sleep here", None
    sleepers = number(sum(row.sleepers for row in rows), "sleeper")
    if stale := sum(row.stale for row in rows):
        seen = f"{number(stale, 'row')} in jobengine.waiting out of date by more than a minute"
        return sleepers, found("stale_sleepers", seen, "jobengine sweep")
    return sleepers, None


async def _round_trip(conn: Connection) -> float | None:
    """Return how many milliseconds a notification takes to this connection, None if it is lost."""
    channel = f"jobengine_doctor_{secrets.token_hex(4)}"
    name = sql.Identifier(channel)
    await conn.execute(sql.SQL("listen {}").format(name))
    try:
        began = time.monotonic()
        await conn.execute(sql.SQL("notify {}").format(name))
        async for notification in conn.notifies(timeout=_PATIENCE):
            if notification.channel == channel:
                return (time.monotonic() - began) * 1000
        return None
    finally:
        with contextlib.suppress(psycopg.Error):
            await conn.execute(sql.SQL("unlisten {}").format(name))
