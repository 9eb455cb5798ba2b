"""What a market is to the simulated terminal: prices at any time, past ones as well.

Inside the simulation a price is a whole number of points and a time is whole milliseconds since
1970, so that nothing is ever rounded twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Protocol

from forex_agent.simulated.symbols import Spec


class Quote(NamedTuple):
    """A price in points, and when it came."""

    bid: int
    ask: int
    at: int


class Extremes(NamedTuple):
    """How far the prices of some stretch of time went, in points."""

    bid_low: int
    bid_high: int
    ask_low: int
    ask_high: int


class Bar(NamedTuple):
    """A stretch of time in bids, in points; `volume` counts its ticks."""

    open: int
    high: int
    low: int
    close: int
    volume: int


class Market(Protocol):
    """Prices as a function of time alone: the same question has the same answer for ever."""

    @property
    def specs(self) -> Mapping[str, Spec]:
        """Return the symbols that it has prices of."""

    def is_open(self, at: int) -> bool:
        """Tell whether the market is open."""

    def quote(self, symbol: str, at: int) -> Quote | None:
        """Return the newest price at that time."""

    def extremes(self, symbol: str, start: int, end: int) -> Extremes | None:
        """Return how far the ticks of `start <= time < end` went; None where there is none."""

    def bar(self, symbol: str, start: int, end: int) -> Bar | None:
        """Return the ticks of `start <= time < end` as one bar; None where there is none."""


def merged(bars: Iterable[Bar]) -> Bar | None:
    """Return bars that follow each other as one."""
    parts = list(bars)
    if not parts:
        return None
    return Bar(
        parts[0].open,
        max(bar.high for bar in parts),
        min(bar.low for bar in parts),
        parts[-1].close,
        sum(bar.volume for bar in parts),
    )


def widest(parts: Iterable[Extremes]) -> Extremes | None:
    """Return the extremes of several stretches together."""
    found = list(parts)
    if not found:
        return None
    return Extremes(
        min(part.bid_low for part in found),
        max(part.bid_high for part in found),
        min(part.ask_low for part in found),
        max(part.ask_high for part in found),
    )


def first_hit(
    market: Market, symbol: str, start: int, end: int, hit: Callable[[Extremes], bool]
) -> Quote | None:
    """Return the first tick of `start <= time < end` that `hit`s, found by halving the stretch.

    `hit` must be true of a stretch exactly where it is true of one of its ticks.
    """

    def within(until: int) -> bool:
        found = market.extremes(symbol, start, until)
        return found is not None and hit(found)

    if start >= end or not within(end):
        return None
    below, above = start, end
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (below, middle) if within(middle) else (middle, above)
    return market.quote(symbol, above - 1)
