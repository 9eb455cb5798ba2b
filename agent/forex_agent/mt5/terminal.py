"""The terminal on this machine, through its own package: `Terminal` for real accounts.

The one rule: `order_send` is called once per order. Whatever fails before is `NotSent`; from the
call on only the broker's definitive no is `Rejected`, and everything else is `Unknown`. It is
called again for one answer alone, 10030: nothing was done, the symbol wants another filling mode.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from forex_agent import retcodes
from forex_agent.mt5 import constants, convert, requests, traces
from forex_agent.mt5.calls import answered, failed, maybe_sent, nothing_sent
from forex_agent.mt5.clock import BrokerClock
from forex_agent.mt5.numbers import exact
from forex_agent.mt5.package import Package, load
from forex_agent.mt5.requests import Market, Request
from forex_agent.mt5.sending import Sender
from forex_agent.mt5.session import Session
from forex_agent.mt5.settings import MT5Settings
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
)

# The history is asked for with a day to spare at both ends: the broker's clock may be a guess.
SPARE = timedelta(days=1)


def _utc_now() -> datetime:
    return datetime.now(UTC)


class MT5Terminal:
    """One account in a MetaTrader 5 terminal. All methods are for one and the same thread.

    `package` is the module MetaTrader5, imported where it is None; `NotSent` where there is none.
    `now` and `pause` are the clock and the way to wait, for tests.
    """

    def __init__(
        self,
        settings: MT5Settings,
        package: Package | None = None,
        *,
        now: Callable[[], datetime] = _utc_now,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self._package = package or load()
        self._now = now
        self._session = Session(settings, self._package)
        self._clock = BrokerClock(settings.utc_offset, now)
        self._sender = Sender(self._package, now, pause)

    def connect(self) -> None:
        """Start or find the terminal, and log in; refuses another account than that before."""
        self._session.connect()

    def close(self) -> None:
        """Let go of the terminal, which goes on; never raises."""
        self._session.close()

    def status(self) -> Status:
        """Tell how the terminal is; never raises."""
        return self._session.status()

    def account(self) -> Account:
        """Return the account's money now."""
        with nothing_sent():
            return convert.account(self._session.account())

    def symbol(self, name: str) -> Symbol:
        """Return the symbol's rules, and put it into Market Watch: else it has no prices."""
        with nothing_sent():
            return convert.symbol(self._symbol(name))

    def ticks(self, symbols: Sequence[str]) -> Mapping[str, Tick]:
        """Return the newest price of each symbol that has one; unknown symbols are left out."""
        with nothing_sent():
            return {
                name: convert.tick(name, row, self._clock) for name, row in self._ticks(symbols)
            }

    def candles(self, symbol: str, timeframe: str, count: int) -> Sequence[Candle]:
        """Return the last bars; `NotSent` (`invalid_input`) for a timeframe that there is not."""
        number = constants.TIMEFRAMES.get(timeframe)
        if number is None:
            raise NotSent("invalid_input", f"timeframe {timeframe}: one of MetaTrader's")
        with nothing_sent():
            self._symbol(symbol)
            found = self._package.copy_rates_from_pos(symbol, number, 0, count)
            rows = answered(self._package, "copy_rates_from_pos", found)
            return [convert.candle(row, self._clock) for row in rows]

    def positions(self) -> Sequence[Position]:
        """Return the open positions."""
        with nothing_sent():
            return [convert.position(row, self._clock) for row in self._positions()]

    def send(self, order: Order) -> Fill:
        """Send a market order once."""
        with nothing_sent():
            self._session.check_trading()
            market = self._market(order.symbol)
            request = requests.opening(order, market)
        return self._filled(request, market, order.last_look)

    def close_position(self, close: Close) -> Fill:
        """Close a position by its ticket, once; a bought one at the bid."""
        with nothing_sent():
            self._session.check_trading()
            position = self._position(close.ticket)
            market = self._market(position.symbol)
            request = requests.closing(close, position, market)
        return self._filled(request, market, close.last_look)

    def find(self, comment: str, since: datetime) -> Trace:
        """Look for an order by its comment, else by what else is known of it (`traces`).

        `NotSent` while the terminal is not connected: then it does not know the newest deals.
        """
        with nothing_sent():
            self._session.check_connected()
            deals, sure = self._deals_of(comment, since)
            return Trace(
                deals=[convert.deal(row, self._clock) for row in deals],
                open=not deals and self._is_open(comment),
                sure=sure,
            )

    def deals(self, since: datetime) -> Sequence[Deal]:
        """Return the trades from that time on.

        `NotSent` until a tick has told how far the broker's clock is ahead: a wrong time would
        stay in the service's books. With a market that moves that takes two looks.
        """
        with nothing_sent():
            self._session.check_connected()
            rows = self._history_deals(since)
            self._know_clock(rows)
            found = [convert.deal(row, self._clock) for row in rows]
            recent = [deal for deal in found if deal.time >= since]
            return sorted(recent, key=lambda deal: (deal.time, int(deal.deal_id)))

    def _symbol(self, name: str) -> Any:
        row = self._package.symbol_info(name)
        if row is None:
            raise self._no_symbol(name)
        if not row.visible and not self._package.symbol_select(name, True):  # noqa: FBT003
            raise self._no_symbol(name)
        return row

    def _no_symbol(self, name: str) -> NotSent:
        """Tell a symbol that is not there from a terminal that does not answer."""
        error = failed(self._package, f"symbol {name}")
        return NotSent("unknown_symbol", str(error)) if error.code == "not_sent" else error

    def _ticks(self, symbols: Sequence[str]) -> Sequence[tuple[str, Any]]:
        return [(name, row) for name in symbols if (row := self._tick(name)) is not None]

    def _tick(self, name: str) -> Any:
        """Return the newest tick, None where there is none (yet), and let the clock learn."""
        row = self._package.symbol_info_tick(name)
        if row is None:
            error = failed(self._package, f"symbol_info_tick of {name}")
            if error.code != "not_sent":
                raise error
            self._package.symbol_select(name, True)  # noqa: FBT003 - from the next look on
            return None
        if not (row.bid > 0 and row.ask > 0):  # NaN is no price either
            return None
        self._clock.learn(name, row.time_msc)
        return row

    def _market(self, name: str) -> Market:
        row = self._symbol(name)
        tick = self._tick(name)
        if tick is None:
            raise NotSent("market_closed", f"{name} has no price")
        return Market(convert.symbol(row), row, tick.bid, tick.ask)

    def _positions(self, **which: int) -> Sequence[Any]:
        return answered(self._package, "positions_get", self._package.positions_get(**which))

    def _position(self, ticket: str) -> Any:
        found = self._positions(ticket=requests.ticket(ticket))
        if not found:
            raise NotSent("position_not_found", f"there is no open position {ticket}")
        return found[0]

    def _filled(self, request: Request, market: Market, last_look: Callable[[], None]) -> Fill:
        answer, rows = self._sender.place(request, market.rules, last_look)
        with maybe_sent(answer.retcode):
            return _fill(answer, [convert.deal(row, self._clock) for row in rows])

    def _span(self, since: datetime) -> tuple[int, int]:
        start, end = since - SPARE, self._now() + SPARE
        return self._clock.broker_seconds(start), self._clock.broker_seconds(end)

    def _history_deals(self, since: datetime) -> Sequence[Any]:
        found = self._package.history_deals_get(*self._span(since))
        return list(convert.trades(answered(self._package, "history_deals_get", found)))

    def _deals_of(self, comment: str, since: datetime) -> tuple[Sequence[Any], bool]:
        """Return the order's deals, and whether they surely are."""
        found = self._package.history_orders_get(*self._span(since))
        orders = answered(self._package, "history_orders_get", found)
        deals = self._history_deals(since)
        sent = self._sender.remembered(comment)
        sure = traces.deals_of(deals, orders, comment, sent.order if sent else 0)
        if sure or sent is None:
            return sure, True
        times = {row.ticket: self._clock.utc(row.time_msc) for row in deals}
        likely = traces.likely(deals, sent, times)
        return likely, not likely

    def _is_open(self, comment: str) -> bool:
        """Tell whether an order, or a position whose deals are still to come, has the comment."""
        orders = answered(self._package, "orders_get", self._package.orders_get())
        return bool(traces.named(orders, comment) or traces.named(self._positions(), comment))

    def _know_clock(self, deals: Sequence[Any]) -> None:
        if deals and not self._clock.known:
            self._ticks(sorted({row.symbol for row in deals}))
        if deals and not self._clock.known:
            raise NotSent("not_sent", "no tick has told yet how far the broker's clock is ahead")


def _fill(answer: Any, deals: Sequence[Deal]) -> Fill:
    """Make the fill of an order's deals.

    Volume and price are those of all of them together; number, profit and costs those of one, the
    others are reported as deals: so nobody adds an amount twice.
    """
    volume = sum((deal.volume for deal in deals), Decimal())
    paid = sum((deal.volume * deal.price for deal in deals), Decimal())
    deal = next((one for one in deals if one.deal_id == str(answer.deal)), deals[-1])
    return Fill(
        order_id=str(answer.order),
        deal_id=deal.deal_id,
        position_id=deal.position_id,
        symbol=deal.symbol,
        side=deal.side,
        volume=volume,
        price=exact(float(paid / volume)),
        pnl=deal.profit,
        commission=deal.commission,
        swap=deal.swap,
        retcode=int(answer.retcode),
        retcode_name=retcodes.retcode(int(answer.retcode)).name,
    )
