"""The package MetaTrader5 as far as the driver uses it: same names, same rows, same None.

It is a broker with one hedging account where everything works; a test breaks a function by putting
an exception or an answer (None) into `broken`, and lays out `order_send`'s answers in `answers`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

NOW = datetime(2026, 11, 18, 9, 30, 0, tzinfo=UTC)
# The broker's wall clock, as Athens' and many brokers' in winter.
AHEAD = timedelta(hours=2)
DONE, PARTIAL = 10009, 10010


def broker_ms(moment: datetime) -> int:
    return round((moment + AHEAD).timestamp() * 1000)


class TerminalInfo(NamedTuple):
    connected: bool = True
    trade_allowed: bool = True
    tradeapi_disabled: bool = False
    build: int = 5430
    ping_last: int = 31250


class AccountInfo(NamedTuple):
    login: int = 5012345
    trade_allowed: bool = True
    trade_expert: bool = True
    server: str = "Broker-Demo"
    currency: str = "USD"
    leverage: int = 100
    balance: float = 10000.0
    equity: float = 10000.3 - 0.1 - 0.2
    margin: float = 108.5
    margin_free: float = 9891.5


class SymbolInfo(NamedTuple):
    name: str = "EURUSD"
    visible: bool = True
    digits: int = 5
    point: float = 1e-05
    volume_min: float = 0.01
    volume_max: float = 50.0
    volume_step: float = 0.01
    trade_contract_size: float = 100000.0
    trade_stops_level: int = 10
    filling_mode: int = 3
    trade_exemode: int = 2
    trade_mode: int = 4


class TickInfo(NamedTuple):
    bid: float = 1.08500
    ask: float = 1.08512
    time_msc: int = broker_ms(NOW)


class PositionInfo(NamedTuple):
    ticket: int
    symbol: str = "EURUSD"
    type: int = 0
    volume: float = 0.1
    price_open: float = 1.084
    price_current: float = 1.085
    sl: float = 0.0
    tp: float = 1.1
    profit: float = 10.0
    swap: float = -0.3
    time_msc: int = broker_ms(NOW)
    magic: int = 77
    comment: str = ""


class OrderInfo(NamedTuple):
    ticket: int
    comment: str = ""


class DealInfo(NamedTuple):
    ticket: int
    order: int
    position_id: int
    time_msc: int = broker_ms(NOW)
    symbol: str = "EURUSD"
    type: int = 0
    entry: int = 0
    volume: float = 0.1
    price: float = 1.08512
    profit: float = 0.0
    commission: float = -0.35
    fee: float = -0.05
    swap: float = 0.0
    magic: int = 0
    comment: str = ""
    reason: int = 3


class CheckResult(NamedTuple):
    retcode: int = 0
    comment: str = "Done"


class SendResult(NamedTuple):
    retcode: int = DONE
    deal: int = 0
    order: int = 0
    volume: float = 0.0
    price: float = 0.0
    comment: str = ""


class FakePackage:
    """Made fresh for each test; everything it holds may be changed."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.initialized: tuple[tuple[str, ...], dict[str, Any]] | None = None
        self.logins: list[tuple[int, dict[str, Any]]] = []
        self.requests: list[dict[str, Any]] = []
        self.checked: list[dict[str, Any]] = []
        self.broken: dict[str, object] = {}
        self.error = (1, "Success")
        self.terminal = TerminalInfo()
        self.account = AccountInfo()
        self.symbols = {"EURUSD": SymbolInfo()}
        self.ticks = {"EURUSD": TickInfo()}
        self.bars: list[tuple[str, int, int, int]] = []
        self.rates: list[dict[str, float]] = []
        self.checks: list[CheckResult] = []
        self.answers: list[object] = []
        self.positions: list[PositionInfo] = []
        self.orders: list[OrderInfo] = []
        self.old_orders: list[OrderInfo] = []
        self.deals: list[DealInfo] = []
        self.spans: list[tuple[int, ...]] = []

    def initialize(self, *path: str, **options: Any) -> bool:
        self.initialized = (path, options)
        return bool(self._do("initialize", lambda: True))

    def login(self, login: int, /, **options: Any) -> bool:
        self.logins.append((login, options))

        def switch() -> bool:
            self.account = self.account._replace(login=login)
            return True

        return bool(self._do("login", switch))

    def shutdown(self) -> object:
        return self._do("shutdown", lambda: None)

    def last_error(self) -> tuple[int, str]:
        return self.error

    def terminal_info(self) -> Any:
        return self._do("terminal_info", lambda: self.terminal)

    def account_info(self) -> Any:
        return self._do("account_info", lambda: self.account)

    def symbol_select(self, symbol: str, enable: bool, /) -> bool:  # noqa: FBT001 - the package's
        def select() -> bool:
            self.symbols[symbol] = self.symbols[symbol]._replace(visible=enable)
            return True

        return bool(self._do("symbol_select", select))

    def symbol_info(self, symbol: str, /) -> Any:
        return self._do("symbol_info", lambda: self.symbols.get(symbol))

    def symbol_info_tick(self, symbol: str, /) -> Any:
        return self._do("symbol_info_tick", lambda: self.ticks.get(symbol))

    def copy_rates_from_pos(self, symbol: str, timeframe: int, start: int, count: int, /) -> Any:
        self.bars.append((symbol, timeframe, start, count))
        return self._do("copy_rates_from_pos", lambda: self.rates[-count:])

    def positions_get(self, **which: Any) -> Any:
        wanted = which.get("ticket")
        return self._do(
            "positions_get",
            lambda: tuple(row for row in self.positions if wanted in {None, row.ticket}),
        )

    def orders_get(self, **which: Any) -> Any:
        assert not which
        return self._do("orders_get", lambda: tuple(self.orders))

    def history_orders_get(self, *span: int, **which: Any) -> Any:
        assert not which
        self.spans.append(span)
        return self._do("history_orders_get", lambda: tuple(self.old_orders))

    def history_deals_get(self, *span: int, **which: Any) -> Any:
        wanted = which.get("ticket")
        if wanted is None:
            self.spans.append(span)
        return self._do(
            "history_deals_get",
            lambda: tuple(row for row in self.deals if wanted in {None, row.order}),
        )

    def order_check(self, request: Mapping[str, Any], /) -> Any:
        self.checked.append(dict(request))
        return self._do("order_check", lambda: self.checks.pop(0) if self.checks else CheckResult())

    def order_send(self, request: Mapping[str, Any], /) -> Any:
        self.requests.append(dict(request))
        return self._do("order_send", lambda: self._answer(request))

    def _answer(self, request: Mapping[str, Any]) -> object:
        if self.answers:
            return self.answers.pop(0)
        return self.fill(request)

    def fill(self, request: Mapping[str, Any], **changes: Any) -> SendResult:
        """Do what a broker does with a market order, and answer DONE."""
        order = 9000 + len(self.requests)
        closes = request.get("position")
        deal = DealInfo(
            ticket=7000 + len(self.requests),
            order=order,
            position_id=closes or order,
            symbol=request["symbol"],
            type=request["type"],
            entry=1 if closes else 0,
            volume=request["volume"],
            price=request["price"],
            profit=12.3 if closes else 0.0,
            magic=request["magic"],
            comment=request["comment"],
        )._replace(**changes)
        self.deals.append(deal)
        return SendResult(DONE, deal.ticket, order, deal.volume, deal.price, "Request executed")

    def _do(self, name: str, work: Callable[[], object]) -> object:
        """Do it; or fail as the package fails: None and a `last_error`, or an exception."""
        self.calls.append(name)
        if name not in self.broken:
            return work()
        how = self.broken[name]
        if isinstance(how, Exception):
            raise how
        return how
