"""The simulated terminal: `forex_agent.terminal.Terminal` over a market and a book."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from forex_agent import retcodes
from forex_agent.simulated.book import Book
from forex_agent.simulated.broker import Broker, Terms, closing, opening
from forex_agent.simulated.candles import MAX_COUNT, candles
from forex_agent.simulated.clock import Clock, LiveClock, from_ms, to_ms
from forex_agent.simulated.faults import KINDS, Fault, Faults, Kind
from forex_agent.simulated.market import Market
from forex_agent.simulated.passing import Passage
from forex_agent.simulated.symbols import Spec
from forex_agent.simulated.timeframes import TIMEFRAMES
from forex_agent.terminal import (
    Account,
    Candle,
    Close,
    Deal,
    Fill,
    NotSent,
    Order,
    Position,
    Status,
    Symbol,
    Tick,
    Trace,
    Unknown,
)

_COMMENT_LENGTH = 31
_SESSION_FAULTS: tuple[Kind, ...] = ("disconnect", "restart")
_WAITS: tuple[Kind, ...] = ("hang", "slow")


@dataclass(frozen=True, slots=True)
class _Session:
    book: Book
    broker: Broker
    passage: Passage


@dataclass(frozen=True, slots=True)
class _Request:
    """A trade: how it is done at once (with a part of the volume), and how it is only placed."""

    comment: str
    last_look: Callable[[], None]
    fill: Callable[[_Session, int, Decimal | None], Fill]
    place: Callable[[_Session, int, int], object]


class SimulatedTerminal:
    """A hedging account at a simulated broker, kept in the SQLite file `path`.

    A book that exists keeps its own currency, leverage and money; `deposit`, `currency` and
    `leverage` are for a new one. Nothing happens between calls: each first brings the account up
    to the clock's time. One thread at a time.
    """

    def __init__(
        self,
        path: Path,
        market: Market,
        *,
        clock: Clock | None = None,
        faults: Faults | None = None,
        terms: Terms | None = None,
        deposit: Decimal = Decimal(10_000),
        currency: str = "USD",
        leverage: int = 100,
        login: str = "5000001",
        server: str = "Simulated-Demo",
    ) -> None:
        """Open nothing yet: `connect` does."""
        self._path = path
        self._market = market
        self._clock = clock or LiveClock()
        self._faults = faults or Faults()
        self._terms = terms or Terms()
        self._deposit, self._currency, self._leverage = deposit, currency, leverage
        self._login, self._server = login, server
        self._session: _Session | None = None
        self._away_until = 0
        self._tries: Counter[str] = Counter()

    def connect(self) -> None:
        """Open the book, made where it is missing; `NotSent` while a `disconnect` lasts."""
        self.close()
        if self._clock.now() < self._away_until:
            raise _away()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        session = self._opened(Book(self._path))
        if _cut_off(session.book):
            session.book.close()
            raise _away()
        self._session = session

    def _opened(self, book: Book) -> _Session:
        book.open_account(self._currency, self._leverage, self._deposit)
        broker = Broker(book, self._market, self._terms)
        return _Session(book, broker, Passage(book, self._market, self._terms, broker))

    def close(self) -> None:
        """Let go of the book."""
        if self._session is not None:
            self._session.book.close()
            self._session = None

    def status(self) -> Status:
        """Tell how the terminal is."""
        connected, allowed = self._condition()
        return Status(
            connected=connected,
            trade_allowed=allowed,
            login=self._login,
            server=self._server,
            ping_ms=0.0 if connected else None,
            platform="simulated",
            version="1",
        )

    def _condition(self) -> tuple[bool, bool]:
        """Return whether we are connected and whether AutoTrading is on."""
        if self._session is None or self._clock.now() < self._away_until:
            return False, False
        try:
            on = {row["kind"] for row in self._session.book.switches()}
        except sqlite3.Error:
            return False, False
        return not on.intersection(_SESSION_FAULTS), "autotrading_off" not in on

    def account(self) -> Account:
        """Return the account's money now."""
        session = self._present()
        return session.broker.account(self._clock.now())

    def symbol(self, name: str) -> Symbol:
        """Return the symbol's rules; `NotSent` (`unknown_symbol`) where there is none."""
        self._reach()
        return self._spec(name).rules()

    def ticks(self, symbols: Sequence[str]) -> Mapping[str, Tick]:
        """Return the newest price of each symbol that has one."""
        self._present()
        now = self._clock.now()
        found = (self._tick(name, now) for name in symbols)
        return {tick.symbol: tick for tick in found if tick is not None}

    def _tick(self, name: str, now: int) -> Tick | None:
        spec = self._market.specs.get(name)
        quote = self._market.quote(name, now) if spec is not None else None
        if spec is None or quote is None:
            return None
        bid, ask = spec.decimal(quote.bid), spec.decimal(quote.ask)
        return Tick(symbol=name, bid=bid, ask=ask, at=from_ms(quote.at))

    def candles(self, symbol: str, timeframe: str, count: int) -> Sequence[Candle]:
        """Return the last bars; `NotSent` (`invalid_input`) for a wrong timeframe or count."""
        self._reach()
        self._spec(symbol)
        if timeframe not in TIMEFRAMES:
            raise NotSent("invalid_input", f"timeframe: one of {', '.join(TIMEFRAMES)}")
        if not 1 <= count <= MAX_COUNT:
            raise NotSent("invalid_input", f"count: 1 to {MAX_COUNT}")
        return candles(self._market, symbol, timeframe, count, self._clock.now())

    def positions(self) -> Sequence[Position]:
        """Return the open positions at the prices of now."""
        session = self._present()
        return session.broker.positions(self._clock.now())

    def send(self, order: Order) -> Fill:
        """Send a market order once; raises `Rejected` or `Unknown`."""
        self._spec(order.symbol)
        return self._trade(
            _Request(
                order.comment,
                order.last_look,
                lambda session, now, part: session.broker.open(order, now, fraction=part),
                lambda session, now, due: session.book.add_order(
                    opening(order, now, due), Decimal(0)
                ),
            )
        )

    def close_position(self, close: Close) -> Fill:
        """Close a position, wholly or in part; raises `Rejected` or `Unknown`."""
        return self._trade(
            _Request(
                close.comment,
                close.last_look,
                lambda session, now, part: session.broker.close(close, now, fraction=part),
                lambda session, now, due: session.book.add_order(
                    closing(session.broker.held(close.ticket), close, now, due), Decimal(0)
                ),
            )
        )

    def find(self, comment: str, since: datetime) -> Trace:
        """Look for an order by its comment, among open orders and deals."""
        book = self._present().book
        return Trace(deals=book.deals_of(comment, to_ms(since)), open=book.placed(comment))

    def deals(self, since: datetime) -> Sequence[Deal]:
        """Return the deals from that time on, oldest first."""
        return self._present().book.deals(to_ms(since))

    def _spec(self, name: str) -> Spec:
        spec = self._market.specs.get(name)
        if spec is None:
            raise NotSent("unknown_symbol", f"symbol: the broker has no {name!r}")
        return spec

    def _present(self) -> _Session:
        """Return the session with the account brought up to now."""
        session = self._reach()
        with session.book.transaction():
            session.passage.until(self._clock.now())
        return session

    def _reach(self) -> _Session:
        """Return the session, after the faults that strike every call."""
        session = self._session
        if session is None or self._clock.now() < self._away_until:
            raise _away()
        for switch in session.book.switches():
            if switch["calls"] == "all" and session.book.spend(switch["kind"]):
                self._suffer(Fault(switch["kind"], switch["seconds"]))
        return session

    def _trade(self, request: _Request) -> Fill:
        session = self._reach()
        if len(request.comment) > _COMMENT_LENGTH:
            raise NotSent("invalid_input", f"comment: at most {_COMMENT_LENGTH} characters")
        request.last_look()
        fault = self._struck(session.book, request.comment)
        self._suffer(fault)
        fill = self._done(session, request, fault)
        if fill is None or _is(fault, "timeout_filled"):
            raise Unknown("no answer of the broker in time", retcode=retcodes.TIMEOUT)
        return fill

    def _done(self, session: _Session, request: _Request, fault: Fault | None) -> Fill | None:
        """Fill the request, or only place it (None); one transaction with all that it changes."""
        part = self._faults.fraction if _is(fault, "partial") else None
        now = self._clock.now()
        with session.book.transaction():
            session.passage.until(now)
            if fault is not None and fault.kind == "late_fill":
                request.place(session, now, now + round(fault.seconds * 1000))
                return None
            return request.fill(session, now, part)

    def _struck(self, book: Book, comment: str) -> Fault | None:
        """Return the fault that strikes this trade: a switch that is on, else the plan's."""
        on = {row["kind"]: row["seconds"] for row in book.switches() if row["calls"] == "trade"}
        for kind in KINDS:
            if kind in on and book.spend(kind):
                return Fault(kind, on[kind])
        self._tries[comment] += 1
        return self._faults.draw(comment, self._tries[comment])

    def _suffer(self, fault: Fault | None) -> None:
        """Let a fault strike before anything is done; those that come later do nothing yet."""
        if fault is None:
            return
        if fault.kind in _WAITS:
            self._clock.sleep(fault.seconds)
        elif fault.kind in _SESSION_FAULTS:
            self._drop(fault)
        elif fault.kind == "timeout_unfilled":
            raise Unknown("no answer of the broker in time", retcode=retcodes.TIMEOUT)
        elif fault.kind == "requote":
            raise retcodes.failure(retcodes.REQUOTE)
        elif fault.kind == "autotrading_off":
            raise retcodes.failure(retcodes.CLIENT_DISABLES_AT)

    def _drop(self, fault: Fault) -> None:
        """Lose the session: for a while, or until somebody connects again."""
        if fault.kind == "disconnect":
            self._away_until = self._clock.now() + round(fault.seconds * 1000)
        self.close()
        raise _away()


def _is(fault: Fault | None, kind: Kind) -> bool:
    return fault is not None and fault.kind == kind


def _away() -> NotSent:
    return NotSent("disconnected", "the terminal has no connection")


def _cut_off(book: Book) -> bool:
    """Tell whether a `disconnect` is switched on until it is cleared."""
    return any(row["kind"] == "disconnect" and row["remaining"] is None for row in book.switches())
