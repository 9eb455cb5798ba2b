"""A market that closes at weekends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from forex_agent.simulated.market import Bar, Extremes, Market, Quote, merged, widest
from forex_agent.simulated.symbols import Spec

_HOUR = 3_600_000
_WEEK = 7 * 24 * _HOUR
# 1970 began on a Thursday: Sunday 22:00 UTC, when the week opens, is 94 hours later.
_OPENS = 94 * _HOUR
_OPEN_FOR = 5 * 24 * _HOUR


class WeekendClosed:
    """Another market, open from Sunday 22:00 to Friday 22:00 UTC; between, its price stands."""

    def __init__(self, market: Market) -> None:
        self._market = market

    @property
    def specs(self) -> Mapping[str, Spec]:
        """Return the market's symbols."""
        return self._market.specs

    def is_open(self, at: int) -> bool:
        """Tell whether the week is on."""
        return (at - _OPENS) % _WEEK < _OPEN_FOR and self._market.is_open(at)

    def quote(self, symbol: str, at: int) -> Quote | None:
        """Return the newest price; at weekends the last one of Friday."""
        into = (at - _OPENS) % _WEEK
        return self._market.quote(symbol, at - max(0, into - _OPEN_FOR + 1))

    def extremes(self, symbol: str, start: int, end: int) -> Extremes | None:
        """Return how far the ticks of the open hours went."""
        parts = (self._market.extremes(symbol, *part) for part in _open_parts(start, end))
        return widest(part for part in parts if part is not None)

    def bar(self, symbol: str, start: int, end: int) -> Bar | None:
        """Return the ticks of the open hours as one bar; a wholly closed stretch has none."""
        parts = (self._market.bar(symbol, *part) for part in _open_parts(start, end))
        return merged(part for part in parts if part is not None)


def _open_parts(start: int, end: int) -> Iterator[tuple[int, int]]:
    opens = start - (start - _OPENS) % _WEEK
    while opens < end:
        part = (max(start, opens), min(end, opens + _OPEN_FOR))
        if part[0] < part[1]:
            yield part
        opens += _WEEK
