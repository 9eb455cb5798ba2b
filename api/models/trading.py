"""Orders, positions, the account and candles, and what agents say of them.

An agent's answer is checked by the model of the answer to the user: numbers may be quoted there,
tickets numbers, and what an agent does not know may be missing. What cannot be read is refused.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeAlias
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    Field,
    JsonValue,
    StringConstraints,
    WithJsonSchema,
)

from api.models.base import Answer, Body, Changes, Instrument, Limit, Number, Query, Seconds, Volume

LARGEST = 10**15
PLACES = Decimal("1e-8")  # as NUMERIC(20, 8)
LARGEST_64_BITS = 2**63 - 1
MOST_CANDLES = 5000
MOST_DEALS = 500


def _text(value: Any) -> Any:
    """Return a ticket as text: 64 bits are more than a number of JavaScript holds."""
    return str(value) if type(value) is int else value


def _rounded(number: Decimal) -> Decimal:
    """Return the number with 8 decimals at most; the noise of a program's floats is behind them."""
    exponent = number.as_tuple().exponent
    return number.quantize(PLACES) if isinstance(exponent, int) and exponent < -8 else number  # noqa: PLR2004


def _in_utc(at: datetime) -> datetime:
    return at if at.tzinfo else at.replace(tzinfo=UTC)


Level: TypeAlias = Volume  # a price of an order
Ticket = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
Said = Annotated[str, BeforeValidator(_text), Field(max_length=64)]
Amount = Annotated[
    Decimal,
    Field(ge=-LARGEST, le=LARGEST, allow_inf_nan=False),
    AfterValidator(_rounded),
    WithJsonSchema({"type": "number"}),
]
Traded = Annotated[
    Decimal,
    Field(gt=0, le=99_999_999_999, allow_inf_nan=False),
    AfterValidator(_rounded),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "maximum": 99_999_999_999}),
]
Paid = Annotated[  # oil has cost less than nothing
    Decimal,
    Field(ge=-99_999_999_999, le=99_999_999_999, allow_inf_nan=False),
    AfterValidator(_rounded),
    WithJsonSchema({"type": "number", "minimum": -99_999_999_999, "maximum": 99_999_999_999}),
]
Real = Annotated[float, Field(ge=-LARGEST, le=LARGEST, allow_inf_nan=False)]
Magic = Annotated[int, Field(ge=-LARGEST_64_BITS, le=LARGEST_64_BITS)]
Time = Annotated[datetime, AfterValidator(_in_utc)]
Side: TypeAlias = Literal["buy", "sell"]
ClientOrderId = Annotated[str, Field(min_length=1, max_length=48)]


# Orders


class NewOrder(Changes):
    """A market order; `expires_in` seconds (60) are what it may wait for its agent, 0: for ever.

    The same `client_order_id` never makes a second order, as the same header Idempotency-Key.
    """

    symbol: Instrument
    side: Side
    volume: Volume
    sl: Level | None = None
    tp: Level | None = None
    deviation: Annotated[int, Field(ge=0, le=100_000)] | None = None
    expires_in: Seconds | None = None
    broker_connection_id: UUID | None = None
    client_order_id: ClientOrderId | None = None


OrderStatus: TypeAlias = Literal[
    "pending",
    "claimed",
    "sent",
    "filled",
    "partially_filled",
    "closed",
    "rejected",
    "expired",
    "cancelled",
    "unknown",
]


class Order(Answer):
    """An order; `unknown`: nobody can say yet whether the broker has it.

    `late_deal_id`: a deal that the broker made of it after all, though it was rejected, cancelled
    or has expired.
    """

    order_id: UUID
    client_order_id: str | None
    kind: Literal["open", "close"]
    status: OrderStatus
    symbol: str | None
    side: str | None
    volume: Number | None
    filled_volume: Number | None
    sl: Number | None
    tp: Number | None
    fill_price: Number | None
    pnl: Number | None
    broker_order_id: str | None
    position_id: str | None
    deal_id: str | None
    retcode: int | None
    retcode_name: str | None
    error_code: str | None
    message: str | None
    broker_connection_id: UUID | None
    agent_id: UUID | None
    source: str | None
    created_at: datetime
    claimed_at: datetime | None
    sent_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None
    late_deal_id: str | None = None


class OrderEvent(Answer):
    """What happened to an order, and when."""

    event: str
    occurred_at: datetime
    actor: str | None
    agent_id: UUID | None
    volume: Number | None
    price: Number | None
    broker_order_id: str | None
    deal_id: str | None
    position_id: str | None
    realized_pnl: Number | None
    commission: Number | None
    swap: Number | None
    retcode: int | None
    detail: JsonValue


