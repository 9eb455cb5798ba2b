"""MetaTrader's 21 timeframes: where a bar begins, and the one before it."""

from __future__ import annotations

from datetime import datetime

from forex_agent.simulated.clock import from_ms, to_ms

_MINUTE = 60_000
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR
_WEEK = 7 * _DAY
# 1970 began on a Thursday; a week's bar begins on Sunday.
_SUNDAY = 3 * _DAY

_SPANS = {
    **{f"M{count}": count * _MINUTE for count in (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30)},
    **{f"H{count}": count * _HOUR for count in (1, 2, 3, 4, 6, 8, 12)},
    "D1": _DAY,
    "W1": _WEEK,
}

TIMEFRAMES = (*_SPANS, "MN1")


def bar_start(timeframe: str, at: int) -> int:
    """Return when the bar that holds `at` began, in UTC; `KeyError` for no timeframe of ours."""
    if timeframe == "MN1":
        return _month_start(at)
    span = _SPANS[timeframe]
    shift = _SUNDAY if timeframe == "W1" else 0
    return at - (at - shift) % span


def bar_before(timeframe: str, start: int) -> int:
    """Return when the bar before the one that began at `start` began."""
    return bar_start(timeframe, start - 1)


def _month_start(at: int) -> int:
    day: datetime = from_ms(at)
    return to_ms(day.replace(day=1, hour=0, minute=0, second=0, microsecond=0))
