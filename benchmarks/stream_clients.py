"""Clients of a price stream, as cheap as they can be: `python -m benchmarks.stream_clients …`.

They connect, print `ready`, note when what came, and print the ticks when stdin ends. While they
listen nothing is looked at, not even where a frame ends: they share the machine with the server.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import select
import socket
import struct
import sys
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

_BID = re.compile(rb'"bid":(\d+)')
_SEGMENT = 1448  # as over Ethernet: on the loopback a connection swallows megabytes
_AT_ONCE = 50
_READ = 65536
_EXTENDED, _LONG = 126, 127  # lengths of a frame that say where its length is
_HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
)


class Client:
    """One connection, and what came over it with the time."""

    def __init__(self, url: str, *, stalls: bool) -> None:
        """Connect and ask for the upgrade; one that stalls takes as little as it can."""
        parts = urlsplit(url)
        self.socket = socket.socket()
        if stalls:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _SEGMENT)
        self.socket.connect((parts.hostname, parts.port))
        path = f"{parts.path}?{parts.query}"
        self.socket.sendall(_HANDSHAKE.format(path=path, host=parts.netloc).encode())
        self.came: list[tuple[float, bytes]] = []

    def open(self) -> None:
        """Read the answer to the handshake, and not a byte more."""
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            piece = self.socket.recv(1)
            assert piece, answer
            answer += piece
        assert answer.startswith(b"HTTP/1.1 101"), answer
        assert b"sec-websocket-extensions" not in answer.lower(), answer
        self.socket.setblocking(False)  # noqa: FBT003 - takes it by position only

    def say(self, message: object) -> None:
        """Send a text frame, masked with nothing."""
        text = json.dumps(message).encode()
        self.socket.sendall(bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text)

    def ticks(self) -> list[tuple[int, float]]:
        """Return number and time of every tick."""
        return [(int(n), at) for at, frame in self._frames() for n in _BID.findall(frame)]

    def _frames(self) -> Iterator[tuple[float, bytes]]:
        """Return each frame with the time at which its last byte came."""
        rest = b""
        for at, data in self.came:
            rest += data
            while len(rest) >= (end := _end(rest)):
                yield at, rest[:end]
                rest = rest[end:]


def _end(data: bytes) -> int:
    """Return where the first frame ends, or that more is needed to know."""
    if len(data) < 4:  # noqa: PLR2004 - the longest header of a frame of ours
        return 4 if len(data) < 2 or data[1] == _EXTENDED else 2 + data[1]  # noqa: PLR2004
    if data[1] == _EXTENDED:
        return 4 + int(struct.unpack_from("!H", data, 2)[0])
    assert data[1] < _LONG, data
    return 2 + data[1]


def connect(url: str, count: int, *, stalls: bool) -> list[Client]:
    """Connect so many, some at a time."""
    clients: list[Client] = []
    while len(clients) < count:
        new = [Client(url, stalls=stalls) for _ in range(min(_AT_ONCE, count - len(clients)))]
        for client in new:
            client.open()
        clients += new
    return clients


def listen(clients: list[Client]) -> None:
    """Note what comes until stdin ends."""
    by_file = {client.socket.fileno(): client for client in clients}
    poll = select.epoll()
    for file in (sys.stdin.fileno(), *by_file):
        poll.register(file, select.EPOLLIN)
    while True:
        for file, _ in poll.poll():
            if file not in by_file:
                return
            data = by_file[file].socket.recv(_READ)
            by_file[file].came.append((time.monotonic(), data))
            if not data:
                poll.unregister(file)


def main(url: str, count: int, stalled_url: str, stalled: int, also: str) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 2 * count + 100)), hard))
    clients = connect(url, count, stalls=False)
    stuck = connect(stalled_url, stalled, stalls=True)
    for client in stuck:
        client.say({"action": "subscribe", "instruments": [also]})
    print("ready", flush=True)
    listen(clients)
    print(json.dumps([client.ticks() for client in clients]), flush=True)
    del stuck


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("count", type=int)
    parser.add_argument("stalled_url")
    parser.add_argument("stalled", type=int)
    parser.add_argument("also", help="what those who stall watch as well")
    main(**vars(parser.parse_args()))
