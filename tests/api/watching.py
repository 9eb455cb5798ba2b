"""Clients of the price stream, as programs and browsers are."""

from __future__ import annotations

import json
import socket
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.api.world import PATIENCE, Agent, Service, User

PAIR = "EURUSD"


def address(service: Service, instrument: str = PAIR, **query: str) -> str:
    """Return the URL of an instrument's prices."""
    end = f"?{urlencode(query)}" if query else ""
    return f"{service.address.replace('http', 'ws', 1)}/ws/prices/{quote(instrument)}{end}"


def watch(user: User, instrument: str = PAIR, **query: str) -> ClientConnection:
    """Connect as browsers must: with the token in the query."""
    return dial(address(user.service, instrument, token=user.token, **query))


def dial(url: str, **options: Any) -> ClientConnection:
    made: ClientConnection = connect(url, proxy=None, open_timeout=PATIENCE, **options)
    return made


def next_message(client: ClientConnection) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(client.recv(timeout=PATIENCE))
    return found


def heard(client: ClientConnection) -> dict[str, Any]:
    """Return the next message that says more than that the service lives."""
    while (found := next_message(client))["type"] == "heartbeat":
        pass
    return found


def price(client: ClientConnection) -> tuple[str, float]:
    """Return instrument and bid of the next message, which is a price."""
    message = heard(client)
    assert message["type"] == "tick", message
    return message["instrument"], message["data"]["bid"]


def say(client: ClientConnection, **message: Any) -> None:
    client.send(json.dumps(message))


def code(client: ClientConnection) -> int:
    """Return the code with which the service closes, whatever comes before."""
    with pytest.raises(ConnectionClosed) as closed:
        exhaust(client)
    assert closed.value.rcvd, "cut off without a close"
    return closed.value.rcvd.code


def exhaust(client: ClientConnection) -> None:
    while True:
        client.recv(timeout=PATIENCE)


def refused(connecting: ClientConnection) -> int:
    """Return the code with which a connection is closed."""
    with connecting as client:
        return code(client)


def push(agent: Agent, bid: float, instrument: str = PAIR) -> None:
    answer = push_all(agent, {instrument: {"bid": bid, "ask": bid + 0.0002}})
    assert answer.status_code == 200, answer.text


def push_all(agent: Agent, prices: dict[str, dict[str, float]]) -> httpx.Response:
    return agent.post(f"{agent.path}/prices", prices)


def counted(service: Service, name: str) -> float:
    """Return one of the stream's counters."""
    lines = service.http.get("/metrics").text.splitlines()
    (found,) = [line.split()[1] for line in lines if line.startswith(f"api_stream_{name} ")]
    return float(found)


def raw(user: User, instrument: str = PAIR) -> socket.socket:
    """Connect, and read nothing but the handshake; the socket takes very little."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    url = httpx.URL(user.service.address)
    made.connect((url.host, url.port))
    made.sendall(
        f"GET /ws/prices/{instrument}?token={user.token} HTTP/1.1\r\nHost: {url.host}\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n".encode()
    )
    assert made.recv(12) == b"HTTP/1.1 101"
    return made
