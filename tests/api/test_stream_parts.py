"""The stream's parts without a network: what waits, what is told, what is overtaken."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

from api.stream import Topic, WebSocketManager
from api.stream.client import MESSAGES_PER_SECOND, Client
from api.stream.counts import Counts
from api.stream.messages import BAD_MESSAGE, SLOW, Closing, frame
from api.stream.protocol import Link

TOPIC = Topic(UUID(int=1), "EURUSD")
NOW = (time.time_ns() // 1_000_000) + 3_600_000  # never old while these tests run


class Connection:
    """Stands for a link: takes frames, or none."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.takes = True
        self.writes = 0
        self.said: list[dict[str, Any]] = []
        self.ended: list[int] = []
        self.writer: Any = None

    def write(self, message: bytes) -> bool:
        self.writes += 1
        while message:
            begin, length = 2, message[1]
            if length == 126:
                begin, length = 4, int.from_bytes(message[2:4])
            self.said.append(json.loads(message[begin : begin + length]))
            message = message[begin + length :]
        return True

    def end(self, code: int, _: str) -> None:
        self.ended.append(code)

    @property
    def prices(self) -> list[tuple[float, bool, bool]]:
        """Return bid, snapshot and gap of what was said."""
        return [(m["data"]["bid"], "snapshot" in m, "gap" in m) for m in self.said]


class Wanted(set[bytes]):
    """What would be subscribed."""

    want = set.add
    unwant = set.remove


