"""Where the simulated terminal gets its time: from outside, so that a test can drive it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def to_ms(at: datetime) -> int:
    """Return an aware time as whole milliseconds since 1970, which is what the book keeps."""
    return (at - _EPOCH) // _MILLISECOND


def from_ms(at: int) -> datetime:
    """Return milliseconds since 1970 as an aware time in UTC."""
    return _EPOCH + at * _MILLISECOND


class Clock(Protocol):
    """Tells the time in milliseconds since 1970 and waits."""

    def now(self) -> int:
        """Return the time; it never goes back."""

    def sleep(self, seconds: float) -> None:
        """Wait that long."""


class LiveClock:
    """The machine's time, held where the machine's goes back."""

    def __init__(self) -> None:
        self._last = 0

    def now(self) -> int:
        """Return the machine's time, or the last answer where that is later."""
        self._last = max(self._last, time.time_ns() // 1_000_000)
        return self._last

    def sleep(self, seconds: float) -> None:
        """Block the calling thread."""
        time.sleep(seconds)


class ManualClock:
    """Stands still until it is told; `sleep` advances it at once."""

    def __init__(self, start: datetime) -> None:
        """`start` is an aware time."""
        self._now = to_ms(start)

    def now(self) -> int:
        """Return the time it was set to."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Advance instead of waiting."""
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Go forward; negative seconds are refused."""
        if seconds < 0:
            raise ValueError("seconds: a clock never goes back")
        self._now += round(seconds * 1000)
