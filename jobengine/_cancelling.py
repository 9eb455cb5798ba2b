"""Cancellations that are not lost.

Before Python 3.12 `asyncio.wait_for` loses a cancellation that comes together with what it waits
for; the driver waits for answers that way, and its pool for connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Iterator
from typing import Any

_AGAIN = 0.5


@contextlib.contextmanager
def heeded() -> Iterator[None]:
    """Raise the cancellation that came, but was lost, while the block ran."""
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    yield
    if task is not None and task.cancelling() > before:
        raise asyncio.CancelledError


async def cancelled(*tasks: asyncio.Task[Any], within: float = math.inf) -> None:
    """Cancel the tasks and return when they have ended, or after so many seconds.

    Cancels again and again, as one cancellation may be lost.
    """
    deadline = time.monotonic() + within
    while (alive := [task for task in tasks if not task.done()]) and (
        left := deadline - time.monotonic()
    ) > 0:
        for task in alive:
            task.cancel()
        await asyncio.wait(alive, timeout=min(_AGAIN, left))
