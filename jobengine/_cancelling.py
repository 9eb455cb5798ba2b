"""Ending tasks for sure."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

_AGAIN = 0.5


async def cancelled(*tasks: asyncio.Task[Any], within: float = math.inf) -> None:
    """Cancel the tasks and return when they have ended, or after so many seconds.

    Cancels again and again: before Python 3.12 `asyncio.wait_for` loses a cancellation that comes
    together with what it waits for, and a pool waits for its connections that way.
    """
    deadline = time.monotonic() + within
    while (alive := [task for task in tasks if not task.done()]) and (
        left := deadline - time.monotonic()
    ) > 0:
        for task in alive:
            task.cancel()
        await asyncio.wait(alive, timeout=min(_AGAIN, left))
