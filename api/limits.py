"""How often somebody may be wrong, and how much of a thing may come."""

from __future__ import annotations

import time
from collections import OrderedDict

WINDOW_SECONDS = 60.0
REMEMBERED = 10_000


class _Counts:
    """Counts per name, of the last ten thousand names, in windows of a minute."""

    def __init__(self) -> None:
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def add(self, name: str) -> tuple[float, int]:
        """Count one more; return when the window began, and the count before."""
        began, count = self.of(name)
        self._counts[name] = (began, count + 1)
        self._counts.move_to_end(name)
        if len(self._counts) > REMEMBERED:
            self._counts.popitem(last=False)
        return began, count

    def of(self, name: str) -> tuple[float, int]:
        """Return when the window began, and the count; one that is over counts nothing."""
        now = time.monotonic()
        began, count = self._counts.get(name, (now, 0))
        return (began, count) if now - began < WINDOW_SECONDS else (now, 0)


class Failures:
    """Counts failures per name; so many a minute are free."""

    def __init__(self, free: int) -> None:
        self._free = free
        self._counts = _Counts()

    def add(self, name: str) -> int:
        """Count one more; the answer is 0, or after how many seconds it is worth trying again."""
        return self._answer(*self._counts.add(name))

    def wait(self, name: str) -> int:
        """Return what `add` would, and count nothing."""
        return self._answer(*self._counts.of(name))

    def _answer(self, began: float, count: int) -> int:
        if count < self._free:
            return 0
        return max(1, round(began + WINDOW_SECONDS - time.monotonic()))


class Rate:
    """Counts what comes per name."""

    def __init__(self, allowed: int) -> None:
        """So many a minute are allowed; 0: any number."""
        self._allowed = allowed
        self._counts = _Counts()

    def add(self, name: str) -> None:
        """Count one more."""
        self._counts.add(name)

    def over(self, name: str) -> int:
        """Return how often the allowance of this minute is used up: 0, 1 or more times."""
        return self._counts.of(name)[1] // self._allowed if self._allowed else 0