class OrderWithEvents(Order):
    """An order and its events, oldest first."""

    events: list[OrderEvent]


class ClosedPosition(Order):
    """The order that closes a position; `pnl` is what the part that was closed has earned."""

    ticket: str
    closed_price: Number | None


class OrderPage(Query):
    """The page of orders before the order of that id."""

    client_order_id: ClientOrderId | None = None
    status: OrderStatus | None = None
    before: UUID | None = None
    limit: Limit = 50


# What the terminal says


class Account(Query):
    """Which of the user's accounts; without one, the default."""

    broker_connection_id: UUID | None = None


class Closing(Account):
    """How much of the position to close; without a volume, all of it."""

    volume: Volume | None = None


class Position(Answer):
    """An open position."""

    ticket: Said
    symbol: str
    side: Side
    volume: Amount
    open_price: Amount
    current_price: Amount | None = None
    sl: Amount | None = None
    tp: Amount | None = None
    profit: Amount | None = None
    swap: Amount | None = None
    open_time: Time | None = None
    magic: Magic | None = None
    comment: str | None = None


class Positions(Body):
    """An agent's answer to get_positions."""

    positions: list[Position]


class Balance(Answer):
    """What the account holds, in its currency."""

    balance: Amount
    equity: Amount
    margin_used: Amount
    margin_available: Amount
    currency: str
    leverage: Amount


class Candle(Answer):
    """What a price did in one step of its timeframe, which began at `time` (Unix seconds)."""

    time: Annotated[int, Field(ge=0, le=2**53)]
    open: Real
    high: Real
    low: Real
    close: Real
    volume: Real


class Candles(Body):
    """An agent's answer to get_candles."""

    candles: list[Candle]


MINUTES = (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30)
HOURS = (1, 2, 3, 4, 6, 8, 12)
TIMEFRAMES = [*(f"M{n}" for n in MINUTES), *(f"H{n}" for n in HOURS), "D1", "W1", "MN1"]
ALIASES = {
    **{f"{n}m": f"M{n}" for n in MINUTES},
    **{f"{n}h": f"H{n}" for n in HOURS},
    "1d": "D1",
    "1w": "W1",
    "1mn": "MN1",
}


def _timeframe(text: str) -> str:
    found = ALIASES.get(text, text)
    if found not in TIMEFRAMES:
        raise ValueError(f"one of {', '.join(TIMEFRAMES)}, or as 1m, 1h, 1d, 1w, 1mn")
    return found


Timeframe = Annotated[
    str,
    AfterValidator(_timeframe),
    WithJsonSchema({"type": "string", "enum": [*TIMEFRAMES, *ALIASES]}),
]


class CandleQuery(Account):
    """How many candles, up to the newest."""

    timeframe: Timeframe = "M1"
    count: Annotated[int, Field(ge=1, le=MOST_CANDLES)] = 200


# What agents report of themselves


class Deal(Body):
    """A deal of the account's history, as the terminal has it, whatever its symbol is called."""

    deal_id: Annotated[Ticket, BeforeValidator(_text)]
    broker_order_id: Annotated[Ticket, BeforeValidator(_text)] | None = None
    position_id: Annotated[Ticket, BeforeValidator(_text)] | None = None
    symbol: Annotated[str, Field(min_length=1, max_length=64)]
    side: Side
    entry: Literal["in", "out", "inout", "out_by"]
    volume: Traded
    price: Paid
    profit: Amount = Decimal(0)
    commission: Amount = Decimal(0)
    swap: Amount = Decimal(0)
    magic: Magic = 0
    comment: Annotated[str, Field(max_length=200)] | None = None
    reason: Literal["client", "expert", "sl", "tp", "stop_out", "other"] = "other"
    time: AwareDatetime


class Snapshot(Body):
    """What the account holds now."""

    balance: Amount
    equity: Amount
    margin_used: Amount | None = None
    margin_available: Amount | None = None
    currency: Annotated[str, Field(max_length=20)] | None = None
    leverage: Amount | None = None


class Deals(Body):
    """Deals since the last report, and the account after them."""

    deals: Annotated[list[Deal], Field(max_length=MOST_DEALS)]
    account: Snapshot | None = None
    open_positions: Annotated[int, Field(ge=0, le=1_000_000)] | None = None


class DealsTaken(Answer):
    """How many deals came, were not known before, and settled an order that was `unknown`."""

    received: int
    new: int
    resolved: int
