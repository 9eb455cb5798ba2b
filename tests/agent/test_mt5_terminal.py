"""The real driver beside its orders: connection, account, prices, times, and what it never says."""

from __future__ import annotations

import logging
import sys
import traceback
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from forex_agent.mt5 import MT5Settings, MT5Terminal
from forex_agent.mt5.clock import BrokerClock
from forex_agent.terminal import Account, Candle, NotSent, Position, Symbol, Terminal, Tick

from tests.agent.mt5_package import (
    NOW,
    AccountInfo,
    DealInfo,
    FakePackage,
    PositionInfo,
    SymbolInfo,
    TerminalInfo,
    TickInfo,
    broker_ms,
)

PASSWORD = "correct horse battery"
SECRET = MT5Settings(
    path=Path("C:/MT5/terminal64.exe"),
    login=5012345,
    password=PASSWORD,
    server="Broker-Demo",
    timeout=10,
    portable=True,
)


@pytest.fixture
def package() -> FakePackage:
    return FakePackage()


def make(package: FakePackage, settings: MT5Settings | None = None) -> MT5Terminal:
    return MT5Terminal(
        settings or MT5Settings(utc_offset=timedelta(hours=2)), package, now=lambda: NOW
    )


@pytest.fixture
def terminal(package: FakePackage) -> MT5Terminal:
    terminal = make(package)
    terminal.connect()
    return terminal


# -- connection ------------------------------------------------------------------------------------


def test_initialize_is_told_what_the_settings_say(package: FakePackage) -> None:
    make(package, SECRET).connect()
    path, options = package.initialized or ((), {})
    assert path == (str(SECRET.path),)
    assert options == {
        "login": 5012345,
        "password": PASSWORD,
        "server": "Broker-Demo",
        "timeout": 10_000,
        "portable": True,
    }
    assert package.logins == []


def test_initialize_is_not_told_what_is_not_set(package: FakePackage) -> None:
    make(package, MT5Settings()).connect()
    assert package.initialized == ((), {"timeout": 25_000, "portable": False})


def test_a_terminal_in_another_account_is_logged_in(package: FakePackage) -> None:
    package.account = AccountInfo(login=1)
    terminal = make(package, SECRET)
    terminal.connect()
    options = {"password": PASSWORD, "server": "Broker-Demo", "timeout": 10_000}
    assert package.logins == [(5012345, options)]
    assert terminal.status().login == "5012345"


def test_who_switches_the_account_stops_everything(
    package: FakePackage, terminal: MT5Terminal
) -> None:
    package.account = AccountInfo(login=6)
    for call in (terminal.connect, terminal.account, lambda: terminal.deals(NOW)):
        with pytest.raises(NotSent, match="account 6, not to 5012345"):
            call()
    assert not terminal.status().connected


