"""The parts together: clients come, ask, and go; what is due by the clock is done."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from uuid import UUID

from api.database import Pool
from api.metrics import family
from api.redis_store import RedisStore
from api.settings import Settings
from api.stream.client import Client
from api.stream.counts import Counts
from api.stream.interest import Interest
from api.stream.manager import Topic, WebSocketManager
from api.stream.messages import (
    MOST_INSTRUMENTS,
    OVERLOADED,
    TOO_MANY,
    UNAUTHORISED,
    Closing,
    frame,
    heartbeat,
)
from api.stream.protocol import Link
from api.stream.reader import Reader
from api.stream.viewers import Viewer, Viewers
from api.tokens import Tokens, User

SILENT_SECONDS = 15.0  # after so long without a message a client is told that we live
TICK_SECONDS = 1.0


class PriceStream:
    """All WebSocket clients of a process. Not for threads."""

    def __init__(self, settings: Settings, pool: Pool, redis: RedisStore, tokens: Tokens) -> None:
        self.tokens = tokens
        self.origins = settings.cors_origins
        self.counts = Counts()
        self._most = settings.stream_clients
        self._shared = settings.price_scope == "shared"
        self._reader = Reader(settings.redis_url)
        self.manager = WebSocketManager(self._reader, self.counts)
        self._viewers = Viewers(pool, self._moved)
        self._interest = Interest(redis, self.manager)
        self._clients: set[Client] = set()

    @property
    def works(self) -> Iterable[Callable[[], Awaitable[None]]]:
        """What runs as long as the process does."""
        return (
            lambda: self._reader.run(self.manager),
            self._viewers.run,
            self._interest.run,
            self._by_the_clock,
        )

    def forget(self, agent_id: UUID | None) -> None:
        """Look up whose prices are seen, where the agent is concerned; None: any may be."""
        self._viewers.forget(agent_id)

    # One client

    def come(self, link: Link) -> Client:
        """Take a connection; Closing 1013 above the limit. It ends with `leave`."""
        if len(self._clients) >= self._most:
            self.counts.refused += 1
            raise Closing(OVERLOADED, "too many connections")
        client = Client(link, self.counts, self.manager.together)
        self._clients.add(client)
        self.counts.clients = len(self._clients)
        return client

    async def enter(self, client: Client, user: User, broker_connection_id: UUID | None) -> None:
        """Let the client see the prices of the user's agent."""
        client.expires = user.expires
        viewer = await self._viewers.join(client, user, broker_connection_id)
        if viewer.known and self._topic(viewer.agent_id, "") is None:
            client.post(_NO_AGENT)

    def leave(self, client: Client) -> None:
        client.forget()
        self._clients.discard(client)
        self.counts.clients = len(self._clients)
        if client.viewer is not None:
            self.unwatch(client, list(client.instruments))
            self._viewers.leave(client, client.viewer)

    def renew(self, client: Client, user: User) -> None:
        """Go on with a newer token of the same user; Closing 4001 for another's."""
        if client.viewer is None or client.viewer.user.user_id != user.user_id:
            raise Closing(UNAUTHORISED, "the token is another user's")
        client.expires = user.expires

    def admit(self, client: Client, instruments: Iterable[str]) -> None:
        """Raise Closing 4029 where the client's instruments would become too many."""
        if len(client.instruments.keys() | set(instruments)) > MOST_INSTRUMENTS:
            raise Closing(TOO_MANY, f"at most {MOST_INSTRUMENTS} instruments")

    def watch(self, client: Client, instruments: Iterable[str]) -> None:
        """Add instruments; the snapshots of those that are new come at once."""
        new = [name for name in instruments if name not in client.instruments]
        client.instruments.update(dict.fromkeys(new))
        for topic in self._topics(client, new):
            self.manager.connect(client, topic)
        self._interest.changed()

    def unwatch(self, client: Client, instruments: Iterable[str]) -> None:
        gone = [name for name in instruments if name in client.instruments]
        for topic in self._topics(client, gone):
            self.manager.disconnect(client, topic)
        for name in gone:
            del client.instruments[name]
        self._interest.changed()

    def _topics(self, client: Client, instruments: Iterable[str]) -> Iterator[Topic]:
        agent_id = client.viewer.agent_id if client.viewer else None
        found = (self._topic(agent_id, name) for name in instruments)
        return (topic for topic in found if topic is not None)

    def _topic(self, agent_id: UUID | None, instrument: str) -> Topic | None:
        """The user's own agent's; prices of others only where they are shared."""
        return Topic(agent_id, instrument) if agent_id or self._shared else None

    def _moved(self, viewer: Viewer, before: UUID | None) -> None:
        """Another agent trades for the user, or it was learned late that none does."""
        for client in viewer.clients:
            if viewer.agent_id != before:
                self._follow(client, before, viewer.agent_id)
            if client.instruments and self._topic(viewer.agent_id, "") is None:
                client.post(_NO_AGENT)
        self._interest.changed()

    def _follow(self, client: Client, before: UUID | None, agent_id: UUID | None) -> None:
        """What the client watches is now the other agent's."""
        for name in client.instruments:
            if old := self._topic(before, name):
                self.manager.disconnect(client, old)
            if new := self._topic(agent_id, name):
                self.manager.connect(client, new)

    # All clients

    async def _by_the_clock(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self.manager.note_stale()
            self._expire(time.time())
            self._beat(asyncio.get_running_loop().time())

    def _expire(self, now: float) -> None:
        for client in [client for client in self._clients if client.expires <= now]:
            client.end(UNAUTHORISED, "the token has expired")

    def _beat(self, now: float) -> None:
        message = heartbeat()
        for client in self._clients:
            if client.viewer is not None and now - client.spoke >= SILENT_SECONDS:
                client.post(message, _HEARTBEAT)

    def text(self) -> str:
        """Return the counters for Prometheus."""
        counts = self.counts
        return "\n".join(
            line
            for name, kind, value in (
                ("clients", "gauge", counts.clients),
                ("messages_total", "counter", counts.delivered),
                ("prices_replaced_total", "counter", counts.conflated),
                ("slow_clients_closed_total", "counter", counts.slow),
                ("clients_refused_total", "counter", counts.refused),
                ("gaps_total", "counter", counts.gaps),
            )
            for line in family(f"api_stream_{name}", kind, [("", value)])
        )


_HEARTBEAT = object()  # the slot
_NO_AGENT = frame({"type": "error", "code": "no_agent"})
