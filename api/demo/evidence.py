"""What the proofs go by: the database, the terminals' books, the service's answers, the logs."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, LiteralString, TypeAlias
from uuid import UUID

import psycopg
from forex_agent.simulated import BookState
from forex_agent.terminal import Deal
from psycopg.rows import class_row

from api import models
from api.demo.alerts import Posted
from api.demo.orders import Placed
from api.demo.watch import Watcher
from api.demo.world import Agent

LOOK = Path(__file__).with_name("look.sql")
_DEALS: LiteralString = """
select t.deal_id, t.event, t.detail ->> 'reason' as reason from public.trade_events t
where t.broker_connection_id = %s and t.deal_id is not null"""
_PNL: LiteralString = (
    "select p.day, p.realized_pnl from public.daily_pnl p where p.broker_connection_id = %s"
)
_AMID: LiteralString = """
select count(*) filter (where old), count(*) filter (where not old)
from public.jobs j
cross join lateral (
    select j.started_at < clock_timestamp() - make_interval(secs => %s) as old) o
where j.agent_id = %s and j.job_type = 'trade' and j.status = 'running'"""

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
    parent_id: UUID | None
    created_at: float
    claimed_at: float | None
    started_at: float | None
    finished_at: float | None
    settled_status: str | None
    settle_error: str | None
    parent_state: str | None
    parent_error: str | None
    order_status: str | None
    deal_id: str | None
    fill_price: float | None
    filled_volume: float | None
    events: list[str]

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.finished_at is not None

    @property
    def comment(self) -> str:
        """What its order is known by at the broker."""
        return base64.b32encode(self.job_id.bytes).decode().rstrip("=")


def look(conn: Conn, users: Sequence[UUID]) -> dict[UUID, Job]:
    """Return the users' jobs as they stand now."""
    with conn.cursor(row_factory=class_row(Job)) as cursor:
        cursor.execute(LOOK.read_bytes(), (list(users),))
        return {job.job_id: job for job in cursor.fetchall()}


def amid(conn: Conn, agent_id: UUID, seconds: float) -> tuple[int, int]:
    """Return how many orders the agent has begun and not reported: so long ago, and since."""
    row = conn.execute(_AMID, (seconds, agent_id)).fetchone()
    assert row is not None
    return row[0], row[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A broker account at the end, by its terminal's own book and by the service.

    `deals` has event and reason of every deal that the service knows, `pnl` what it counts per day;
    `positions` and `balance` are what it answered.
    """

    agent: Agent
    book: BookState
    deals: Mapping[str, tuple[str, str | None]]
    pnl: Mapping[str, Decimal]
    positions: list[dict[str, Any]]
    balance: dict[str, Any]


def known_deals(conn: Conn, agent: Agent) -> dict[str, tuple[str, str | None]]:
    """Return event and reason of each deal of the account that the service knows."""
    rows = conn.execute(_DEALS, (agent.broker_connection_id,)).fetchall()
    return {deal_id: (event, reason) for deal_id, event, reason in rows}


def daily_pnl(conn: Conn, agent: Agent) -> dict[str, Decimal]:
    """Return what the account has earned, by day."""
    rows = conn.execute(_PNL, (agent.broker_connection_id,)).fetchall()
    return {day.isoformat(): amount for day, amount in rows}


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to all, in seconds since 1970."""

    at: float
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything that a run left behind.

    `created` are the jobs that the service said it took, `jobs` those of the database at the end,
    each with its parent as it was when the job's end was first seen. `kills` counts who was killed
    while so many orders were under way; nobody before `quiet_until`. `signals` are the users' as
    the service has them, `strangers` is how many there are of alerts with nobody's secret.
    """

    accounts: Sequence[Account]
    created: set[UUID]
    jobs: Mapping[UUID, Job]
    placed: Sequence[Placed]
    posted: Sequence[Posted]
    signals: Sequence[models.Signal]
    strangers: int
    watchers: Sequence[Watcher]
    events: Sequence[Event]
    quiet_until: float
    kills: Mapping[str, int]
    caches: Sequence[str]
    logs: str
    secrets: Sequence[str]

    @property
    def agents(self) -> list[Agent]:
        """The agents, in their order."""
        return [account.agent for account in self.accounts]

    def filled_at(self, job: Job) -> float:
        """Return when the terminal's book has the order's deal; its end where it has none."""
        times = (deal.time.timestamp() for _, deal in self.deals() if deal.comment == job.comment)
        return next(times, job.finished_at or 0.0)

    def followed(self) -> list[tuple[Posted, models.Signal | None]]:
        """Return each alert with its signal; of those that say the same each has its own."""
        left = sorted(self.signals, key=lambda signal: signal.received_at)
        found: list[tuple[Posted, models.Signal | None]] = []
        for posted in self.posted:
            said = posted.alert.payload
            signal = next((one for one in left if one.raw_payload == said), None)
            if signal is not None:
                left.remove(signal)
            found.append((posted, signal))
        return found

    def orders(self) -> dict[str, Job]:
        """Return the orders by the comment that they have at the broker."""
        kinds = {"trade", "close_position"}
        return {job.comment: job for job in self.jobs.values() if job.job_type in kinds}

    def deals(self) -> Iterator[tuple[Agent, Deal]]:
        """Return every deal of the terminals' own books."""
        for account in self.accounts:
            for deal in account.book.deals:
                yield account.agent, deal
