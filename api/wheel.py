"""Timers by the tenth of a second, for those of which there are thousands.

One of the loop's timers drives all, so that what ends at about the same time ends in one turn of
the loop: for 10,000 polls that is 10 wake-ups a second instead of 450, and nothing is sorted.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

TICK = 0.1  # seconds


class Turn:
    """A call that is due once; `cancel` forgets it."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[[], object]) -> None:
        self._call: Callable[[], object] | None = call

    def cancel(self) -> None:
        self._call = None

    def come(self) -> None:
        """Make the call, unless it was cancelled or made."""
        call, self._call = self._call, None
        if call is not None:
            call()


class Wheel:
    """Makes calls after their time, at most a tick later. Not for threads."""

    def __init__(self) -> None:
        """Nothing is due."""
        self._turns: dict[int, list[Turn]] = {}  # by the number of the tick
        self._next: asyncio.TimerHandle | None = None

    def later(self, seconds: float, call: Callable[[], object]) -> Turn:
        """Have it called after so many seconds."""
        loop = asyncio.get_running_loop()
        turn = Turn(call)
        self._turns.setdefault(math.ceil((loop.time() + seconds) / TICK), []).append(turn)
        if self._next is None:
            self._next = loop.call_later(TICK, self._tick, loop)
        return turn

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        """Make the calls that are due; one that fails is the loop's to report."""
        now = math.floor(loop.time() / TICK)
        for number in sorted(number for number in self._turns if number <= now):
            for turn in self._turns.pop(number):
                try:
                    turn.come()
                except Exception as error:  # noqa: BLE001 - as the loop does with its own
                    loop.call_exception_handler({"message": "a timer failed", "exception": error})
        self._next = loop.call_later(TICK, self._tick, loop) if self._turns else None
