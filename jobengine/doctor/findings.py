"""What the doctor can find: one table of all codes, which docs/doctor.md shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Severity: TypeAlias = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of finding: the check that looks for it, how bad it is, what it means."""

    check: str
    severity: Severity
    meaning: str


# docs/doctor.md shows this table (tests/acceptance/test_doctor.py).
CODES: dict[str, Kind] = {
    "server_too_old": Kind("server", "error", "the engine needs PostgreSQL 15 or newer"),
    "fsync_off": Kind("durability", "error", "a crash of the machine destroys the database"),
    "full_page_writes_off": Kind(
        "durability", "warning", "a crash of the machine may tear a page in two"
    ),
    "synchronous_commit_off": Kind(
        "durability", "error", "a crash loses jobs and claims that were answered `ok`"
    ),
    "connections_full": Kind("connections", "warning", "the server soon refuses connections"),
    "superuser": Kind("role", "warning", "row-level security does not hold for this role"),
    "no_engine_role": Kind("role", "warning", "this role may not use the engine"),
    "transaction_pooler": Kind(
        "pooler", "error", "sessions do not last: no wake-up reaches anybody here"
    ),
    "clock_offset": Kind("clock", "warning", "this machine and the server disagree on the time"),
    "not_installed": Kind("schema", "error", "there is no schema jobengine here"),
    "database_newer": Kind("schema", "error", "a newer library has installed the engine"),
    "database_older": Kind("schema", "error", "the engine is older than this library"),
    "migration_edited": Kind("schema", "error", "a migration was applied from another text"),
    "missing": Kind("schema", "error", "an object of the engine is not there"),
    "altered": Kind("schema", "error", "an object of the engine is not as it was installed"),
    "grant_missing": Kind("schema", "error", "a role may not do what it should"),
    "grant_unexpected": Kind("schema", "warning", "somebody may do what he should not"),
    "unexpected": Kind("schema", "warning", "the schema holds what the engine did not make"),
    "table_settings": Kind("schema", "warning", "a table's own settings were changed"),
    "autovacuum_off": Kind("vacuum", "error", "dead rows stay, claims get slower and slower"),
    "dead_rows": Kind("vacuum", "warning", "vacuum does not keep up with a hot table"),
    "horizon_held": Kind("horizon", "warning", "dead rows cannot be removed while this lasts"),
    "notification_lost": Kind("listener", "warning", "a notification did not come back"),
    "notification_queue": Kind(
        "listener", "warning", "a listener does not read; a full queue stops every commit"
    ),
    "stale_sleepers": Kind("listener", "warning", "processes died in their sleep, nobody sweeps"),
    "settle_invalid": Kind("settle", "error", "a registered settle function would fail now"),
    "unsettled": Kind("unsettled", "warning", "ended jobs whose parents do not know it yet"),
    "parent_gone": Kind("parent_gone", "warning", "ended jobs whose parents were not there"),
    "unknown": Kind("unknown", "warning", "nobody knows what became of these jobs"),
    "leases_overdue": Kind("leases", "warning", "run-out leases that nobody takes back"),
    "no_worker": Kind("queues", "warning", "due jobs of a queue from which nobody claims"),
    "not_checked": Kind("", "note", "a check that could not be made, and why"),
}
CHECKS: tuple[str, ...] = tuple(dict.fromkeys(kind.check for kind in CODES.values() if kind.check))


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was found: what was seen, with names and figures, and what mends it.

    `remedy` can be pasted: SQL, or a command that begins with `jobengine`; lines beginning with
    `--` explain.
    """

    code: str
    severity: Severity
    seen: str
    remedy: str


def found(code: str, seen: str, remedy: str) -> Finding:
    """Return a finding of a known code."""
    return Finding(code, CODES[code].severity, seen, remedy)
