"""How long to wait before a call is repeated."""

from __future__ import annotations

import random

FIRST_SECONDS = 0.2
LONGEST_SECONDS = 60.0


class Backoff:
    """Pauses that double, each by chance between its half and its whole; the first is none."""

    def __init__(self, longest: float = LONGEST_SECONDS) -> None:
        self._longest = longest
        self._tries = 0

    def next(self, asked_for: float | None = None) -> float:
        """Return the next pause; one that the service asked for is never cut short."""
        self._tries += 1
        pause = 0.0
        if self._tries > 1:  # a kept connection that the other side closed fails just once
            whole = min(self._longest, FIRST_SECONDS * 2 ** min(self._tries - 2, 20))
            pause = whole * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        return pause if asked_for is None else asked_for + pause

    def reset(self) -> None:
        """Begin anew: something succeeded."""
        self._tries = 0
