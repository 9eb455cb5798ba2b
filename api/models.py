"""What goes over the wire: requests are checked by these models, answers have exactly their shape.

Names are snake_case, times RFC 3339 in UTC, numbers JSON numbers that kept every digit of NUMERIC.
A model of rows has the names of its SQL function's columns; columns that it does not name stay
inside.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Literal, TypeAlias
from uuid import UUID

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    IPvAnyNetwork,
    JsonValue,
    WithJsonSchema,
)

LONGEST_TEXT = 10_000  # characters

Number = Annotated[Decimal, WithJsonSchema({"type": "number"})]
Json: TypeAlias = dict[str, JsonValue]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Title = Annotated[str, Field(min_length=1, max_length=100)]
# A compiler's log may be longer: what the engine keeps of it is better than no report at all.
Text = Annotated[str, AfterValidator(lambda text: text[:LONGEST_TEXT])]
Epoch = Annotated[int, Field(ge=0, le=2**31 - 1)]
JobStatus: TypeAlias = Literal[
    "pending", "claimed", "running", "completed", "failed", "cancelled", "expired", "unknown"
]
Liveness: TypeAlias = Literal["online", "degraded", "offline"]


class Body(BaseModel):
    """A request's body; a field that is not known is ignored, as agents of all ages call."""


class Changes(BaseModel):
    """A request's body that changes what it names; a field that is not known is refused."""

    model_config = ConfigDict(extra="forbid")


class Answer(BaseModel):
    """An answer."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)


# Agents


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
    metrics: Json = {}
    version: Annotated[str, Field(max_length=100)] | None = None


class HeartbeatAnswer(Answer):
    """What the agent has to know; `config` only where it changed."""

    acknowledged: Literal[True]
    config: Json | None
    config_version: int | None
    heartbeat_seconds: int
    trading_state: str | None


class Price(Body):
    """Bid and ask of one instrument."""

    bid: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    ask: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Received(Answer):
    """How many instruments were taken."""

    received: int


# The agent's jobs


class NoJobs(Answer):
    """Nothing to do."""

    no_jobs: Literal[True] = True


class AgentJob(Answer):
    """A job to do, held until `lease_expires_at`; `type` and `payload` repeat the two before."""

    job_id: UUID
    job_type: str
    type: str
    input_data: JsonValue
    payload: JsonValue
    status: Literal["claimed", "running"]
    attempt: int
    lease_epoch: int
    lease_seconds: float
    lease_expires_at: datetime
    expires_at: datetime | None
    created_at: datetime


class Held(Body):
    """The lease that is spoken of; without an epoch, the one that this agent holds."""

    lease_epoch: Epoch | None = None


class Extend(Held):
    """Keep the lease, by its own length or so many seconds from now."""

    seconds: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] | None = None


class Result(Held):
    """What became of the job.

    `failed` is final. With `output_data.outcome` = "unknown" nobody can say whether it was done.
    """

    status: Literal["completed", "failed"]
    output_data: Json | None = None
    error_message: Text | None = None


class Started(Answer):
    """The job is running; `repeated`: it was before this call, and may have been done."""

    job_id: UUID
    status: Literal["running"]
    lease_epoch: int
    lease_expires_at: datetime | None
    repeated: bool


class Extended(Answer):
    """The lease's new end; with `cancel_requested`, stop and report."""

    job_id: UUID
    lease_epoch: int
    lease_expires_at: datetime | None
    cancel_requested: bool
    cancel_reason: str | None


class Acknowledged(Answer):
    """Taken note of."""

    acknowledged: Literal[True] = True


# The owner's jobs


class NewJob(Body):
    """A job of the nine types, for an agent, a broker connection or whoever comes first."""

    job_type: Name
    input_data: Json = {}
    agent_id: UUID | None = None
    broker_connection_id: UUID | None = None
    parent_type: Name | None = None
    parent_id: UUID | None = None
    dedup_key: Name | None = None
    live_key: Name | None = None
    expires_in: Annotated[float, Field(ge=0, le=31_536_000, allow_inf_nan=False)] | None = None


class Created(Answer):
    """The job's id; `duplicate`: the first job of the same key."""

    job_id: UUID
    verdict: Literal["ok", "duplicate"]
    queue: str


