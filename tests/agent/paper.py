"""A terminal on paper: every call that sends is a line in a file, and so is every deal.

The file outlives the process that is killed. What goes wrong is told by `faults`, one word for
each sending call, in order; the rest is filled.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from forex_agent.drivers import Driver
from forex_agent.job import read_time, show_time
from forex_agent.terminal import (
    Account,
    Candle,
    Chart,
    Close,
    Compiled,
    Deal,
    Fill,
    NotSent,
    Order,
    Position,
    Rejected,
    Status,
    Symbol,
    Tick,
    Trace,
    Unknown,
)

PRICE = Decimal("1.08415")


@dataclass
class Paper:
    """One account; `calls` and `deals_made` are what the file has."""

    path: Path
    faults: list[str] = field(default_factory=list)
    prices: dict[str, Decimal] = field(default_factory=lambda: {"EURUSD": PRICE, "GBPUSD": PRICE})
    connected: bool = True
    trade_allowed: bool = True
    release: threading.Event = field(default_factory=threading.Event)
    """Ends every call that hangs."""
    hidden: bool = False
    """Whether deals cannot be found for now."""
    sure: bool = True
    """Whether a trace is one for certain."""
    ahead: timedelta = timedelta()
    """How far the broker's clock is ahead."""
    connects: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def driver(self) -> Driver:
        return Driver(lambda: self, PaperExperts())

    @property
    def lines(self) -> Sequence[Mapping[str, Any]]:
        if not self.path.exists():
            return []
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    @property
    def calls(self) -> Sequence[str]:
        """The comments of the orders that were sent, in order."""
        return [line["comment"] for line in self.lines if line["what"] == "call"]

    @property
    def deals_made(self) -> Sequence[Mapping[str, Any]]:
        return [line for line in self.lines if line["what"] == "deal"]

    def _write(self, line: Mapping[str, Any]) -> None:
        with self.lock, self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def connect(self) -> None:
        self.connects += 1
        if not self.connected:
            raise NotSent("disconnected", "no terminal")

    def close(self) -> None:
        pass

    def status(self) -> Status:
        return Status(
            connected=self.connected,
            trade_allowed=self.trade_allowed,
            login="7001",
            server="Paper",
            ping_ms=1.5,
            platform="simulated",
            version="1",
        )

    def account(self) -> Account:
        money = Decimal(10_000)
        return Account(
            balance=money,
            equity=money,
            margin_used=Decimal(),
            margin_available=money,
            currency="USD",
            leverage=100,
        )

    def symbol(self, name: str) -> Symbol:
        if name not in self.prices:
            raise NotSent("unknown_symbol", f"there is no {name}")
        return Symbol(
            name=name,
            digits=5,
            point=Decimal("0.00001"),
            volume_min=Decimal("0.01"),
            volume_max=Decimal(50),
            volume_step=Decimal("0.01"),
            contract_size=Decimal(100_000),
            stops_level=0,
            fillings=["fok"],
            trade_allowed=True,
        )

    def ticks(self, symbols: Sequence[str]) -> Mapping[str, Tick]:
        now = datetime.now(UTC)
        return {
            name: Tick(symbol=name, bid=self.prices[name], ask=self.prices[name] + 1, at=now)
            for name in symbols
            if name in self.prices
        }

    def candles(self, symbol: str, timeframe: str, count: int) -> Sequence[Candle]:  # noqa: ARG002
        start = datetime(2026, 1, 1, tzinfo=UTC)
        return [
            Candle(
                time=start + timedelta(minutes=number),
                open=PRICE,
                high=PRICE,
                low=PRICE,
                close=PRICE,
                volume=number,
            )
            for number in range(count)
        ]

    def positions(self) -> Sequence[Position]:
        closed = {deal["position_id"] for deal in self.deals_made if deal["entry"] == "out"}
        return [
            Position(
                ticket=deal["position_id"],
                symbol=deal["symbol"],
                side=deal["side"],
                volume=Decimal(deal["volume"]),
                open_price=PRICE,
                current_price=PRICE,
                sl=None,
                tp=None,
                profit=Decimal(),
                swap=Decimal(),
                open_time=read_time(deal["time"]),
                magic=0,
                comment=deal["comment"],
            )
            for deal in self.deals_made
            if deal["entry"] == "in" and deal["position_id"] not in closed
        ]

    def _before(self, last_look: Callable[[], None]) -> None:
        """Do what comes before an order goes out; the fault `hang_before` blocks it."""
        if self.faults[:1] == ["hang_before"]:
            self.faults.pop(0)
            self.release.wait()
        last_look()

    def send(self, order: Order) -> Fill:
        self._before(order.last_look)
        self._call(order.comment)
        return self._fault(lambda: self._deal(order.comment, order.symbol, order.volume, None))

    def close_position(self, close: Close) -> Fill:
        self._before(close.last_look)
        self._call(close.comment)
        known = {one.ticket: one for one in self.positions()}
        if close.ticket not in known:
            raise Rejected(
                "position_not_found", "closed already", retcode=10036, retcode_name="CLOSED"
            )
        one = known[close.ticket]
        volume = close.volume or one.volume
        return self._fault(lambda: self._deal(close.comment, one.symbol, volume, close.ticket))

    def _call(self, comment: str) -> None:
        self._write({"what": "call", "comment": comment})

    def _fault(self, fill: Any) -> Fill:
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "requote_later":
            self.release.wait()
            fault = "requote"
        if fault == "rejected_later":
            self.release.wait()
            fault = "rejected"
        if fault == "requote":
            raise Rejected("x", "moved", retcode=10004, retcode_name="REQUOTE", requote=True)
        if fault == "rejected":
            raise Rejected("no_money", "no money", retcode=10019, retcode_name="NO_MONEY")
        if fault == "not_sent":
            raise NotSent("disconnected", "no connection")
        if fault == "bug":
            raise ZeroDivisionError
        if fault == "unknown":
            raise Unknown("timeout", retcode=10012)
        if fault == "hang":
            self.release.wait()
        filled: Fill = fill()
        if fault == "unknown_filled":
            raise Unknown("timeout", retcode=10012)
        return filled

    def _deal(self, comment: str, symbol: str, volume: Decimal, position: str | None) -> Fill:
        number = str(1000 + len(self.deals_made))
        deal = {
            "what": "deal",
            "deal_id": number,
            "position_id": position or number,
            "symbol": symbol,
            "side": "buy",
            "entry": "out" if position else "in",
            "volume": str(volume),
            "comment": comment,
            "time": show_time(datetime.now(UTC) + self.ahead),
        }
        self._write(deal)
        return Fill(
            order_id=number,
            deal_id=number,
            position_id=position or number,
            symbol=symbol,
            side="buy",
            volume=volume,
            price=PRICE,
            pnl=Decimal(5) if position else Decimal(),
            commission=Decimal("-0.7"),
            swap=Decimal(),
            retcode=10009,
            retcode_name="TRADE_RETCODE_DONE",
        )

    def find(self, comment: str, since: datetime) -> Trace:
        found = [one for one in self.deals(since) if one.comment == comment]
        return Trace(deals=[] if self.hidden else found, open=False, sure=self.sure)

    def deals(self, since: datetime) -> Sequence[Deal]:
        return [
            Deal(
                deal_id=deal["deal_id"],
                order_id=deal["deal_id"],
                position_id=deal["position_id"],
                symbol=deal["symbol"],
                side="buy",
                entry=deal["entry"],
                volume=Decimal(deal["volume"]),
                price=PRICE,
                profit=Decimal(5) if deal["entry"] == "out" else Decimal(),
                commission=Decimal("-0.7"),
                swap=Decimal(),
                magic=0,
                comment=deal["comment"],
                reason="expert",
                time=read_time(deal["time"]),
            )
            for deal in self.deals_made
            if read_time(deal["time"]) >= since
        ]


class PaperExperts:
    """Compiles by turning the source around, once it is let."""

    hold: threading.Event | None = None

    def compile(self, name: str, source: bytes) -> Compiled:  # noqa: ARG002
        if self.hold is not None:
            self.hold.wait()
        if b"#error" in source:
            return Compiled(program=None, errors=1, warnings=0, log="error 109")
        return Compiled(program=source[::-1], errors=0, warnings=2, log="0 errors")

    def deploy(self, name: str, program: bytes) -> None:
        pass

    def run(self, chart: Chart) -> None:
        pass

    def stop(self, chart: Chart) -> None:
        pass

    def active(self) -> int:
        return 0
