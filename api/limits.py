"""How often somebody may be wrong."""

from __future__ import annotations

import time
from collections import OrderedDict

WINDOW_SECONDS = 60.0
REMEMBERED = 10_000


class Failures:
    """Counts failures per name, of the last ten thousand names; so many a minute are free."""

    def __init__(self, free: int) -> None:
        self._free = free
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def add(self, name: str) -> int:
        """Count one more; the answer is 0, or after how many seconds it is worth trying again."""
        now = time.monotonic()
        began, count = self._counts.pop(name, (now, 0))
        if now - began >= WINDOW_SECONDS:
            began, count = now, 0
        self._counts[name] = (began, count + 1)
        if len(self._counts) > REMEMBERED:
            self._counts.popitem(last=False)
        return 0 if count < self._free else _left(began, now)

    def wait(self, name: str) -> int:
        """Return what `add` would, and count nothing."""
        now = time.monotonic()
        began, count = self._counts.get(name, (now, 0))
        over = count >= self._free and now - began < WINDOW_SECONDS
        return _left(began, now) if over else 0


class Rate:
    """Counts what comes per name, of the last ten thousand names, in windows of a minute."""

    def __init__(self, allowed: int) -> None:
        """So many a minute are allowed; 0: any number."""
        self._allowed = allowed
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def add(self, name: str) -> None:
        """Count one more."""
        now = time.monotonic()
        began, count = self._counts.pop(name, (now, 0))
        if now - began >= WINDOW_SECONDS:
            began, count = now, 0
        self._counts[name] = (began, count + 1)
        if len(self._counts) > REMEMBERED:
            self._counts.popitem(last=False)

    def over(self, name: str) -> int:
        """Return how often the allowance of this minute is used up: 0, 1 or more times."""
        began, count = self._counts.get(name, (0.0, 0))
        past = time.monotonic() - began >= WINDOW_SECONDS
        return 0 if past or not self._allowed else count // self._allowed


def _left(began: float, now: float) -> int:
    return max(1, round(began + WINDOW_SECONDS - now))
