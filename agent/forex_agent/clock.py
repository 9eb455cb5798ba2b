"""Time that no change of the machine's clock disturbs, and the service's time."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

# On Linux CLOCK_MONOTONIC stands still while the machine sleeps; leases and orders do not.
_BOOT = getattr(time, "CLOCK_BOOTTIME", None)


def elapsed() -> float:
    """Seconds since some moment; only differences mean anything."""
    return time.monotonic() if _BOOT is None else time.clock_gettime(_BOOT)


def utc_now() -> datetime:
    """Return this machine's word for the time."""
    return datetime.now(UTC)


class ServerClock:
    """The service's time, told from its own answers; the machine's clock may be wrong by hours.

    An answer names a moment between the call and the answer. The clock takes the moment for that of
    the call, so it is ahead by as much at most, and nothing expires unseen.
    """

    def __init__(self) -> None:
        self._offset: float | None = None  # the service's timestamp minus `elapsed()`

    @property
    def known(self) -> bool:
        """Whether any answer has told the time yet."""
        return self._offset is not None

    def learn(self, timestamp: float, *, asked: float) -> None:
        """Take over what an answer said; `asked` is `elapsed()` before its call."""
        self._offset = timestamp - asked

    def now(self) -> datetime:
        """Return the service's time; the machine's own until an answer has told it."""
        if self._offset is None:
            return utc_now()
        return datetime.fromtimestamp(self._offset + elapsed(), UTC)

    def skew(self) -> timedelta:
        """Return how far the machine's clock is ahead of the service."""
        return utc_now() - self.now()