@pytest.mark.parametrize("broken", ["initialize", "login", "account_info"])
@pytest.mark.parametrize("how", [False, RuntimeError(f"bad {PASSWORD}")], ids=["False", "error"])
def test_a_connection_that_fails_is_not_sent_and_keeps_the_password(
    package: FakePackage, broken: str, how: object, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    package.account = AccountInfo(login=1)
    package.broken[broken] = None if how is False and broken == "account_info" else how
    package.error = (-6, f"authorization failed with {PASSWORD}")
    with pytest.raises(NotSent) as error:
        make(package, SECRET).connect()
    told = "".join(traceback.format_exception(error.value))
    assert PASSWORD not in told + caplog.text + repr(SECRET)
    if how is False:
        assert error.value.code == "disconnected"


def test_connecting_again_after_a_failure(package: FakePackage) -> None:
    terminal = make(package)
    package.broken["initialize"] = False
    with pytest.raises(NotSent):
        terminal.connect()
    package.broken.clear()
    terminal.connect()
    assert terminal.status().connected


def test_close_never_raises(package: FakePackage, terminal: MT5Terminal) -> None:
    package.broken["shutdown"] = RuntimeError("gone")
    terminal.close()
    assert "shutdown" in package.calls


@pytest.mark.skipif(sys.platform == "win32", reason="there the package may be installed")
def test_off_windows_the_error_names_the_simulated_terminal() -> None:
    with pytest.raises(NotSent, match='terminal = "simulated"'):
        MT5Terminal(MT5Settings())


def test_status(package: FakePackage, terminal: MT5Terminal) -> None:
    status = terminal.status()
    assert (status.connected, status.trade_allowed) == (True, True)
    assert (status.login, status.server) == ("5012345", "Broker-Demo")
    assert (status.ping_ms, status.platform, status.version) == (31.25, "mt5", "5430")


@pytest.mark.parametrize(
    "row",
    [
        TerminalInfo(trade_allowed=False),
        TerminalInfo(tradeapi_disabled=True),
        AccountInfo(trade_allowed=False),
        AccountInfo(trade_expert=False),
    ],
    ids=repr,
)
def test_status_says_that_trading_is_off(
    package: FakePackage, terminal: MT5Terminal, row: TerminalInfo | AccountInfo
) -> None:
    setattr(package, "terminal" if isinstance(row, TerminalInfo) else "account", row)
    status = terminal.status()
    assert (status.connected, status.trade_allowed) == (True, False)


@pytest.mark.parametrize("broken", ["terminal_info", "account_info"])
@pytest.mark.parametrize("how", [None, RuntimeError("gone"), object()], ids=["None", "error", "?"])
def test_status_never_raises(
    package: FakePackage, terminal: MT5Terminal, broken: str, how: object
) -> None:
    package.broken[broken] = how
    assert not terminal.status().connected


# -- reads -----------------------------------------------------------------------------------------


def test_account_in_exact_numbers(terminal: MT5Terminal) -> None:
    assert terminal.account() == Account(
        balance=Decimal(10000),
        equity=Decimal("10000.0"),
        margin_used=Decimal("108.5"),
        margin_available=Decimal("9891.5"),
        currency="USD",
        leverage=100,
    )


def test_symbol(package: FakePackage, terminal: MT5Terminal) -> None:
    package.symbols["EURUSD"] = SymbolInfo(visible=False)
    assert terminal.symbol("EURUSD") == Symbol(
        name="EURUSD",
        digits=5,
        point=Decimal("0.00001"),
        volume_min=Decimal("0.01"),
        volume_max=Decimal(50),
        volume_step=Decimal("0.01"),
        contract_size=Decimal(100000),
        stops_level=10,
        fillings=("fok", "ioc"),
        trade_allowed=True,
    )
    assert package.symbols["EURUSD"].visible


def test_an_unknown_symbol(package: FakePackage, terminal: MT5Terminal) -> None:
    with pytest.raises(NotSent, match="XXXYYY") as error:
        terminal.symbol("XXXYYY")
    assert error.value.code == "unknown_symbol"


def test_ticks_of_the_symbols_that_have_one(package: FakePackage, terminal: MT5Terminal) -> None:
    package.symbols["GBPUSD"] = SymbolInfo("GBPUSD", visible=False)
    package.symbols["USDJPY"] = SymbolInfo("USDJPY")
    package.ticks["USDJPY"] = TickInfo(0.0, 0.0)
    package.symbols["XAUUSD"] = SymbolInfo("XAUUSD")
    package.ticks["XAUUSD"] = TickInfo(float("nan"), float("nan"))  # JSON has no word for it
    ticks = terminal.ticks(["EURUSD", "GBPUSD", "USDJPY", "XAUUSD"])
    assert ticks == {
        "EURUSD": Tick(symbol="EURUSD", bid=Decimal("1.085"), ask=Decimal("1.08512"), at=NOW)
    }
    assert package.symbols["GBPUSD"].visible  # its ticks come from the next look on


def test_ticks_of_a_terminal_that_is_away_are_not_none(
    package: FakePackage, terminal: MT5Terminal
) -> None:
    package.broken["symbol_info_tick"] = None
    package.error = (-10005, "timeout")
    with pytest.raises(NotSent) as error:
        terminal.ticks(["EURUSD"])
    assert error.value.code == "timeout"


def test_candles(package: FakePackage, terminal: MT5Terminal) -> None:
    seconds = broker_ms(NOW) // 1000
    package.rates = [
        {"time": seconds + i, "open": 1.1, "high": 1.3, "low": 1.0, "close": 1.2, "tick_volume": 9}
        for i in range(3)
    ]
    candles = terminal.candles("EURUSD", "H4", 2)
    assert package.bars == [("EURUSD", 16388, 0, 2)]
    assert [candle.time for candle in candles] == [NOW + timedelta(seconds=i) for i in (1, 2)]
    assert candles[0] == Candle(
        time=NOW + timedelta(seconds=1),
        open=Decimal("1.1"),
        high=Decimal("1.3"),
        low=Decimal("1.0"),
        close=Decimal("1.2"),
        volume=9,
    )


def test_a_timeframe_that_there_is_not(package: FakePackage, terminal: MT5Terminal) -> None:
    with pytest.raises(NotSent, match="timeframe M7") as error:
        terminal.candles("EURUSD", "M7", 2)
    assert error.value.code == "invalid_input"


def test_positions(package: FakePackage, terminal: MT5Terminal) -> None:
    package.positions = [PositionInfo(501, type=1, comment="c")]
    assert terminal.positions() == [
        Position(
            ticket="501",
            symbol="EURUSD",
            side="sell",
            volume=Decimal("0.1"),
            open_price=Decimal("1.084"),
            current_price=Decimal("1.085"),
            sl=None,
            tp=Decimal("1.1"),
            profit=Decimal("10.0"),
            swap=Decimal("-0.3"),
            open_time=NOW,
            magic=77,
            comment="c",
        )
    ]


@pytest.mark.parametrize(
    "name, read",
    [
        ("account_info", lambda it: it.account()),
        ("symbol_info", lambda it: it.symbol("EURUSD")),
        ("symbol_info_tick", lambda it: it.ticks(["EURUSD"])),
        ("copy_rates_from_pos", lambda it: it.candles("EURUSD", "M1", 1)),
        ("positions_get", lambda it: it.positions()),
        ("history_deals_get", lambda it: it.deals(NOW)),
    ],
)
@pytest.mark.parametrize("how", [None, ValueError("odd")], ids=["None", "exception"])
def test_a_read_that_fails_is_not_sent(
    package: FakePackage, terminal: MT5Terminal, name: str, read: object, how: object
) -> None:
    package.broken[name] = how
    package.error = (-10001, "send failed")
    assert callable(read)
    with pytest.raises(NotSent):
        read(terminal)


def test_no_position_is_no_failure(terminal: MT5Terminal) -> None:
    assert terminal.positions() == []


# -- deals -----------------------------------------------------------------------------------------


def test_deals_are_trades_in_order_with_their_reason(
    package: FakePackage, terminal: MT5Terminal
) -> None:
    later = broker_ms(NOW + timedelta(seconds=5))
    package.deals = [
        DealInfo(4, 2, 9, time_msc=later, type=1, entry=1, reason=4, profit=-3.3),
        DealInfo(3, 2, 9, reason=2),
        DealInfo(2, 1, 9, reason=99, entry=3),
        DealInfo(1, 0, 0, type=2, profit=1000.0),  # a deposit
        DealInfo(0, 0, 0, time_msc=broker_ms(NOW - timedelta(seconds=1))),
    ]
    deals = terminal.deals(NOW)
    assert [deal.deal_id for deal in deals] == ["2", "3", "4"]
    assert [deal.reason for deal in deals] == ["other", "client", "sl"]
    assert [deal.entry for deal in deals] == ["out_by", "in", "out"]
    assert (deals[2].side, deals[2].profit) == ("sell", Decimal("-3.3"))
    assert deals[2].time == NOW + timedelta(seconds=5)
    assert deals[2].commission == Decimal("-0.4")  # with the fee


def test_deals_wait_for_a_tick_that_tells_the_brokers_time(package: FakePackage) -> None:
    terminal = make(package, MT5Settings())
    terminal.connect()
    assert terminal.deals(NOW) == []
    package.deals = [DealInfo(1, 2, 3)]
    with pytest.raises(NotSent, match="clock"):
        terminal.deals(NOW)
    package.ticks["EURUSD"] = TickInfo(time_msc=broker_ms(NOW) + 1)
    assert [deal.time for deal in terminal.deals(NOW)] == [NOW]


# -- the broker's clock ----------------------------------------------------------------------------


class Clocks:
    """A clock of ours, and the broker's clock that is learned from it."""

    def __init__(self, told: timedelta | None = None) -> None:
        self.now = NOW
        self.broker = BrokerClock(told, lambda: self.now)

    def tick(self, at: datetime, ahead: timedelta, symbol: str = "EURUSD") -> None:
        self.broker.learn(symbol, round((at + ahead).timestamp() * 1000))

    def live(self, ahead: timedelta) -> None:
        self.tick(self.now, ahead)
        self.now += timedelta(seconds=1)
        self.tick(self.now, ahead)


@pytest.mark.parametrize("hours", [-5, 0, 2, 3, 5.5, 13])
def test_the_offset_is_learned_from_ticks_that_come(hours: float) -> None:
    clocks = Clocks()
    clocks.live(timedelta(hours=hours, seconds=-2))
    assert clocks.broker.known
    assert clocks.broker.offset == timedelta(hours=hours)


def test_summer_time_is_followed() -> None:
    clocks = Clocks()
    clocks.live(timedelta(hours=2))
    clocks.live(timedelta(hours=3))
    assert clocks.broker.offset == timedelta(hours=3)


def test_an_old_tick_teaches_nothing() -> None:
    clocks = Clocks()
    clocks.live(timedelta(hours=2))
    friday = clocks.now
    clocks.now += timedelta(hours=30)
    clocks.tick(friday, timedelta(hours=2))  # the market is closed: still the same tick
    clocks.tick(friday, timedelta(hours=2), "GBPUSD")  # never seen, and just as old
    clocks.tick(friday + timedelta(hours=1), timedelta(hours=2))  # new to us, but not just come
    assert clocks.broker.offset == timedelta(hours=2)


def test_a_first_look_is_a_guess_and_no_knowledge() -> None:
    clocks = Clocks()
    clocks.tick(NOW, timedelta(hours=2))
    clocks.tick(NOW, timedelta(hours=2))
    assert (clocks.broker.known, clocks.broker.offset) == (False, timedelta(hours=2))


@pytest.mark.parametrize("ahead", [timedelta(minutes=45), timedelta(hours=20), timedelta(days=-3)])
def test_a_distance_that_no_time_zone_has_teaches_nothing(ahead: timedelta) -> None:
    clocks = Clocks()
    clocks.live(ahead)
    assert (clocks.broker.known, clocks.broker.offset) == (False, timedelta())


def test_an_offset_that_was_told_stays() -> None:
    clocks = Clocks(told=timedelta())
    clocks.live(timedelta(hours=2))
    assert (clocks.broker.known, clocks.broker.offset) == (True, timedelta())


def test_times_there_and_back() -> None:
    clocks = Clocks(told=timedelta(hours=2))
    assert clocks.broker.utc(broker_ms(NOW)) == NOW
    assert clocks.broker.utc(broker_ms(NOW)).tzinfo is UTC
    assert clocks.broker.broker_seconds(NOW) == broker_ms(NOW) // 1000


def test_the_driver_is_a_terminal(package: FakePackage) -> None:
    terminal: Terminal = make(package)
    assert terminal.status().platform == "mt5"
