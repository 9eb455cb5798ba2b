"""Which prices are watched, for the agents: `interest:{agent_id}` holds instrument → expiry.

Every process renews what it watches, so an entry outlives its renewal by a little and a process
that died by `KEPT_SECONDS`. What is not watched any more is not removed, as another process may
watch it: its expiry comes near, unless somebody renews it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from uuid import UUID

from api.errors import Problem
from api.redis_store import RedisStore
from api.stream.manager import Topic

log = logging.getLogger("api.stream")

RENEW_SECONDS = 4.0
PAUSE_SECONDS = 0.1  # what comes and goes meanwhile is written in one go
KEPT_SECONDS = 15.0
LEFT_SECONDS = 6.0  # longer than a renewal takes to come


class Interest:
    """Writes down what is watched; `run` renews it."""

    def __init__(self, redis: RedisStore, watched: Iterable[Topic]) -> None:
        self._redis = redis
        self._watched = watched
        self._written: set[Topic] = set()
        self._renewed = float("-inf")
        self._change = asyncio.Event()

    def changed(self) -> None:
        """Write what has come and gone, soon."""
        self._change.set()

    async def run(self) -> None:
        while True:
            due = self._renewed + RENEW_SECONDS
            try:
                async with asyncio.timeout(max(0.0, due - time.monotonic())):
                    await self._change.wait()
            except TimeoutError:
                self._renewed = time.monotonic()
            self._change.clear()
            await self._write(renew=time.monotonic() >= due)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _write(self, *, renew: bool) -> None:
        """Write what is not written yet, or all, and what is not watched any more."""
        watched = {topic for topic in self._watched if topic.agent_id}
        new = watched if renew else watched - self._written
        gone = self._written - watched
        self._written = watched
        if new or gone:
            now = time.time()
            expiries = dict.fromkeys(new, now + KEPT_SECONDS)
            try:
                await self._redis.put_interest(
                    _by_agent(expiries), _by_agent(dict.fromkeys(gone, now + LEFT_SECONDS))
                )
            except Problem:
                log.warning("which prices are watched was not written")


def _by_agent(expiries: Mapping[Topic, float]) -> dict[UUID, dict[str, int]]:
    found: dict[UUID, dict[str, int]] = {}
    for topic, expiry in expiries.items():
        assert topic.agent_id is not None
        found.setdefault(topic.agent_id, {})[topic.instrument] = int(expiry * 1000)
    return found
