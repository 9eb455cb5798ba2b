"""The process's one subscription in Redis: exactly the channels that somebody here watches.

It speaks to the server by itself: redis-py's own subscription connects and subscribes anew without
a word, and what was published meanwhile is missing without a word too.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, Protocol

from redis import asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

log = logging.getLogger("api.stream")

TIMEOUT = 2.0  # seconds to connect, and for a command to be taken
QUIET_SECONDS = 5.0  # the connection is asked so often whether it lives
AGAIN_SECONDS = 0.5
BATCH = 500  # keys in a command
TOLD_AT_ONCE = 16  # prices; a thousand watchers of each take some milliseconds


class Sink(Protocol):
    """Who is told what was read (`WebSocketManager`)."""

    def tell(self, prices: Iterable[tuple[bytes, bytes]]) -> None: ...

    def heard(self, key: bytes) -> int | None: ...

    def learn(self, key: bytes, data: bytes | None, heard: int | None) -> None: ...

    def lost(self) -> None: ...


class Reader:
    """Reads for ever with `run`; `want` and `unwant` only note what to do."""

    def __init__(self, url: str) -> None:
        self._pool: Any = redis.ConnectionPool.from_url(
            url,
            protocol=2,
            socket_timeout=TIMEOUT,
            socket_connect_timeout=TIMEOUT,
            retry=Retry(NoBackoff(), 0),
        )
        self._wanted: set[bytes] = set()
        self._changed: dict[bytes, None] = {}
        self._change = asyncio.Event()
        self._deaf = False

    def want(self, key: bytes) -> None:
        self._wanted.add(key)
        self._note(key)

    def unwant(self, key: bytes) -> None:
        self._wanted.discard(key)
        self._note(key)

    def _note(self, key: bytes) -> None:
        self._changed[key] = None
        self._change.set()

    async def run(self, sink: Sink) -> None:
        """Read, over as many connections as it takes."""
        while True:
            try:
                await self._connected(sink)
            except* (RedisError, OSError) as errors:
                self._complain(errors.exceptions[0])
            finally:
                sink.lost()
            await asyncio.sleep(AGAIN_SECONDS)

    async def _connected(self, sink: Sink) -> None:
        conversation = _Conversation(self._pool.make_connection(), sink)
        commands = redis.Redis(connection_pool=self._pool)
        try:
            await conversation.connect()
            self._deaf = False
            self._changed = dict.fromkeys(self._wanted)
            self._change.set()
            async with asyncio.TaskGroup() as group:
                group.create_task(conversation.listen())
                group.create_task(conversation.distribute())
                group.create_task(conversation.remember(commands))
                group.create_task(conversation.watch())
                group.create_task(self._tell(conversation))
        finally:
            await conversation.disconnect()
            await self._pool.disconnect()

    def _complain(self, error: BaseException) -> None:
        """Say it once, however often it is tried."""
        if not self._deaf:
            log.warning("prices are not heard of: %s", error)
        self._deaf = True

    async def _tell(self, conversation: _Conversation) -> None:
        """Subscribe and unsubscribe as it changes, what is due at once in one go."""
        while True:
            await self._change.wait()
            changed, self._changed = self._changed, {}
            self._change.clear()
            await conversation.change(changed, self._wanted)


class _Conversation:
    """One connection: what is subscribed on it, and what came over it and waits to be told."""

    def __init__(self, connection: Any, sink: Sink) -> None:
        self._connection = connection
        self._sink = sink
        self._subscribed: set[bytes] = set()
        self._prices: dict[bytes, bytes] = {}  # the newest of each channel
        self._prices_came = asyncio.Event()
        self._forgotten: dict[bytes, None] = {}  # whose last price is to be looked up
        self._look = asyncio.Event()
        self._spoke = False

    async def connect(self) -> None:
        await self._connection.connect()

    async def disconnect(self) -> None:
        await self._connection.disconnect(nowait=True)

    async def change(self, changed: Iterable[bytes], wanted: set[bytes]) -> None:
        """Make the subscriptions of `changed` what is wanted."""
        new = [key for key in changed if key in wanted]
        old = [key for key in changed if key not in wanted and key in self._subscribed]
        # One that left and came back between two looks is subscribed, and its watcher is new.
        self._look_up(key for key in new if key in self._subscribed)
        new = [key for key in new if key not in self._subscribed]
        for command, keys in ((b"SUBSCRIBE", new), (b"UNSUBSCRIBE", old)):
            for batch in _batches(keys):
                await self._connection.send_command(command, *batch)
        self._subscribed.update(new)
        self._subscribed.difference_update(old)

    async def listen(self) -> None:
        """Read; a price that the next one overtakes before it was told is not told."""
        while True:
            match await self._connection.read_response(timeout=math.inf):
                case [b"message", key, data]:
                    self._prices[key] = data
                    self._prices_came.set()
                case [b"subscribe", key, _]:
                    self._look_up([key])
            self._spoke = True

    async def distribute(self) -> None:
        """Tell the prices, letting others work after some."""
        while True:
            await self._prices_came.wait()
            self._prices_came.clear()
            while self._prices:
                some = list(islice(self._prices.items(), TOLD_AT_ONCE))
                for key, _ in some:
                    del self._prices[key]
                self._sink.tell(some)
                await asyncio.sleep(0)

    def _look_up(self, keys: Iterable[bytes]) -> None:
        self._forgotten.update(dict.fromkeys(keys))
        self._look.set()

    async def remember(self, commands: redis.Redis) -> None:
        """Look up the last price of each channel, once it is subscribed: none falls between."""
        while True:
            await self._look.wait()
            self._look.clear()
            keys, self._forgotten = list(self._forgotten), {}
            for batch in _batches(keys):
                marks = [self._sink.heard(key) for key in batch]
                found: list[Any] = await commands.mget(batch)
                for key, data, mark in zip(batch, found, marks, strict=True):
                    self._sink.learn(key, data, mark)

    async def watch(self) -> None:
        """End a connection over which nothing comes, not even an answer."""
        while True:
            self._spoke = False
            await self._connection.send_command(b"PING")
            await asyncio.sleep(QUIET_SECONDS)
            if not self._spoke:
                raise RedisConnectionError("the subscription is silent")


def _batches(keys: Sequence[bytes]) -> Iterable[list[bytes]]:
    rest = iter(keys)
    while batch := list(islice(rest, BATCH)):
        yield batch
