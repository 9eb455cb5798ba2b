"""Strategies, their signals, and the kill switch."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, TypeAlias
from uuid import UUID

from pydantic import Field, IPvAnyNetwork, JsonValue

from api.models.account import Percent
from api.models.base import (
    Answer,
    Body,
    Changes,
    Json,
    Limit,
    Number,
    Query,
    Title,
    Volume,
)

SignalStatus: TypeAlias = Literal["pending", "executed", "failed", "discarded"]
Pairs = Annotated[list[Annotated[str, Field(min_length=1, max_length=50)]], Field(max_length=200)]
Sources = Annotated[list[IPvAnyNetwork], Field(max_length=200)]
Age = Annotated[int, Field(ge=0, le=31_536_000)]
Window = Annotated[int, Field(ge=1, le=86_400)]


class StrategyChanges(Changes):
    """What to change of a strategy; null clears a field that may be empty."""

    name: Title = ""
    broker_connection_id: UUID | None = None
    risk_override_pct: Percent | None = None
    allowed_pairs: Pairs | None = None
    is_enabled: bool = True
    default_volume: Volume | None = None
    expires_in: Age = 300
    dedup_enabled: bool = True
    dedup_seconds: Window = 20
    allowed_sources: Sources | None = None


class NewStrategy(StrategyChanges):
    """A strategy; without an account it trades on the default one."""

    name: Title


class NewWebhook(Answer):
    """Where TradingView sends the alerts: shown this once. The former address works until then."""

    strategy_id: UUID
    webhook_url: str
    magic: int
    overlap_until: datetime | None


class RotateSecret(Body):
    """How long the former address works on."""

    overlap_seconds: Annotated[int, Field(ge=0, le=604_800)] = 86_400


class Strategy(Answer):
    """A strategy and what became of its alerts; of its secret the first four characters."""

    id: UUID
    name: str
    broker_connection_id: UUID | None
    is_enabled: bool
    risk_override_pct: Number | None
    allowed_pairs: list[str] | None
    default_volume: Number | None
    expires_in: int
    dedup_enabled: bool
    dedup_seconds: int
    allowed_sources: list[str] | None
    magic: int
    secret_prefix: str
    secret_rotated_at: datetime | None
    previous_secret_until: datetime | None
    signals: int
    executed: int
    failed: int
    discarded: int
    pending: int
    last_signal_at: datetime | None
    created_at: datetime
    updated_at: datetime


class TestAlert(Body):
    """An alert as TradingView would send it; a dry run leaves no signal and no order."""

    __test__ = False

    message: Json | Annotated[str, Field(max_length=65_536)]
    dry_run: bool = True


class Tested(Answer):
    """What was decided, or would have been; `job_input`: the order that an agent gets."""

    signal_id: UUID | None
    status: SignalStatus
    error_message: str | None
    reason: str | None
    job_input: Json | None


class Signal(Answer):
    """An alert, what it became and why; `*_ms` from each hop to the next, `total_ms` all of it."""

    id: UUID
    strategy_id: UUID | None
    strategy_name: str | None
    symbol: str | None
    action: str | None
    volume: Number | None
    price: Number | None
    status: SignalStatus
    fill_price: Number | None
    broker_order_id: str | None
    error_message: str | None
    reason: str | None
    raw_payload: JsonValue
    job_id: UUID | None
    created_at: datetime
    received_at: datetime
    decided_at: datetime | None
    claimed_at: datetime | None
    sent_at: datetime | None
    filled_at: datetime | None
    resolved_at: datetime | None
    decided_ms: Number | None
    claimed_ms: Number | None
    sent_ms: Number | None
    filled_ms: Number | None
    total_ms: Number | None


class KillSwitch(Body):
    """`halted` and `reducing` open nothing; `close_all` closes the positions on record."""

    state: Literal["active", "reducing", "halted"] = "halted"
    cancel_pending: bool = True
    close_all: bool = False


class Killed(Answer):
    """The state now, how many waiting orders were cancelled, how many positions are closing."""

    trading_state: Literal["active", "reducing", "halted"]
    cancelled: int
    closing: int


Offset = Annotated[int, Field(ge=0, le=1_000_000_000)]


class OffsetPage(Query):
    """So many from the `offset`-th on."""

    limit: Limit = 50
    offset: Offset = 0


class SignalPage(OffsetPage):
    """The signals of one strategy, of one status, or all of them."""

    strategy_id: UUID | None = None
    status: SignalStatus | None = None
