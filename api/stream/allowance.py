"""How much somebody may do."""

from __future__ import annotations

import time


class Allowance:
    """So many a second; what was not used in the last second may be used at once."""

    __slots__ = ("_counted", "_left", "_per_second")

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._left = float(per_second)
        self._counted = time.monotonic()

    def spend(self, number: int = 1) -> bool:
        """Take so many off; False where that is more than there is."""
        now = time.monotonic()
        gained = (now - self._counted) * self._per_second
        self._left = min(self._left + gained, self._per_second) - number
        self._counted = now
        return self._left >= 0
