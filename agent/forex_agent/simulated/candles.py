"""Bars of a market, as MetaTrader shows them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from forex_agent.simulated.clock import from_ms
from forex_agent.simulated.market import Bar, Market
from forex_agent.simulated.symbols import Spec
from forex_agent.simulated.timeframes import bar_before, bar_start
from forex_agent.terminal import Candle

MAX_COUNT = 5000
# How many empty stretches are looked through before the past counts as over.
_PATIENCE = 20_000


def candles(market: Market, symbol: str, timeframe: str, count: int, at: int) -> Sequence[Candle]:
    """Return the last `count` bars that have ticks, oldest first; the last holds `at`.

    A stretch without ticks has no bar, as in MetaTrader.
    """
    spec = market.specs[symbol]
    found: list[Candle] = []
    for start, bar in _backwards(market, symbol, timeframe, at):
        found.append(_candle(spec, start, bar))
        if len(found) == count:
            break
    return found[::-1]


def _backwards(market: Market, symbol: str, timeframe: str, at: int) -> Iterator[tuple[int, Bar]]:
    start, end = bar_start(timeframe, at), at + 1
    empty = 0
    while empty < _PATIENCE:
        bar = market.bar(symbol, start, end)
        if bar is None:
            empty += 1
        else:
            empty = 0
            yield start, bar
        start, end = bar_before(timeframe, start), start


def _candle(spec: Spec, start: int, bar: Bar) -> Candle:
    return Candle(
        time=from_ms(start),
        open=spec.decimal(bar.open),
        high=spec.decimal(bar.high),
        low=spec.decimal(bar.low),
        close=spec.decimal(bar.close),
        volume=bar.volume,
    )
