"""What the proofs go by: the database, the agents' journals, the price store and the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from api.demo.agent.journal import Entry
from api.demo.world import Agent

LOOK = Path(__file__).with_name("look.sql")

Conn: TypeAlias = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True)
class Job:
    """A job and its parent as the database has them; the fields are the columns of look.sql."""

    job_id: UUID
    user_id: UUID
    job_type: str
    status: str
    queue: str
    agent_id: UUID | None
    lease_epoch: int
    output_data: Any
    error_message: str | None
    parent_type: str | None
    created_at: float
    claimed_at: float | None
    started_at: float | None
    finished_at: float | None
    settled_status: str | None
    settle_error: str | None
    parent_state: str | None
    parent_error: str | None
    parent_price: float | None
    events: list[str]

    @property
    def over(self) -> bool:
        return self.finished_at is not None


def look(conn: Conn, users: list[UUID]) -> dict[UUID, Job]:
    """Return the users' jobs as they stand now."""
    with conn.cursor(row_factory=class_row(Job)) as cursor:
        cursor.execute(LOOK.read_bytes(), (users,))
        return {job.job_id: job for job in cursor.fetchall()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything that a run left behind.

    `created` are the jobs that the service said it took, `jobs` those of the database at the end,
    each with its parent as it was when the job's end was first seen; `killed` is the job in whose
    middle its agent was killed.
    """

    agents: list[Agent]
    created: set[UUID]
    jobs: Mapping[UUID, Job]
    journals: Mapping[UUID, list[Entry]]
    killed: UUID | None
    prices: Mapping[str, Any]
    log: str
    secrets: list[str]

    def entries(self, *events: str) -> list[tuple[UUID, Entry]]:
        """Return the journals' entries of these events, with their agents."""
        return [
            (agent_id, entry)
            for agent_id, journal in self.journals.items()
            for entry in journal
            if entry["event"] in events
        ]

    def reports(self) -> dict[UUID, dict[str, Any]]:
        """Return what the agents reported of each job, by their own account."""
        return {UUID(entry["job_id"]): entry["report"] for _, entry in self.entries("done")}
