"""Clients who mean harm: each is cut off, and nothing of it stays."""

from __future__ import annotations

import itertools
import json
import socket
from contextlib import closing

import psutil
import psycopg
import pytest
from websockets.exceptions import InvalidStatus

from api.embedded import EmbeddedValkey
from tests.api.watching import (
    address,
    code,
    counted,
    dial,
    heard,
    push,
    push_all,
    raw,
    say,
    watch,
)
from tests.api.world import Agent, Service, User, serving, until

MASK = b"\x00" * 4
PING, CLOSE = b"\x89\x80" + MASK, b"\x88\x82" + MASK + b"\x03\xe8"
OPEN_TEXT, EMPTY = b"\x01\x80" + MASK, b"\x00\x80" + MASK
NO_TEXT = b"\x81\x81" + MASK + b"\xff"
NAMES = [f"S{n}" for n in range(100)]


def stall(owner: User, agent: Agent, fact: str) -> socket.socket:
    """Connect somebody who reads nothing, and push until the counter shows it."""
    before = counted(agent.service, fact)
    stalled = raw(owner)
    said = json.dumps({"action": "subscribe", "instruments": NAMES}).encode()
    stalled.sendall(b"\x81\xfe" + len(said).to_bytes(2, "big") + MASK + said)
    for number in itertools.count(1):
        push_all(agent, {name: {"bid": number, "ask": number} for name in NAMES})
        if counted(agent.service, fact) > before:
            return stalled
    raise AssertionError


def connections(service: Service, client: socket.socket) -> int:
    """Return how many sockets the service has to this client."""
    port = client.getsockname()[1]
    found = psutil.Process(service.process.pid).net_connections("tcp")
    return sum(bool(one.raddr) and one.raddr.port == port for one in found)


def test_who_stalls_and_ends_his_side_is_forgotten(
    service: Service, owner: User, agent: Agent
) -> None:
    with closing(stall(owner, agent, "prices_replaced_total")) as stalled:
        stalled.shutdown(socket.SHUT_WR)
        until(lambda: counted(service, "clients") == 0)
        until(lambda: connections(service, stalled) == 0)


def test_who_answers_the_close_and_reads_nothing_keeps_no_socket(
    service: Service, owner: User, agent: Agent
) -> None:
    with closing(stall(owner, agent, "slow_clients_closed_total")) as stalled:
        stalled.sendall(CLOSE)
        until(lambda: connections(service, stalled) == 0)


@pytest.mark.parametrize("flood", [PING, EMPTY], ids=["pings", "empty fragments"])
def test_floods_of_frames_are_closed_with_4400(owner: User, flood: bytes) -> None:
    with watch(owner) as client:
        heard(client)
        with client.protocol_mutex:
            client.socket.sendall(OPEN_TEXT + 2_000 * flood)
        assert code(client) == 4400


@pytest.mark.parametrize("origin", ["http://[", "http://[evil", "//", ""])
def test_origins_that_are_none_are_refused_and_not_logged(owner: User, origin: str) -> None:
    url = address(owner.service, token=owner.token)
    headers = [("Origin", origin)]
    with pytest.raises(InvalidStatus) as answer, dial(url, additional_headers=headers):
        pass
    assert answer.value.response.status_code == 403
    assert "Traceback" not in owner.service.printed()


def test_text_that_is_none_is_closed_and_not_logged(owner: User) -> None:
    with watch(owner) as client:
        client.send(b"\xff\xfe", text=True)
        assert code(client) == 1007
    assert "Traceback" not in owner.service.printed()


@pytest.mark.parametrize("said", [200 * PING, NO_TEXT], ids=["pings", "no text"])
def test_what_comes_with_a_close_is_not_logged(service: Service, owner: User, said: bytes) -> None:
    with closing(raw(owner)) as client:
        until(lambda: counted(service, "clients") == 1)
        client.sendall(said + CLOSE)
        until(lambda: connections(service, client) == 0)
    assert "Traceback" not in service.printed()


def test_bytes_that_are_no_frame_are_closed(owner: User) -> None:
    with watch(owner) as client:
        with client.protocol_mutex:
            client.socket.sendall(b"\xff" * 100)
        assert code(client) == 1002
    assert "Traceback" not in owner.service.printed()


def test_who_came_while_the_database_did_not_answer_is_told_later(
    service: Service, owner: User
) -> None:
    with psycopg.connect(service.database_url) as conn:
        conn.execute("lock table public.broker_connections")
        with watch(owner) as client:
            say(client, action="subscribe", instruments=["XAUUSD"])
            assert heard(client)["type"] == "subscribed"  # it goes on without an agent
            conn.rollback()
            assert heard(client) == {"type": "error", "code": "no_agent"}


def test_processes_share_what_is_watched(
    service: Service, owner: User, agent: Agent, valkey: EmbeddedValkey
) -> None:
    with serving(service.database_url, valkey.url) as other:
        there = User(other, owner.user_id, owner.token)
        with watch(owner) as here, watch(there) as elsewhere:
            push(agent, 1)
            assert heard(here)["data"] == heard(elsewhere)["data"]
            here.close()
            push(Agent(other, agent.agent_id, agent.key), 2)
            assert heard(elsewhere)["data"]["bid"] == 2
