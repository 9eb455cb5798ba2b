"""Jobs in the state that a race starts from."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import DictRow

from jobengine.testing import Clock
from tests.races.calls import Lease, claim, enqueue, get
from tests.races.sessions import Call, Rows


def run(db: psycopg.Connection[DictRow], call: Call) -> Rows:
    cursor = db.execute(call.query, call.params or None)
    return cursor.fetchall() if cursor.description else []


def waiting(db: psycopg.Connection[DictRow], count: int = 1, **arguments: Any) -> list[UUID]:
    """Enqueue jobs that are due and return their ids, ascending."""
    return [row["job_id"] for row in run(db, enqueue(count=count, **arguments))]


def held(
    db: psycopg.Connection[DictRow], count: int = 1, *, two_phase: str = "never", **arguments: Any
) -> list[Lease]:
    """Enqueue and claim jobs and return their leases, by job id."""
    waiting(db, count, **arguments)
    rows = run(db, claim(limit=count, two_phase=two_phase))
    assert len(rows) == count
    return sorted((row["job_id"], row["lease_epoch"]) for row in rows)


def overdue(
    db: psycopg.Connection[DictRow],
    clock: Clock,
    count: int = 1,
    *,
    two_phase: str = "never",
    **arguments: Any,
) -> list[Lease]:
    """Return leases that have run out, which no sweep has met yet."""
    leases = held(db, count, two_phase=two_phase, **arguments)
    clock.advance(3600)
    return leases


def seen(db: psycopg.Connection[DictRow], job_id: UUID) -> DictRow:
    (row,) = run(db, get(job_id))
    return row


def status(db: psycopg.Connection[DictRow], job_id: UUID) -> str:
    found: str = seen(db, job_id)["status"]
    return found
