"""The random market is the same for ever, and its bars are made of its ticks."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from forex_agent.simulated import ManualClock, RandomWalk, WeekendClosed
from forex_agent.simulated.candles import candles
from forex_agent.simulated.clock import to_ms
from forex_agent.simulated.random_walk import TICK_MS
from forex_agent.simulated.timeframes import TIMEFRAMES, bar_before, bar_start
from forex_agent.terminal import Order
from hypothesis import given
from hypothesis import strategies as st

from tests.agent.simulated import MONDAY, opened

NOW = to_ms(datetime(2026, 11, 21, 15, 4, 33, 300_000, tzinfo=UTC))
MOMENTS = st.integers(-(10**13), 10**13)


@given(at=MOMENTS, seed=st.integers(0, 3))
def test_the_same_seed_gives_the_same_tick_whatever_was_asked_before(at: int, seed: int) -> None:
    fresh, used = RandomWalk(seed, ["USDJPY"]), RandomWalk(seed, ["EURUSD", "USDJPY"])
    used.bar("USDJPY", at - 10**9, at + 10**6)
    assert fresh.quote("USDJPY", at) == used.quote("USDJPY", at)


def test_another_seed_or_symbol_walks_another_way() -> None:
    def path(seed: int, symbol: str) -> list[object]:
        walk = RandomWalk(seed)
        return [walk.quote(symbol, NOW + step * TICK_MS) for step in range(20)]

    assert path(1, "EURUSD") != path(2, "EURUSD")
    assert path(1, "EURUSD") != path(1, "GBPUSD")


@given(start=MOMENTS, length=st.integers(1, 600_000))
def test_a_bar_is_its_ticks(start: int, length: int) -> None:
    walk = RandomWalk(7, ["XAUUSD"])
    first = -(-start // TICK_MS) * TICK_MS
    quotes = [walk.quote("XAUUSD", at) for at in range(first, start + length, TICK_MS)]
    bids = [quote.bid for quote in quotes if quote is not None]
    bar = walk.bar("XAUUSD", start, start + length)
    assert bar == ((bids[0], max(bids), min(bids), bids[-1], len(bids)) if bids else None)
    extremes = walk.extremes("XAUUSD", start, start + length)
    assert (extremes is None) == (not bids)
    if extremes is not None:
        spread = walk.specs["XAUUSD"].spread
        assert (extremes.ask_low, extremes.ask_high) == (min(bids) + spread, max(bids) + spread)


@pytest.mark.parametrize("timeframe", TIMEFRAMES)
def test_every_timeframe_has_its_bars(timeframe: str) -> None:
    walk = RandomWalk(7, ["EURUSD"])
    bars = candles(walk, "EURUSD", timeframe, 50, NOW)
    starts = [to_ms(bar.time) for bar in bars]
    assert starts[-1] == bar_start(timeframe, NOW)
    assert all(bar_before(timeframe, b) == a for a, b in pairwise(starts))
    assert all(bar.low <= min(bar.open, bar.close) for bar in bars)
    assert all(bar.high >= max(bar.open, bar.close) for bar in bars)
    assert min(bar.low for bar in bars) > 0
    quote = walk.quote("EURUSD", NOW)
    assert quote is not None
    assert bars[-1].close == walk.specs["EURUSD"].decimal(quote.bid)


def test_the_timeframes_are_metatraders() -> None:
    minutes = [f"M{count}" for count in (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30)]
    hours = [f"H{count}" for count in (1, 2, 3, 4, 6, 8, 12)]
    assert [*TIMEFRAMES] == [*minutes, *hours, "D1", "W1", "MN1"]


def test_weeks_begin_on_sunday_and_months_on_the_first() -> None:
    walk = RandomWalk(7, ["EURUSD"])
    weeks = candles(walk, "EURUSD", "W1", 20, NOW)
    months = candles(walk, "EURUSD", "MN1", 20, NOW)
    assert {bar.time.weekday() for bar in weeks} == {6}
    assert {bar.time.day for bar in months} == {1}
    assert len({(bar.time.year, bar.time.month) for bar in months}) == 20


def test_small_bars_add_up_to_large_ones() -> None:
    walk = RandomWalk(3, ["GBPUSD"])
    hour = candles(walk, "GBPUSD", "H1", 2, NOW)[0]
    minutes = [
        bar
        for bar in candles(walk, "GBPUSD", "M1", 200, NOW)
        if bar.time.replace(minute=0) == hour.time
    ]
    assert len(minutes) == 60
    assert (minutes[0].open, minutes[-1].close) == (hour.open, hour.close)
    assert max(bar.high for bar in minutes) == hour.high
    assert sum(bar.volume for bar in minutes) == hour.volume


def test_five_thousand_bars_exist_at_once_also_after_a_restart(tmp_path: Path) -> None:
    clock = ManualClock(MONDAY)
    first = opened(tmp_path / "a.db", RandomWalk(7, ["EURUSD"]), clock)
    second = opened(tmp_path / "b.db", RandomWalk(7, ["EURUSD"]), clock)
    bars = first.candles("EURUSD", "M1", 5000)
    assert len(bars) == 5000
    assert second.candles("EURUSD", "M1", 5000) == bars


def test_prices_move_like_prices() -> None:
    """A day's range is a share of the price that a broker's chart shows, of each symbol."""
    walk = RandomWalk(7)
    for symbol, spec in walk.specs.items():
        days = candles(walk, symbol, "D1", 250, NOW)
        shares = [float((bar.high - bar.low) / bar.open) for bar in days]
        assert 0.02 < sum(shares) / len(shares) / spec.volatility < 0.25, symbol


def test_a_market_that_is_closed_has_no_bars() -> None:
    market = WeekendClosed(RandomWalk(7, ["EURUSD"]))
    hours = candles(market, "EURUSD", "H1", 200, NOW)  # a Saturday
    assert hours[-1].time == datetime(2026, 11, 20, 21, tzinfo=UTC)
    weekend = [bar for bar in hours if bar.time.weekday() == 5]
    assert weekend == []
    assert {bar.time.hour for bar in hours if bar.time.weekday() == 6} == {22, 23}
    assert market.extremes("EURUSD", NOW, NOW + 3_600_000) is None


def test_a_run_is_the_same_with_the_same_seed_and_times(tmp_path: Path) -> None:
    def run(name: str) -> object:
        clock = ManualClock(MONDAY)
        terminal = opened(tmp_path / name, RandomWalk(11), clock)
        for number, symbol in enumerate(("EURUSD", "USDJPY", "XAUUSD") * 5):
            terminal.send(
                Order(symbol=symbol, side="buy", volume=Decimal("0.01"), comment=str(number))
            )
            clock.advance(1234.5)
        return terminal.account(), terminal.deals(MONDAY)

    assert run("a.db") == run("b.db")
