"""What the platform's functions say to the service itself; fields are their columns, in order."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Credentials:
    """How an agent's key is checked, and whose agent it is."""

    user_id: UUID
    broker_connection_id: UUID | None
    key_hash: str | None
    key_digest: bytes | None
    previous_key_hash: str | None
    previous_key_digest: bytes | None
    previous_key_until: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class AgentCredentials:
    """`Credentials` of one of several agents that were asked about; flat, as rows are."""

    agent_id: UUID
    user_id: UUID
    broker_connection_id: UUID | None
    key_hash: str | None
    key_digest: bytes | None
    previous_key_hash: str | None
    previous_key_digest: bytes | None
    previous_key_until: datetime | None
    revoked_at: datetime | None

    def credentials(self) -> Credentials:
        """Return what concerns this agent alone."""
        return Credentials(
            user_id=self.user_id,
            broker_connection_id=self.broker_connection_id,
            key_hash=self.key_hash,
            key_digest=self.key_digest,
            previous_key_hash=self.previous_key_hash,
            previous_key_digest=self.previous_key_digest,
            previous_key_until=self.previous_key_until,
            revoked_at=self.revoked_at,
        )


@dataclass(frozen=True, slots=True)
class UserWaiting:
    """A user who has a job that waits, and a queue in which one does."""

    user_id: UUID
    queue: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of an alert; all but `known` and `replayed` is null for a secret of nobody's."""

    known: bool
    strategy_id: UUID | None
    signal_id: UUID | None
    status: str | None
    error_message: str | None
    job_id: UUID | None
    replayed: bool


@dataclass(frozen=True, slots=True)
class AgentQueues:
    """Where an agent's jobs come from."""

    agent_id: UUID
    user_id: UUID
    queues: list[str]


@dataclass(frozen=True, slots=True)
class Ordered:
    """An order's job; `replayed`: the one of an earlier request with the same key."""

    job_id: UUID
    agent_id: UUID
    broker_connection_id: UUID
    replayed: bool


@dataclass(frozen=True, slots=True)
class Reading:
    """A read's job; `joined`: somebody else had asked the same."""

    job_id: UUID
    agent_id: UUID
    broker_connection_id: UUID
    joined: bool


@dataclass(frozen=True, slots=True)
class TradingAgent:
    """Whose prices and candles a user sees."""

    agent_id: UUID
    broker_connection_id: UUID | None
    is_connected: bool
