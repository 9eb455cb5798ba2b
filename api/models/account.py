"""The user's broker accounts, profile and limits."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, WithJsonSchema

from api.models.base import Answer, Body, Changes, Json, Number, Title, Volume


class NewConnection(Changes):
    """A broker account."""

    name: Title
    broker: Title | None = None
    server: Title | None = None
    login: Title | None = None
    account_currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] | None = None
    account_mode: Literal["demo", "real", "contest"] | None = None
    margin_mode: Literal["hedging", "netting"] | None = None
    is_default: bool | None = None
    symbol_map: dict[str, str] | None = None
    symbol_suffix: Annotated[str, Field(max_length=20)] | None = None


class ConnectionChanges(Changes):
    """What to change of a broker account; null clears a field that may be empty."""

    name: Title = ""
    broker: Title | None = None
    server: Title | None = None
    login: Title | None = None
    account_currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] | None = None
    account_mode: Literal["demo", "real", "contest"] | None = None
    margin_mode: Literal["hedging", "netting"] | None = None
    is_default: Literal[True] = True
    symbol_map: dict[str, str] = Field(default_factory=dict)
    symbol_suffix: Annotated[str, Field(max_length=20)] | None = None


class Connection(Answer):
    """A broker account; one of a user's is the default."""

    id: UUID
    name: str | None
    broker: str | None
    server: str | None
    login: str | None
    account_currency: str | None
    account_mode: str | None
    margin_mode: str | None
    is_default: bool
    status: str | None
    symbol_map: Json | None
    symbol_suffix: str | None
    last_balance: Number | None
    last_equity: Number | None
    snapshot_at: datetime | None
    created_at: datetime
    updated_at: datetime


Percent = Annotated[
    Decimal,
    Field(ge=Decimal("0.01"), le=100, decimal_places=2, allow_inf_nan=False),
    WithJsonSchema({"type": "number", "minimum": 0.01, "maximum": 100}),
]
Count = Annotated[int, Field(ge=1, le=1_000_000)]


class SettingsChanges(Changes):
    """What to change of the settings; null clears a limit."""

    display_name: Annotated[str, Field(max_length=100)] | None = None
    timezone: Annotated[str, Field(min_length=1, max_length=64)] = "UTC"
    daily_loss_limit_pct: Percent | None = None
    risk_per_trade_pct: Percent | None = None
    max_volume: Volume | None = None
    max_open_positions: Count | None = None
    max_orders_per_minute: Count | None = None
    default_volume: Volume | None = None
    trading_state: Literal["active", "reducing", "halted"] = "active"


class Settings(Answer):
    """The user's profile and limits."""

    user_id: UUID
    email: str | None
    display_name: str | None
    timezone: str | None
    onboarding_completed_at: datetime | None
    disclaimer_accepted_at: datetime | None
    daily_loss_limit_pct: Number | None
    risk_per_trade_pct: Number | None
    max_volume: Number | None
    max_open_positions: int | None
    max_orders_per_minute: int | None
    default_volume: Number | None
    trading_state: str
    updated_at: datetime | None


class Onboarding(Body):
    """Nothing has to be said: to call it accepts the disclaimer."""
