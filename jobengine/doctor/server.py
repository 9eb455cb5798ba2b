"""Checks of the server: version, durability, connections, vacuum and what holds it back."""

from __future__ import annotations

from typing import Any

from jobengine.doctor.findings import Finding, found
from jobengine.doctor.patient import Outcome, Patient, number
from jobengine.schema import MINIMUM_SERVER

_RELOAD = "select pg_reload_conf();"


async def version(patient: Patient) -> Outcome:
    """Is the server new enough."""
    server = await patient.ask_one("server")
    if server.version_number >= MINIMUM_SERVER:
        return f"PostgreSQL {server.version}"
    remedy = "-- move to PostgreSQL 15 or newer: pg_upgrade"
    return [found("server_too_old", f"PostgreSQL {server.version}", remedy)]


async def durability(patient: Patient) -> Outcome:
    """Is what was committed still there after a crash."""
    server = await patient.ask_one("server")
    findings = [
        found(f"{name}_off", f"{name} is off", f"alter system set {name} = on;\n{_RELOAD}")
        for name in ("fsync", "full_page_writes")
        if not getattr(server, name)
    ]
    places = await patient.ask("commit")
    findings += [
        found("synchronous_commit_off", f"synchronous_commit is off: {row.place}", row.remedy)
        for row in _settled(places)
    ]
    return findings or "what is committed survives a crash"


def _settled(places: Any) -> list[Any]:
    """Leave out this session where a database or role is to blame for it."""
    blamed = [row for row in places if row.place != "this session"]
    if blamed or not places:
        return blamed
    remedy = f"alter system set synchronous_commit = on;\n{_RELOAD}"
    return [places[0]._replace(place="the server, or this session", remedy=remedy)]


async def connections(patient: Patient) -> Outcome:
    """Are there connections left."""
    server = await patient.ask_one("server")
    seen = f"{server.connections} of {server.max_connections} connections are open"
    if server.connections < server.max_connections * patient.limits.connections:
        return seen
    remedy = (
        "-- smaller pools (JobEngine(url, max_size=…)) or a session-mode pooler; or, and restart:\n"
        f"alter system set max_connections = {server.max_connections * 2};"
    )
    return [found("connections_full", seen, remedy)]


async def vacuum(patient: Patient) -> Outcome:
    """Does vacuum run, and does it keep up."""
    server = await patient.ask_one("server")
    findings = [
        found("autovacuum_off", f"{name} is off", f"alter system set {name} = on;\n{_RELOAD}")
        for name in ("autovacuum", "track_counts")
        if not getattr(server, name)
    ]
    findings += [
        _dead_rows(table)
        for table in await patient.ask("tables")
        if table.dead >= max(patient.limits.dead_rows, table.live + 1)
    ]
    return findings or "autovacuum is on and keeps up"


def _dead_rows(table: Any) -> Finding:
    last = "never" if table.vacuumed is None else f"{table.vacuumed:.0f} s ago"
    seen = (
        f"jobengine.{table.name}: {table.dead:,} dead rows beside {table.live:,} living,"
        f" last vacuumed {last}"
    )
    remedy = f"-- once nothing holds the horizon (horizon_held):\nvacuum jobengine.{table.name};"
    return found("dead_rows", seen, remedy)


async def horizon(patient: Patient) -> Outcome:
    """Does anybody keep dead rows from being removed."""
    holders = [row for row in await patient.ask("horizon") if _too_long(row, patient)]
    findings = [found("horizon_held", _holder(row), _REMEDIES[row.kind](row)) for row in holders]
    hidden = await patient.ask_one("hidden")
    if hidden.sessions:
        seen = (
            f"horizon: {number(hidden.sessions, 'session')} of other roles with a snapshot, since"
            f" when cannot be seen ({number(hidden.transactions, 'transaction')} behind)"
        )
        who = (await patient.ask_one("role")).name
        remedy = f'grant pg_read_all_stats to "{who}"; -- as a superuser'
        findings.append(found("not_checked", seen, remedy))
    return findings or f"nobody holds a snapshot longer than {patient.limits.hold:g} s"


def _too_long(row: Any, patient: Patient) -> bool:
    if row.seconds is None:
        return bool(row.transactions >= patient.limits.slot_transactions)
    return bool(row.seconds >= patient.limits.hold)


def _holder(row: Any) -> str:
    who = f"{row.kind} {row.name}"
    parts = [
        f"of {row.owner}" if row.owner else "",
        f"({row.application})" if row.application else "",
        row.state or "",
        f"for {row.seconds:.0f} s" if row.seconds is not None else "",
        f"{row.transactions:,} transactions behind",
        f"query: {row.query}" if row.query else "",
    ]
    return ", ".join([who, *filter(None, parts)])


def _end_session(row: Any) -> str:
    return (
        f"select pg_terminate_backend({row.name});\n"
        "-- and so that it does not come back, for the role of that program:\n"
        f"-- alter role {row.owner} set idle_in_transaction_session_timeout = '60s';"
    )


def _drop_slot(row: Any) -> str:
    return f"-- if its consumer is gone for good:\nselect pg_drop_replication_slot('{row.name}');"


_REMEDIES: dict[str, Any] = {
    "session": _end_session,
    "prepared transaction": lambda row: f"rollback prepared '{row.name}'; -- or commit prepared",
    "replication slot": _drop_slot,
    "standby": lambda _: "-- on the standby: end its long queries, or hot_standby_feedback = off",
}
