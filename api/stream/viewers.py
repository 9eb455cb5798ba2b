"""Whose prices a user sees: those of the agent that trades for him (`trading_agent.sql`)."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeAlias
from uuid import UUID

import psycopg

from api import calls
from api.database import Pool, as_user
from api.stream.client import Client
from api.tokens import User

log = logging.getLogger("api.stream")

LOOK_SECONDS = (24.0, 36.0)  # the agent is looked up so often
MISSING_SECONDS = (8.0, 12.0)  # and where there is none
AGAIN_SECONDS = (1.0, 3.0)  # and where the database did not answer
CHANGED_SECONDS = (0.0, 1.0)  # an announced agent is looked up so soon
ANY_SECONDS = (0.0, 10.0)  # and when any may have changed
TICK_SECONDS = 0.2
JOIN_SECONDS = 5.0  # then a client goes on without an agent, until `run` has found it
AT_ONCE = 3  # look-ups, so that requests find connections in the pool

_NOT_FOUND = "FX404"  # the account is not, or no longer, the user's

_Key: TypeAlias = tuple[UUID, UUID | None]


@dataclass(eq=False, slots=True)
class Viewer:
    """A user, the broker account that he named or none, and the connections that ask for both."""

    user: User
    broker_connection_id: UUID | None
    clients: set[Client] = field(default_factory=set)
    agent_id: UUID | None = None
    known: bool = False  # the database has answered
    due: float = 0.0
    looking: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def key(self) -> _Key:
        return self.user.user_id, self.broker_connection_id

    def look_in(self, seconds: tuple[float, float]) -> None:
        """Have the agent looked up in so many seconds."""
        self.due = time.monotonic() + random.uniform(*seconds)  # noqa: S311 - jitter


class Viewers:
    """Looks the agents up; `moved` is called with what was learned, and whose agent it was before.

    That is: the user has another agent, or it is known for the first time that there is none.
    """

    def __init__(self, pool: Pool, moved: Callable[[Viewer, UUID | None], None]) -> None:
        self._pool = pool
        self._moved = moved
        self._viewers: dict[_Key, Viewer] = {}
        self._at_once = asyncio.Semaphore(AT_ONCE)

    async def join(self, client: Client, user: User, broker_connection_id: UUID | None) -> Viewer:
        """Give the client its viewer; it waits for the agent's look-up, but not for long."""
        new = Viewer(user, broker_connection_id)
        viewer = client.viewer = self._viewers.setdefault(new.key, new)
        viewer.clients.add(client)
        if not viewer.known:
            with suppress(TimeoutError):
                async with asyncio.timeout(JOIN_SECONDS):
                    await self._look_up(viewer)
        return viewer

    def leave(self, client: Client, viewer: Viewer) -> None:
        viewer.clients.discard(client)
        if not viewer.clients and self._viewers.get(viewer.key) is viewer:
            del self._viewers[viewer.key]

    def forget(self, agent_id: UUID | None) -> None:
        """Look again at whoever may see another agent than before; None: any may have changed."""
        for viewer in self._viewers.values():
            if agent_id is None:
                viewer.look_in(ANY_SECONDS)
            elif viewer.agent_id in (agent_id, None):
                viewer.look_in(CHANGED_SECONDS)

    async def run(self) -> None:
        """Look up whoever is due, for ever."""
        while True:
            now = time.monotonic()
            due = [viewer for viewer in self._viewers.values() if viewer.due <= now]
            await asyncio.gather(*(self._look_up(viewer, again=True) for viewer in due))
            await asyncio.sleep(TICK_SECONDS)

    async def _look_up(self, viewer: Viewer, *, again: bool = False) -> None:
        async with viewer.looking, self._at_once:
            if viewer.known and not again:
                return
            try:
                agent_id = await self._agent(viewer)
            except psycopg.Error as error:
                log.warning("whose prices a user sees was not looked up: %s", error)
                viewer.look_in(AGAIN_SECONDS)
                return
            viewer.look_in(LOOK_SECONDS if agent_id else MISSING_SECONDS)
            learned = not viewer.known or viewer.agent_id != agent_id
            before, viewer.agent_id, viewer.known = viewer.agent_id, agent_id, True
            if learned:
                self._moved(viewer, before)

    async def _agent(self, viewer: Viewer) -> UUID | None:
        account = viewer.broker_connection_id
        try:
            async with as_user(self._pool, viewer.user.claims) as conn:
                found = await calls.trading_agent(conn, broker_connection_id=account)
        except psycopg.Error as error:
            if error.sqlstate == _NOT_FOUND:
                return None
            raise
        return found.agent_id if found else None
