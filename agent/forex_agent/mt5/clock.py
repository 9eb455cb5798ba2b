"""The broker's clock: the package's times are its wall clock, written as if they were UTC.

How far it is ahead is nowhere to be asked. It is seen from a tick that has just come: its time less
ours, rounded to half an hour, for no broker uses a finer time zone.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

STEP = timedelta(minutes=30)
# A tick that has just come is at most so late, and our own clock off by so much.
LATE = timedelta(minutes=5)
BEHIND, AHEAD = timedelta(hours=-12), timedelta(hours=14)


class BrokerClock:
    """Turns the broker's time into UTC; learns the offset from ticks, unless it was told it."""

    def __init__(self, told: timedelta | None, now: Callable[[], datetime]) -> None:
        self._now = now
        self._told = told
        self._learned = told
        self._guess = timedelta()
        self._seen: dict[str, tuple[int, datetime]] = {}

    @property
    def known(self) -> bool:
        """Whether the offset was told, or seen from a tick that had just come."""
        return self._learned is not None

    @property
    def offset(self) -> timedelta:
        """How far the broker's clock is ahead of UTC, a guess while it is not `known`."""
        return self._guess if self._learned is None else self._learned

    def learn(self, symbol: str, milliseconds: int) -> None:
        """Learn from a symbol's newest tick.

        The first look at a symbol only gives a guess: its market may be closed, and the tick old. A
        tick that was not there a moment ago has just come, and says it for sure.
        """
        now = self._now()
        fresh = self._just_came(symbol, milliseconds, now)
        nearest = _half_hours(_moment(milliseconds) - now)
        if self._told is not None or nearest is None:
            return
        self._guess = nearest
        if fresh:
            self._learned = nearest

    def _just_came(self, symbol: str, milliseconds: int, now: datetime) -> bool:
        before, looked = self._seen.get(symbol, (milliseconds, now))
        self._seen[symbol] = (milliseconds, now)
        return milliseconds != before and now - looked <= LATE

    def utc(self, milliseconds: int) -> datetime:
        """Return the time that the broker's milliseconds name."""
        return _moment(int(milliseconds)) - self.offset

    def broker_seconds(self, moment: datetime) -> int:
        """Return the broker's seconds for a time, rounded down."""
        return int((moment + self.offset).timestamp() // 1)


def _half_hours(ahead: timedelta) -> timedelta | None:
    """Round to half an hour; None where the distance is far from any, or none of this earth."""
    nearest = STEP * round(ahead / STEP)
    return nearest if abs(ahead - nearest) <= LATE and BEHIND <= nearest <= AHEAD else None


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