class Job(Answer):
    """A job and where it stands."""

    id: UUID
    job_type: str
    status: JobStatus
    agent_id: UUID | None
    broker_connection_id: UUID | None
    parent_type: str | None
    parent_id: UUID | None
    queue: str
    priority: int
    input_data: JsonValue
    output_data: JsonValue
    error_code: str | None
    error_message: str | None
    cancel_reason: str | None
    attempt: int
    max_attempts: int
    lease_epoch: int
    created_at: datetime
    run_at: datetime | None
    expires_at: datetime | None
    claimed_at: datetime | None
    started_at: datetime | None
    lease_expires_at: datetime | None
    finished_at: datetime | None


class CancelJob(Body):
    """Why."""

    reason: Annotated[str, Field(min_length=1, max_length=200)] | None = None


class Cancelled(Answer):
    """The job's status now; `running`: its agent is asked to stop."""

    job_id: UUID
    status: JobStatus | None
    verdict: Literal["ok", "duplicate"]


# The owner's account


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
    symbol_map: dict[str, str] = {}
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
Volume = Annotated[
    Decimal,
    Field(gt=0, le=99_999_999_999, decimal_places=8, allow_inf_nan=False),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "maximum": 99_999_999_999}),
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


# Strategies and signals

SignalStatus: TypeAlias = Literal["pending", "executed", "failed", "discarded"]
Pairs = Annotated[list[Annotated[str, Field(min_length=1, max_length=50)]], Field(max_length=200)]
Sources = Annotated[list[IPvAnyNetwork], Field(max_length=200)]
Seconds = Annotated[int, Field(ge=0, le=31_536_000)]
Window = Annotated[int, Field(ge=1, le=86_400)]


class StrategyChanges(Changes):
    """What to change of a strategy; null clears a field that may be empty."""

    name: Title = ""
    broker_connection_id: UUID | None = None
    risk_override_pct: Percent | None = None
    allowed_pairs: Pairs | None = None
    is_enabled: bool = True
    default_volume: Volume | None = None
    expires_in: Seconds = 300
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


# The service itself


class Health(Answer):
    """The process serves."""

    status: Literal["ok"] = "ok"


class Ready(Answer):
    """The database answers; without the price store, agents work on and /prices refuses."""

    status: Literal["ok"] = "ok"
    redis: Literal["ok", "unavailable"]


class FieldError(Answer):
    """One value that breaks a rule."""

    field: str
    rule: str


class ProblemBody(Answer):
    """RFC 9457; `detail` and `code` are the short code; `errors` where values are named."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=False)

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[FieldError] = []


# Queries


class Query(BaseModel):
    """A request's query; unknown names are ignored."""


class NextQuery(Query):
    """`wait` up to 30 seconds for a job; `ack=1`: it is begun by a call of `start`.

    The same `request_id` gets the same job again while its lease lasts.
    """

    wait: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0
    ack: bool = False
    request_id: UUID | None = None


Limit = Annotated[int, Field(ge=1, le=200)]


Offset = Annotated[int, Field(ge=0, le=1_000_000_000)]


class OffsetPage(Query):
    """So many from the `offset`-th on."""

    limit: Limit = 50
    offset: Offset = 0


class SignalPage(OffsetPage):
    """The signals of one strategy, of one status, or all of them."""

    strategy_id: UUID | None = None
    status: SignalStatus | None = None


class AgentPage(Query):
    """The page after the agent that was made at `before` and has the id `before_id`."""

    before: datetime | None = None
    before_id: UUID | None = None
    limit: Limit = 50


class JobPage(Query):
    """The page of jobs before the job of that id."""

    status: JobStatus | None = None
    job_type: Name | None = None
    before: UUID | None = None
    limit: Limit = 50


def plain(value: object) -> object:
    """Return what JSON can hold for a value that orjson does not know: every digit of a Decimal."""
    if isinstance(value, Decimal):
        return orjson.Fragment(format(value, "f").encode())
    if isinstance(value, IPv4Network | IPv6Network):
        return str(value)
    raise TypeError(f"not JSON: {type(value).__name__}")
