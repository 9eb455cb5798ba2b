"""Trying again while PostgreSQL is away."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from jobengine.errors import EngineUnavailable, TryAgain

log = logging.getLogger("jobengine.worker")
T = TypeVar("T")


def backoffs(first: float, longest: float) -> Iterator[float]:
    """Yield pauses that double up to the longest, with jitter, for ever."""
    pause = first
    while True:
        yield pause * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
        pause = min(longest, pause * 2)


async def persistently(
    call: Callable[[], Awaitable[T]], what: str, stop: asyncio.Event | None = None
) -> T | None:
    """Return what `call` returns, however long PostgreSQL is away; None once `stop` is set.

    For calls that may be repeated: one whose answer was lost may have happened.
    """
    for pause in backoffs(0.05, 5.0):
        if stop is not None and stop.is_set():
            return None
        try:
            return await call()
        except (EngineUnavailable, TryAgain) as error:
            log.warning("%s: %s; again in %.2f s", what, error, pause)
        await asyncio.sleep(pause)
    raise AssertionError
