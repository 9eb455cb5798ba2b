"""Asking again, as a remote agent does whose answers get lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from jobengine.errors import EngineUnavailable, TryAgain

T = TypeVar("T")
PAUSE = 0.05


async def until_answered(call: Callable[[], Awaitable[T]]) -> T:
    """Return the answer, however often it takes to get one."""
    while True:
        try:
            return await call()
        except (EngineUnavailable, TryAgain):
            await asyncio.sleep(PAUSE)
