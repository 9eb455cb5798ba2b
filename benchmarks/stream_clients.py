"""Clients of a price stream, as cheap as they can be: `python -m benchmarks.stream_clients …`.

They connect, print `ready`, note when what came, and print the ticks when stdin ends.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import resource
import socket
import sys
import time
from urllib.parse import urlsplit

_BID = re.compile(rb'"bid":(\d+)')
_SEGMENT = 1448  # as over Ethernet: on the loopback a connection swallows megabytes
_AT_ONCE = 50
_HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
)


class Client(asyncio.Protocol):
    """Keeps what comes with the time; one that stalls reads nothing after the handshake."""

    def __init__(self, *, stalls: bool) -> None:
        self._stalls = stalls
        self._transport: asyncio.Transport | None = None
        self.open: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.came: list[tuple[float, bytes]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self.came.append((time.monotonic(), data))
        if not self.open.done():
            assert data.startswith(b"HTTP/1.1 101"), data
            self.open.set_result(None)
            if self._stalls and self._transport:
                self._transport.pause_reading()

    def ticks(self) -> list[tuple[int, float]]:
        """Return number and time of every tick."""
        return [(int(n), at) for at, data in self.came for n in _BID.findall(data)]


async def connect(url: str, limit: asyncio.Semaphore, *, stalls: bool) -> Client:
    parts = urlsplit(url)
    path = f"{parts.path}?{parts.query}"
    async with limit:
        made = socket.socket()
        made.setblocking(False)  # noqa: FBT003 - takes it by position only
        if stalls:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _SEGMENT)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(made, (parts.hostname, parts.port))
        transport, client = await loop.create_connection(lambda: Client(stalls=stalls), sock=made)
        transport.write(_HANDSHAKE.format(path=path, host=parts.netloc).encode())
        await client.open
    return client


async def main(url: str, count: int, stalled_url: str, stalled: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 2 * count + 100)), hard))
    limit = asyncio.Semaphore(_AT_ONCE)
    clients = await asyncio.gather(*(connect(url, limit, stalls=False) for _ in range(count)))
    stuck = await asyncio.gather(
        *(connect(stalled_url, limit, stalls=True) for _ in range(stalled))
    )
    print("ready", flush=True)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, ended.set)
    await ended.wait()
    print(json.dumps([client.ticks() for client in clients]), flush=True)
    del stuck


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("count", type=int)
    parser.add_argument("stalled_url")
    parser.add_argument("stalled", type=int)
    asyncio.run(main(**vars(parser.parse_args())))
