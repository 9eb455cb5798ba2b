"""Agents: paired, listed, alive, and what they push."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from api.models.base import Answer, Body, Json, Limit, Liveness, Query, Title


class Pair(Body):
    """Who the new agent is, and the account that it works on."""

    name: Title
    broker_connection_id: UUID | None = None


class Paired(Answer):
    """The agent's id and its key, which is shown this once."""

    agent_id: UUID
    agent_key: str
    key_prefix: str


class Agent(Answer):
    """An agent as its owner sees it."""

    agent_id: UUID
    name: str
    broker_connection_id: UUID | None
    key_prefix: str | None
    platform: str | None
    agent_version: str | None
    is_connected: bool
    last_heartbeat: datetime | None
    last_seen_at: datetime | None
    status: Liveness
    metrics: Json | None
    config_version: int | None
    created_at: datetime
    revoked_at: datetime | None


class AgentStatus(Answer):
    """Whether an agent lives: online below 6 minutes of silence, degraded below 10."""

    agent_id: UUID
    is_connected: bool
    last_heartbeat: datetime | None
    last_seen_at: datetime | None
    status: Liveness
    metrics: Json | None


class Heartbeat(Body):
    """How the agent is."""

    status: Annotated[str, Field(max_length=100)] = "online"
    metrics: Json = Field(default_factory=dict)
    version: Annotated[str, Field(max_length=100)] | None = None


class HeartbeatAnswer(Answer):
    """What the agent has to know; `config` only where it changed.

    It beats every `heartbeat_seconds`, waits `poll_seconds` for a job and pushes prices every
    `price_seconds`.
    """

    acknowledged: Literal[True]
    config: Json | None
    config_version: int | None
    heartbeat_seconds: int
    poll_seconds: int = 25
    price_seconds: int = 1
    trading_state: str | None


class Price(Body):
    """Bid and ask of one instrument."""

    bid: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    ask: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Received(Answer):
    """How many instruments were taken, and which somebody watches now."""

    received: int
    subscriptions: list[str]


class AgentPage(Query):
    """The page after the agent that was made at `before` and has the id `before_id`."""

    before: datetime | None = None
    before_id: UUID | None = None
    limit: Limit = 50
