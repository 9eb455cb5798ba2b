"""Trying again while PostgreSQL is away."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from jobengine import logs
from jobengine._meter import Meter
from jobengine.errors import EngineError, EngineUnavailable, TryAgain

log = logging.getLogger("jobengine.worker")
T = TypeVar("T")


# A job that was not enqueued with wake=True ends without a word: a waiter asks again after 10 ms,
# then less and less often; seconds.
LOOK_FIRST = 0.01
LOOK_MAX = 0.5


def looks() -> Iterator[float]:
    """Yield the pauses between looks at a job whose end is waited for."""
    return backoffs(LOOK_FIRST, LOOK_MAX)


def backoffs(first: float, longest: float) -> Iterator[float]:
    """Yield pauses that double up to the longest, with jitter, for ever."""
    pause = first
    while True:
        yield jittered(pause, 0.2)
        pause = min(longest, pause * 2)


def jittered(seconds: float, share: float = 0.5) -> float:
    """Return about so many seconds: up to `share` less or more, so that processes fall apart."""
    return seconds * random.uniform(1 - share, 1 + share)  # noqa: S311 - jitter


def note_retry(call: str, error: EngineError, seconds: float, meter: Meter | None) -> None:
    """Log and count a call that failed and is made again in so many seconds."""
    logs.emit(log, logs.CALL_RETRIED, call=call, error=str(error), seconds=seconds)
    if meter is not None:
        meter.retried(call)


async def persistently(
    call: Callable[[], Awaitable[T]],
    what: str,
    stop: asyncio.Event | None = None,
    *,
    meter: Meter | None = None,
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
            note_retry(what, error, pause, meter)
        await asyncio.sleep(pause)
    raise AssertionError
