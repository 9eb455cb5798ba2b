"""Who watches what in this process."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from api.stream.client import Client, Together
from api.stream.counts import Counts
from api.stream.messages import Quote, read_quote, tick

log = logging.getLogger("api.stream")

OVERTAKEN_MS = 2000  # what was published longer ago is not on its way any more


@dataclass(frozen=True, slots=True)
class Topic:
    """An instrument as one agent prices it; without an agent, as whichever agent came last."""

    agent_id: UUID | None
    instrument: str

    @property
    def key(self) -> bytes:
        """Key and channel in Redis."""
        owner = f"{self.agent_id}:" if self.agent_id else ""
        return f"prices:{owner}{self.instrument}".encode()


@dataclass(eq=False, slots=True)
class Channel:
    """A topic that somebody watches, and the last that is known of it."""

    topic: Topic
    clients: dict[Client, None] = field(default_factory=dict)
    quote: Quote | None = None
    heard: int = 0  # how often something was learned: tells an answer that was overtaken
    gap: bool = False  # prices may have been missed, and nobody was told yet
    stale: bool = False  # the clients know that the price is old
    remembered: bool = False  # what is known was looked up: older ones may still be on their way

    def overtook(self, quote: Quote) -> bool:
        """Tell whether a look-up found a newer price than this one that was published before.

        Not for long: the clock of another process may be behind for ever.
        """
        known = self.quote.ts if self.quote and self.remembered else quote.ts
        return 0 < known - quote.ts < OVERTAKEN_MS

    def said(self, message: bytes) -> None:
        for client in self.clients:
            client.post(message, self.topic.instrument)

    def snapshot(self, quote: Quote) -> bytes:
        return tick(self.topic.instrument, quote, snapshot=True, gap=self.gap, stale=quote.stale)


class Subscriptions(Protocol):
    """Where prices come from: is told which are wanted."""

    def want(self, key: bytes) -> None: ...

    def unwant(self, key: bytes) -> None: ...


class WebSocketManager:
    """Topics and the clients who watch them. Not for threads.

    The first watcher of a topic has it subscribed, the leaving of the last one ends that.
    """

    def __init__(self, subscriptions: Subscriptions, counts: Counts) -> None:
        self._subscriptions = subscriptions
        self._counts = counts
        self._channels: dict[bytes, Channel] = {}
        self.together = Together()

    def __iter__(self) -> Iterator[Topic]:
        """Return the topics that are watched."""
        return (channel.topic for channel in self._channels.values())

    def connect(self, client: Client, topic: Topic) -> None:
        """Have the client told the last price, if there is one, and every one that comes."""
        channel = self._channels.get(topic.key)
        if channel is None:
            channel = self._channels[topic.key] = Channel(topic)
            self._subscriptions.want(topic.key)
        channel.clients[client] = None
        if channel.quote is not None:
            client.post(channel.snapshot(channel.quote), topic.instrument)

    def disconnect(self, client: Client, topic: Topic) -> None:
        """Tell the client no more of it, not even what waits."""
        client.withdraw(topic.instrument)
        channel = self._channels.get(topic.key)
        if channel is None or client not in channel.clients:
            return
        del channel.clients[client]
        if not channel.clients:
            del self._channels[topic.key]
            self._subscriptions.unwant(topic.key)

    def tell(self, prices: Iterable[tuple[bytes, bytes]]) -> None:
        """Tell each price to everybody who watches it; who watches several gets them in one."""
        with self.together.block():
            for key, data in prices:
                self.broadcast(key, data)

    def broadcast(self, key: bytes, data: bytes) -> None:
        """Tell everybody who watches; `data` is read once and encoded once."""
        channel, quote = self._channels.get(key), _quote(key, data)
        if channel is None or quote is None or channel.overtook(quote):
            return
        channel.quote = quote
        channel.remembered = False
        channel.heard += 1
        if channel.gap:  # what the price store remembers is not newer than this
            self._told_of_gap(channel, quote)
        else:
            channel.said(tick(channel.topic.instrument, quote, stale=quote.stale))
        channel.stale = quote.stale

    # What the reader tells

    def heard(self, key: bytes) -> int | None:
        """Return a mark for `learn`; None where nobody watches."""
        channel = self._channels.get(key)
        return channel.heard if channel else None

    def learn(self, key: bytes, data: bytes | None, heard: int | None) -> None:
        """Take what the price store remembers of a topic, unless something newer has come."""
        channel = self._channels.get(key)
        if channel is None or channel.heard != heard:
            return
        quote = (_quote(key, data) if data else None) or channel.quote
        if quote is None or (quote == channel.quote and not channel.gap):
            return
        channel.quote = quote
        channel.remembered = True
        channel.heard += 1
        self._told_of_gap(channel, quote)

    def lost(self) -> None:
        """Note that prices may be missed from now on, until there is a subscription again."""
        for channel in self._channels.values():
            channel.gap = channel.quote is not None

    def note_stale(self) -> None:
        """Tell of the prices that have become old, once each."""
        for channel in self._channels.values():
            if channel.quote is not None and channel.quote.stale and not channel.stale:
                channel.stale = True
                channel.said(tick(channel.topic.instrument, channel.quote, stale=True))

    def _told_of_gap(self, channel: Channel, quote: Quote) -> None:
        channel.said(channel.snapshot(quote))
        channel.stale = quote.stale
        self._counts.gaps += channel.gap
        channel.gap = False


def _quote(key: bytes, data: bytes) -> Quote | None:
    try:
        return read_quote(data)
    except ValueError:
        log.warning("%r holds no price", key)
        return None
