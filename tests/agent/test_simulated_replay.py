"""Files of prices are played tick by tick, and a broken line is named."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from forex_agent.simulated import BrokenLine, Replay
from forex_agent.simulated.candles import candles
from forex_agent.simulated.clock import to_ms
from forex_agent.simulated.market import Quote
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.agent.simulated import MONDAY, played

START = to_ms(MONDAY)
BIDS = [f"1.10{number:03}" for number in (5, 9, 2, 7, 7, 1, 8, 3)]
POINTS = [int(bid.replace(".", "")) for bid in BIDS]


def test_ticks_are_played_at_their_pace_and_again(tmp_path: Path) -> None:
    market = played(tmp_path, BIDS)
    assert market.quote("EURUSD", START) == Quote(POINTS[0], POINTS[0] + 10, START)
    assert market.quote("EURUSD", START + 1999) == Quote(POINTS[1], POINTS[1] + 10, START + 1000)
    again = START + 8000
    assert market.quote("EURUSD", again) == Quote(POINTS[0], POINTS[0] + 10, again)
    assert market.quote("EURUSD", START - 1) == Quote(POINTS[-1], POINTS[-1] + 10, START - 1000)


def test_a_faster_replay_plays_more_in_a_second(tmp_path: Path) -> None:
    played(tmp_path, BIDS)
    market = Replay(tmp_path, start=MONDAY, speed=4)
    assert market.bar("EURUSD", START, START + 1000) == (
        POINTS[0],
        max(POINTS[:4]),
        min(POINTS[:4]),
        POINTS[3],
        4,
    )


@given(start=st.integers(-30_000, 30_000), length=st.integers(0, 30_000), speed=st.integers(1, 3))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_a_stretch_is_its_ticks(tmp_path: Path, start: int, length: int, speed: int) -> None:
    played(tmp_path, BIDS)
    market = Replay(tmp_path, start=MONDAY, speed=speed)
    numbers = [n for n in range(-100, 300) if start * speed <= n * 1000 < (start + length) * speed]
    bids = [POINTS[number % len(POINTS)] for number in numbers]
    bar = market.bar("EURUSD", START + start, START + start + length)
    assert bar == ((bids[0], max(bids), min(bids), bids[-1], len(bids)) if bids else None)


def test_long_stretches_are_found_as_well(tmp_path: Path) -> None:
    bids = [f"1.1{(number * 7919) % 10_007:05}"[:7] for number in range(2000)]
    points = [int(bid.replace(".", "")) for bid in bids]
    market = played(tmp_path, bids)
    for first, last in ((3, 1990), (255, 513), (1500, 2600), (10, 2010), (7, 9000)):
        expected = [points[number % 2000] for number in range(first, last)]
        found = market.extremes("EURUSD", START + first * 1000, START + last * 1000)
        assert found is not None
        assert (found.bid_low, found.bid_high) == (min(expected), max(expected))
        assert found.ask_high == max(expected) + 10


def write(path: Path, *lines: str) -> None:
    path.write_text("\n".join(lines) + "\n")


def write_bars(folder: Path, bid: Sequence[str], ask: Sequence[str]) -> None:
    header = "timestamp,open,high,low,close"
    write(folder / "gbpusd-m1-bid-2012.csv", header, *bid)
    write(folder / "gbpusd-m1-ask-2012.csv", header, *ask)


MINUTE = "2012-02-01 00:0{}:00+00:00,"


def test_bars_of_bid_and_ask_are_one_market(tmp_path: Path) -> None:
    write_bars(
        tmp_path,
        [MINUTE.format(0) + "1.5,1.6,1.4,1.55", MINUTE.format(1) + "1.55,1.57,1.50,1.51"],
        [MINUTE.format(0) + "1.6,1.7,1.5,1.65", MINUTE.format(1) + "1.65,1.67,1.60,1.61"],
    )
    market = Replay(tmp_path, start=MONDAY)
    assert market.bar("GBPUSD", START, START + 60_000) == (150_000, 160_000, 140_000, 155_000, 4)
    falling = [market.quote("GBPUSD", START + 60_000 + at) for at in (0, 15_000, 30_000, 45_000)]
    assert [quote.bid for quote in falling if quote] == [155_000, 157_000, 150_000, 151_000]
    assert {quote.ask - quote.bid for quote in falling if quote} == {10_000}
    bars = candles(market, "GBPUSD", "M1", 1000, START + 120_000)
    assert len(bars) == 1000


def test_an_ask_below_its_bid_is_played_as_the_bid(tmp_path: Path) -> None:
    write_bars(
        tmp_path, [MINUTE.format(0) + "1.5,1.6,1.4,1.55"], [MINUTE.format(0) + "1.5,1.59,1.4,1.55"]
    )
    found = Replay(tmp_path, start=MONDAY).extremes("GBPUSD", START, START + 60_000)
    assert found is not None
    assert found.ask_high == 160_000


FIRST = "2013-01-01 22:00:00+00:00,86.655,86.728"
BROKEN_TICKS = [
    (["timestamp,bid"], 1, "header", "timestamp,bid,ask or"),
    (["timestamp,bid,ask"], 2, "timestamp", "at least one line"),
    (["timestamp,bid,ask", "2013-01-01,86.6,86.7"], 2, "timestamp", "offset"),
    (["timestamp,bid,ask", "yesterday,86.6,86.7"], 2, "timestamp", "ISO 8601"),
    (["timestamp,bid,ask", FIRST, "2013-01-01T22:00:01Z,x,1"], 3, "bid", "at most 3 decimals"),
    (["timestamp,bid,ask", "2013-01-01T22:00:01Z,86.6551,87"], 2, "bid", "at most 3 decimals"),
    (["timestamp,bid,ask", "2013-01-01T22:00:01Z,86.6,-1"], 2, "ask", "a price"),
    (["timestamp,bid,ask", "2013-01-01T22:00:01Z,0,1"], 2, "bid", "above 0"),
    (["timestamp,bid,ask", "2013-01-01T22:00:01Z,86.6"], 2, "ask", "3 columns, not 2"),
    (["timestamp,bid,ask", "2013-01-01T22:00:01Z,86.6,86.5"], 2, "ask", "not below the bid"),
    (["timestamp,bid,ask", FIRST, "2013-01-01T21:00:01Z,86,87"], 3, "timestamp", "not before"),
]


@pytest.mark.parametrize("lines, line, column, rule", BROKEN_TICKS)
def test_a_broken_line_is_named(
    tmp_path: Path, lines: Sequence[str], line: int, column: str, rule: str
) -> None:
    write(tmp_path / "usdjpy-ticks.csv", *lines)
    with pytest.raises(BrokenLine) as broken:
        Replay(tmp_path)
    assert (broken.value.line, broken.value.column) == (line, column)
    assert str(broken.value).startswith(f"usdjpy-ticks.csv, line {line}, {column}: ")
    assert rule in str(broken.value)


GOOD = MINUTE.format(0) + "1.5,1.6,1.4,1.55"


@pytest.mark.parametrize(
    "bid, ask, column",
    [
        ([MINUTE.format(0) + "1.5,1.4,1.4,1.55"], [GOOD], "high"),
        ([MINUTE.format(0) + "1.5,1.6,1.52,1.55"], [GOOD], "low"),
        ([GOOD], [MINUTE.format(1) + "1.5,1.6,1.4,1.55"], "timestamp"),
        ([GOOD], [GOOD, MINUTE.format(1) + "1.5,1.6,1.4,1.55"], "timestamp"),
        ([GOOD, GOOD], [GOOD, GOOD], "timestamp"),
    ],
)
def test_bars_that_do_not_fit_are_named(
    tmp_path: Path, bid: Sequence[str], ask: Sequence[str], column: str
) -> None:
    write_bars(tmp_path, bid, ask)
    with pytest.raises(BrokenLine) as broken:
        Replay(tmp_path)
    assert broken.value.column == column


def test_files_that_do_not_belong_together_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="csv file in"):
        Replay(tmp_path)
    write_bars(tmp_path, [GOOD], [GOOD])
    (tmp_path / "gbpusd-m1-ask-2012.csv").unlink()
    with pytest.raises(BrokenLine, match="one ask"):
        Replay(tmp_path)
    write(tmp_path / "gbpusd-ticks.csv", "timestamp,bid,ask", "2013-01-01T22:00:01Z,1.5,1.6")
    with pytest.raises(BrokenLine, match="one file of ticks"):
        Replay(tmp_path)
    with pytest.raises(ValueError, match="speed"):
        Replay(tmp_path, speed=0)


def test_a_gap_of_the_data_has_no_bars(tmp_path: Path) -> None:
    late = (MONDAY + timedelta(hours=5)).isoformat()
    lines = [f"{MONDAY.isoformat()},1.1,1.2", f"{late},1.1,1.2"]
    write(tmp_path / "eurusd.csv", "timestamp,bid,ask", *lines)
    market = Replay(tmp_path, start=MONDAY)
    bars = candles(market, "EURUSD", "M1", 2, START + 5 * 3_600_000)
    assert [bar.time for bar in bars] == [MONDAY, MONDAY + timedelta(hours=5)]
