"""What the agent asks of a terminal, whichever it is.

Two drivers implement `Terminal`: `forex_agent.mt5` and `forex_agent.simulated`. All calls are made
by one thread, as the real package allows no other, and each may take long or hang: whoever calls
has a time limit of its own.

Prices, volumes and money are `Decimal`; a time is aware and in UTC. Tickets are strings, as they
are on the wire.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal, Protocol, TypeAlias

Side: TypeAlias = Literal["buy", "sell"]
Entry: TypeAlias = Literal["in", "out", "inout", "out_by"]
Reason: TypeAlias = Literal["client", "expert", "sl", "tp", "stop_out", "other"]


class TerminalError(Exception):
    """The terminal did not do it; the subclass says what that means for an order."""


class NotSent(TerminalError):
    """Nothing has reached the broker: no connection, a hung terminal, an unknown symbol."""

    def __init__(self, code: str, message: str) -> None:
        """`code` is short and for programs: such as `disconnected`, `unknown_symbol`."""
        super().__init__(message)
        self.code = code


class Rejected(TerminalError):
    """A definitive no of the broker or the terminal: nothing was done, nothing will be.

    `requote` says that the price had moved: the same order may be sent again with a fresh one.
    """

    def __init__(
        self, code: str, message: str, *, retcode: int, retcode_name: str, requote: bool = False
    ) -> None:
        """`code` is short and for programs: `no_money`, `trade_disabled`, `position_not_found`."""
        super().__init__(message)
        self.code = code
        self.retcode = retcode
        self.retcode_name = retcode_name
        self.requote = requote


class Unknown(TerminalError):
    """Nobody can say yet whether the broker did it: never send again, look for traces (`find`)."""

    def __init__(self, message: str, *, retcode: int | None = None) -> None:
        super().__init__(message)
        self.retcode = retcode


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How the terminal is; `trade_allowed` is false where AutoTrading is off."""

    connected: bool
    trade_allowed: bool
    login: str
    server: str
    ping_ms: float | None
    platform: Literal["mt5", "simulated"]
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The account's money, in `currency`."""

    balance: Decimal
    equity: Decimal
    margin_used: Decimal
    margin_available: Decimal
    currency: str
    leverage: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Symbol:
    """What may be traded, and how.

    `fillings` are the filling modes that the symbol allows, the preferred first; `stops_level` is
    the least distance of SL and TP from the price, in points.
    """

    name: str
    digits: int
    point: Decimal
    volume_min: Decimal
    volume_max: Decimal
    volume_step: Decimal
    contract_size: Decimal
    stops_level: int
    fillings: Sequence[Literal["fok", "ioc", "return"]]
    trade_allowed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A price; `at` is the terminal's word for when."""

    symbol: str
    bid: Decimal
    ask: Decimal
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Candle:
    """A bar that began at `time`; the last of a list is the one that is being made."""

    time: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """An open position."""

    ticket: str
    symbol: str
    side: Side
    volume: Decimal
    open_price: Decimal
    current_price: Decimal
    sl: Decimal | None
    tp: Decimal | None
    profit: Decimal
    swap: Decimal
    open_time: datetime
    magic: int
    comment: str


def _no_look() -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A market order; `comment` is the trace by which it is found again, `deviation` in points.

    A driver calls `last_look` right before the order goes to the broker: it raises `NotSent` where
    that must not be any more, as what comes before may have hung for minutes.
    """

    symbol: str
    side: Side
    volume: Decimal
    sl: Decimal | None = None
    tp: Decimal | None = None
    magic: int = 0
    comment: str = ""
    deviation: int = 20
    last_look: Callable[[], None] = field(default=_no_look, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """Closes a position, wholly where `volume` is None; `last_look` as an order's."""

    ticket: str
    volume: Decimal | None = None
    comment: str = ""
    deviation: int = 20
    last_look: Callable[[], None] = field(default=_no_look, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """What became of an order: `volume` may be less than what was asked for (`retcode` 10010).

    `pnl`, `commission` and `swap` are those of its deal; `pnl` is zero for one that opens.
    """

    order_id: str
    deal_id: str
    position_id: str
    symbol: str
    side: Side
    volume: Decimal
    price: Decimal
    pnl: Decimal
    commission: Decimal
    swap: Decimal
    retcode: int
    retcode_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Deal:
    """A deal of the account's history. `side` is the deal's own: a buy is closed by a sell."""

    deal_id: str
    order_id: str
    position_id: str
    symbol: str
    side: Side
    entry: Entry
    volume: Decimal
    price: Decimal
    profit: Decimal
    commission: Decimal
    swap: Decimal
    magic: int
    comment: str
    reason: Reason
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What the terminal knows of an order: its deals, or that it is still at the broker.

    `sure` is false where the comment was lost and the deal only fits in everything else.
    """

    deals: Sequence[Deal]
    open: bool
    sure: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """A compiler's result: `program` is the .ex5, None where `errors` is above zero."""

    program: bytes | None
    errors: int
    warnings: int
    log: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """An expert advisor on a chart; `inputs` are its parameters."""

    expert: str
    symbol: str
    timeframe: str
    inputs: Mapping[str, str | float | bool]
    magic: int = 0


class Terminal(Protocol):
    """One account. Every method may raise `NotSent`; what else it raises, it says."""

    def connect(self) -> None:
        """Find the terminal and log in; may be called again after a failure."""

    def close(self) -> None:
        """Let go of the terminal; it goes on without us."""

    def status(self) -> Status:
        """Tell how the terminal is; never raises, a terminal that is away is not connected."""

    def account(self) -> Account:
        """Return the account's money now."""

    def symbol(self, name: str) -> Symbol:
        """Return the symbol's rules; `NotSent` (`unknown_symbol`) where there is none."""

    def ticks(self, symbols: Sequence[str]) -> Mapping[str, Tick]:
        """Return the newest price of each symbol that has one."""

    def candles(self, symbol: str, timeframe: str, count: int) -> Sequence[Candle]:
        """Return the last bars, oldest first; timeframes are those of MetaTrader: M1 … MN1."""

    def positions(self) -> Sequence[Position]:
        """Return the open positions."""

    def send(self, order: Order) -> Fill:
        """Send a market order once; raises `Rejected` or `Unknown`."""

    def close_position(self, close: Close) -> Fill:
        """Close a position, wholly or in part; raises `Rejected` or `Unknown`."""

    def find(self, comment: str, since: datetime) -> Trace:
        """Look for an order by its comment, among open orders and deals."""

    def deals(self, since: datetime) -> Sequence[Deal]:
        """Return the deals from that time on, oldest first."""


class Experts(Protocol):
    """Expert advisors on the terminal's machine; apart from prices and orders, and slow.

    Not called by the terminal's thread. Every method may raise `NotSent`.
    """

    def compile(self, name: str, source: bytes) -> Compiled:
        """Compile MQL5 source."""

    def deploy(self, name: str, program: bytes) -> None:
        """Put a compiled program where the terminal finds it."""

    def run(self, chart: Chart) -> None:
        """Start the program on a chart."""

    def stop(self, chart: Chart) -> None:
        """Take the program off its chart; no error where it is not there."""

    def active(self) -> int:
        """Return how many run."""
