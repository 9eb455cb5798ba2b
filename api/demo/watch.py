"""WebSocket clients: each watches one instrument and writes down what it sees."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from api.demo.world import User, World

AGAIN_SECONDS = 0.1
CLIENTS = 2


@dataclass(frozen=True, slots=True)
class Tick:
    """A price as a client saw it; `ts` and `at` are milliseconds since 1970.

    `connection` counts the client's connections: it has seen nothing between two of them.
    """

    bid: float
    ask: float
    ts: int
    at: float
    connection: int
    snapshot: bool

    @property
    def price(self) -> tuple[int, float, float]:
        """What is the same for all who see it."""
        return self.ts, self.bid, self.ask


class Watcher(threading.Thread):
    """One client of one instrument; it connects again whenever it was cut off."""

    def __init__(self, url: str, user: User, instrument: str) -> None:
        super().__init__(daemon=True)
        self.user = user
        self.instrument = instrument
        self.ticks: list[Tick] = []
        self._url = f"{url.replace('http', 'ws', 1)}/ws/prices/{instrument}?token={user.token}"
        self._over = threading.Event()
        self._connection: ClientConnection | None = None
        self._connections = 0

    def run(self) -> None:
        while not self._over.wait(AGAIN_SECONDS if self._connections else 0):
            self._connections += 1
            with suppress(OSError, WebSocketException, TimeoutError):
                self._watch()

    def end(self) -> None:
        """Hang up for good."""
        self._over.set()
        if self._connection is not None:
            self._connection.close()

    def _watch(self) -> None:
        with connect(self._url, compression=None, proxy=None) as self._connection:
            if self._over.is_set():
                return
            for message in self._connection:
                self._note(json.loads(message), time.time() * 1000)

    def _note(self, told: dict[str, Any], at: float) -> None:
        if told["type"] == "tick":
            price = told["data"]
            snapshot = bool(told.get("snapshot"))
            tick = Tick(price["bid"], price["ask"], price["ts"], at, self._connections, snapshot)
            self.ticks.append(tick)


class Watch:
    """Two clients per user and instrument, until the block ends."""

    def __init__(self, url: str, world: World) -> None:
        """Each user watches what the agent of the default account offers."""
        self.watchers = [
            Watcher(url, user, instrument)
            for user in world.users
            for instrument in next(a for a in world.agents if a.user_id == user.user_id).symbols
            for _ in range(CLIENTS)
        ]

    def __enter__(self) -> Self:
        for watcher in self.watchers:
            watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        for watcher in self.watchers:
            watcher.end()
        for watcher in self.watchers:
            watcher.join()

    def connected(self) -> bool:
        """Tell whether every client has been told a price."""
        return all(watcher.ticks for watcher in self.watchers)


def together(first: Sequence[Tick], second: Sequence[Tick]) -> Iterator[tuple[Any, Any]]:
    """Yield what each of two clients saw while both were connected, per pair of connections."""
    for one in _connections(first):
        for other in _connections(second):
            begin = max(one[0].ts, other[0].ts)
            end = min(one[-1].ts, other[-1].ts)
            if begin <= end:
                yield _between(one, begin, end), _between(other, begin, end)


def _connections(ticks: Sequence[Tick]) -> list[list[Tick]]:
    found: dict[int, list[Tick]] = {}
    for tick in ticks:
        found.setdefault(tick.connection, []).append(tick)
    return list(found.values())


def _between(ticks: Sequence[Tick], begin: int, end: int) -> list[tuple[int, float, float]]:
    """Return the prices of that time, each once: a snapshot may come beside its tick."""
    return list(dict.fromkeys(tick.price for tick in ticks if begin <= tick.ts <= end))
