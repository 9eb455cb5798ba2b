"""Any call of an agent is a sign of life: told to the database in batches, not call by call."""

from __future__ import annotations

import asyncio
import logging
import time
from uuid import UUID

import psycopg

from api import calls
from api.database import Pool, as_service

log = logging.getLogger("api.presence")

EVERY_SECONDS = 2.0
AGENT_SECONDS = 15.0  # an agent is written once in so many seconds (agent_seen.sql)
BATCH = 1000


class Presence:
    """Collects who called; `run` writes it down."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._seen: set[UUID] = set()
        self._written: dict[UUID, float] = {}

    def seen(self, agent_id: UUID) -> None:
        """Note a call of the agent."""
        if time.monotonic() - self._written.get(agent_id, float("-inf")) >= AGENT_SECONDS:
            self._seen.add(agent_id)

    async def run(self) -> None:
        """Write the signs of life, for ever; those of an outage are written after it."""
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            try:
                await self.flush()
            except psycopg.Error as error:
                log.warning("signs of life wait: %s", error)

    async def flush(self) -> None:
        """Write what was noted."""
        while batch := [self._seen.pop() for _ in range(min(BATCH, len(self._seen)))]:
            try:
                async with as_service(self._pool) as conn:
                    await calls.agent_seen(conn, agent_ids=batch)
            except psycopg.Error:
                self._seen.update(batch)
                raise
            self._note(batch)

    def _note(self, batch: list[UUID]) -> None:
        now = time.monotonic()
        self._written = {a: at for a, at in self._written.items() if now - at < AGENT_SECONDS}
        self._written.update(dict.fromkeys(batch, now))