class World:
    """A manager, and clients of it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.counts = Counts()
        self.wanted = Wanted()
        self.manager = WebSocketManager(self.wanted, self.counts)

    def client(self) -> tuple[Client, Connection]:
        connection = Connection(self.loop)
        link: Any = connection
        return Client(link, self.counts, self.manager.together), connection

    def tell(self, bid: float, topic: Topic = TOPIC) -> None:
        self.manager.broadcast(topic.key, data(bid))

    def learn(self, bid: float | None) -> None:
        mark = self.manager.heard(TOPIC.key)
        self.manager.learn(TOPIC.key, None if bid is None else data(bid), mark)


@pytest.fixture
def world() -> Iterator[World]:
    loop = asyncio.new_event_loop()
    yield World(loop)
    loop.close()


def data(bid: float) -> bytes:
    """Return a price; one with a higher bid was pushed later."""
    return json.dumps({"bid": bid, "ask": bid, "ts": NOW + int(bid)}).encode()


def test_only_what_is_watched_is_subscribed(world: World) -> None:
    (one, _), (two, _) = world.client(), world.client()
    world.manager.connect(one, TOPIC)
    world.manager.connect(two, TOPIC)
    assert world.wanted == {TOPIC.key}
    world.manager.disconnect(one, TOPIC)
    world.manager.disconnect(one, TOPIC)
    assert world.wanted == {TOPIC.key}
    world.manager.disconnect(two, TOPIC)
    assert world.wanted == set()
    assert list(world.manager) == []


def test_of_what_waits_only_the_newest_is_sent(world: World) -> None:
    client, connection = world.client()
    other = Topic(TOPIC.agent_id, "XAUUSD")
    world.manager.connect(client, TOPIC)
    world.manager.connect(client, other)
    connection.takes = False
    client.paused()
    for bid in (1, 2, 3):
        world.tell(bid)
    world.tell(9, other)
    client.post(frame({"type": "subscribed"}))
    assert (connection.said, world.counts.conflated) == ([], 2)
    connection.takes = True
    client.resumed()
    assert [m.get("data", {}).get("bid") for m in connection.said] == [3, 9, None]
    world.tell(4)
    assert connection.said[-1]["data"]["bid"] == 4


def test_prices_that_came_together_are_one_write(world: World) -> None:
    topics = [Topic(TOPIC.agent_id, f"PAIR{n}") for n in range(5)]
    (all_of_them, many), (one_of_them, one) = world.client(), world.client()
    for topic in topics:
        world.manager.connect(all_of_them, topic)
    world.manager.connect(one_of_them, topics[3])
    world.manager.tell([(topic.key, data(n)) for n, topic in enumerate(topics)])
    assert ([m["data"]["bid"] for m in many.said], many.writes) == ([0, 1, 2, 3, 4], 1)
    assert ([m["data"]["bid"] for m in one.said], one.writes) == ([3], 1)
    assert (world.counts.delivered, world.counts.conflated) == (6, 0)
    world.tell(7, topics[0])
    assert many.said[-1]["data"]["bid"] == 7


def test_prices_that_came_together_wait_for_who_does_not_read(world: World) -> None:
    topics = [Topic(TOPIC.agent_id, f"PAIR{n}") for n in range(3)]
    client, connection = world.client()
    for topic in topics:
        world.manager.connect(client, topic)
    connection.takes = False
    client.paused()
    for bids in ((1, 2), (3, 4, 5)):
        prices = zip(topics, bids, strict=False)
        world.manager.tell([(topic.key, data(bid)) for topic, bid in prices])
    assert (connection.said, world.counts.conflated) == ([], 2)
    connection.takes = True
    client.resumed()
    assert [m["data"]["bid"] for m in connection.said] == [3, 4, 5]


def test_answers_that_nobody_reads_do_not_pile_up(world: World) -> None:
    client, connection = world.client()
    connection.takes = False
    while not connection.ended:
        client.post(frame({"type": "subscribed"}))
    assert connection.ended == [SLOW]
    assert world.counts.slow == 1


def test_what_waits_is_not_sent_after_an_unsubscription(world: World) -> None:
    client, connection = world.client()
    world.manager.connect(client, TOPIC)
    connection.takes = False
    world.tell(1)
    world.manager.disconnect(client, TOPIC)
    connection.takes = True
    client.resumed()
    assert connection.said == []


def test_a_late_comer_is_told_the_last_price(world: World) -> None:
    (first, heard), (second, late) = world.client(), world.client()
    world.manager.connect(first, TOPIC)
    world.learn(1)
    world.tell(2)
    world.manager.connect(second, TOPIC)
    assert heard.prices == [(1, True, False), (2, False, False)]
    assert late.prices == [(2, True, False)]


def test_what_was_remembered_does_not_overtake_what_came(world: World) -> None:
    client, connection = world.client()
    world.manager.connect(client, TOPIC)
    mark = world.manager.heard(TOPIC.key)
    world.tell(2)
    world.manager.learn(TOPIC.key, data(1), mark)
    assert connection.prices == [(2, False, False)]


def test_what_was_published_before_a_look_up_does_not_follow_it(world: World) -> None:
    client, connection = world.client()
    world.manager.connect(client, TOPIC)
    world.learn(2)
    world.tell(1)  # was on its way
    world.tell(2)
    world.tell(1)  # from a process whose clock is behind
    assert connection.prices == [(2, True, False), (2, False, False), (1, False, False)]


def test_a_clock_that_was_wrong_silences_nobody(world: World) -> None:
    client, connection = world.client()
    world.manager.connect(client, TOPIC)
    world.learn(1_000_000)
    world.tell(1)
    assert connection.prices[-1] == (1, False, False)


@pytest.mark.parametrize("remembered, told", [(None, 1), (1, 1), (2, 2)])
def test_after_a_loss_a_gap_is_told_once(world: World, remembered: float | None, told: int) -> None:
    client, connection = world.client()
    world.manager.connect(client, TOPIC)
    world.tell(1)
    world.manager.lost()
    world.manager.lost()
    world.learn(remembered)
    world.learn(remembered)
    world.tell(3)
    assert connection.prices == [(1, False, False), (told, True, True), (3, False, False)]
    assert world.counts.gaps == 1


def test_a_price_that_comes_first_after_a_loss_tells_the_gap(world: World) -> None:
    client, connection = world.client()
    world.manager.connect(client, TOPIC)
    world.tell(1)
    world.manager.lost()
    world.tell(2)
    world.learn(2)
    assert connection.prices == [(1, False, False), (2, True, True)]


def test_who_knew_no_price_missed_none(world: World) -> None:
    client, connection = world.client()
    world.manager.connect(client, TOPIC)
    world.manager.lost()
    world.learn(None)
    world.tell(1)
    assert connection.prices == [(1, False, False)]


def test_uvicorn_has_what_the_link_leans_on(world: World) -> None:
    """A release that renames one of these must not be found out by clients who are never closed."""
    config = uvicorn.Config(lambda: None)
    config.load()
    theirs = WebSocketsSansIOProtocol(config, ServerState(), {}, world.loop)
    held = {
        *("close_sent", "close_timer", "conn", "disconnected", "handshake_complete"),
        *("handshake_initiated", "logger", "loop", "pending_ping_payload", "pong_timer"),
        *("queue", "read_paused", "transport", "writable"),
    }
    assert held <= vars(theirs).keys()
    added = {"write", "end", "takes", "_abort_in"}
    ours = {name for name, it in vars(Link).items() if callable(it) or isinstance(it, property)}
    assert {name for name in ours - added if not hasattr(theirs, name)} == set()
    assert callable(theirs.stop_keepalive)
    assert {"events", "handshake_exc"} <= vars(theirs.conn).keys()


def spend_all(client: Client, times: int = 1) -> None:
    for _ in range(times * MESSAGES_PER_SECOND):
        client.spend()


def test_ten_messages_at_once_are_free(world: World) -> None:
    client, _ = world.client()
    spend_all(client)
    with pytest.raises(Closing) as closing:
        spend_all(client, 1000)  # more than comes back while this process stands still
    assert closing.value.code == BAD_MESSAGE
