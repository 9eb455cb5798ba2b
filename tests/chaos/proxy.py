"""A TCP proxy in front of PostgreSQL that spoils connections on purpose.

It can let a request reach the server, wait until the server has committed and answered, and then
drop the answer and cut (`swallow`); hold everything back (`stall`); forward byte by byte
(`trickle`); cut with a TCP reset (`reset`); and turn new connections away (`refuse`).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Self

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.chaos.messages import STARTUP_CODES, Answer, Requests

CHUNK = 65536
TRICKLE_BYTES, TRICKLE_PAUSE = 16, 0.002
RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, for no time: close sends a reset

Choose = Callable[[str, int], bool]  # an operation and its number, from 1: is its answer lost?


def never(_operation: str, _number: int) -> bool:
    return False


class Proxy:
    """Listens on a port of 127.0.0.1, in a thread of its own, from `start` to `stop`.

    Every method may be called from any thread. `swallow` decides by the number of the call of its
    operation, so that a seed can decide which answers are lost. Operations in a transaction that
    goes on are never chosen, their `commit` is.
    """

    def __init__(self, url: str, *, swallow: Choose = never) -> None:
        """`url` names the server behind it: a port, or the folder of a Unix socket."""
        self._target = conninfo_to_dict(url)
        self._url = url
        self._choose = swallow
        self._next: set[str] = set()  # operations whose next answer is lost
        self._calls: Counter[str] = Counter()
        self.swallowed: Counter[str] = Counter()
        self.port = 0
        self._links: set[_Link] = set()
        self._quiet_until = self._slow_until = self._shut_until = 0.0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="chaos-proxy", daemon=True)
        self._ready = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The server's URL, through this proxy."""
        host = {"host": "127.0.0.1", "port": str(self.port)}
        return make_conninfo(self._url, **host, sslmode="disable", gssencmode="disable")

    def start(self) -> None:
        """Listen; returns when connections are accepted."""
        self._thread.start()
        self._ready.wait()

    def stop(self) -> None:
        """Close every connection and end the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def swallow_next(self, operation: str) -> None:
        """Lose the next answer to this operation, once it is committed."""
        self._do(lambda: self._next.add(operation))

    def stall(self, seconds: float) -> None:
        """Forward nothing for a time; connections stay open."""
        self._do(lambda: setattr(self, "_quiet_until", self._loop.time() + seconds))

    def trickle(self, seconds: float) -> None:
        """Forward a few bytes at a time."""
        self._do(lambda: setattr(self, "_slow_until", self._loop.time() + seconds))

    def refuse(self, seconds: float) -> None:
        """Turn new connections away."""
        self._do(lambda: setattr(self, "_shut_until", self._loop.time() + seconds))

    def reset(self, share: float = 1.0) -> None:
        """Cut this share of the connections, the oldest first, with a TCP reset."""
        self._do(lambda: self._reset(share))

    def pass_all(self) -> None:
        """Spoil nothing from now on."""
        self._choose = never
        for spoil in (self.stall, self.trickle, self.refuse):
            spoil(0)

    def _do(self, action: Callable[[], object]) -> None:
        done = threading.Event()

        def act() -> None:
            action()
            done.set()

        self._loop.call_soon_threadsafe(act)
        done.wait()

    def _reset(self, share: float) -> None:
        links = sorted(self._links, key=lambda link: link.number)
        for link in links[: max(1, round(len(links) * share))]:
            link.cut()

    # What follows runs in the thread.

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        self._loop.run_until_complete(self._end())
        self._loop.close()

    async def _end(self) -> None:
        mine = asyncio.current_task()
        tasks = [task for task in asyncio.all_tasks() if task is not mine]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(self, reader, writer)
        self._links.add(link)
        try:
            if self._loop.time() >= self._shut_until:
                await link.carry()
        except (OSError, asyncio.IncompleteReadError):
            pass  # either side went away, as sides do here
        finally:
            self._links.discard(link)
            link.cut()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the server."""
        host, port = str(self._target["host"]), int(self._target.get("port") or 5432)
        if host.startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(host, port)

    def loses(self, operation: str) -> bool:
        """Count a call and say whether its answer is to be lost."""
        self._calls[operation] += 1
        if operation in self._next:
            self._next.remove(operation)
            return True
        return self._choose(operation, self._calls[operation])

    async def forward(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        """Write as the present mood allows."""
        await self._quiet()
        while data and self._loop.time() < self._slow_until:
            writer.write(data[:TRICKLE_BYTES])
            data = data[TRICKLE_BYTES:]
            await writer.drain()
            await asyncio.sleep(TRICKLE_PAUSE)
            await self._quiet()
        writer.write(data)
        await writer.drain()

    async def _quiet(self) -> None:
        # In short steps: `pass_all` may end the silence early.
        while (left := self._quiet_until - self._loop.time()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(min(left, 0.1))


class _Link:
    """One connection: a client, the server, and what goes between them."""

    count = 0

    def __init__(
        self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        _Link.count += 1
        self.number = _Link.count
        self._proxy = proxy
        self._client = reader, writer
        self._writers = [writer]
        self._requests = Requests()
        self._lost: tuple[str, Answer] | None = None  # the operation whose answer is kept back

    async def carry(self) -> None:
        """Connect to the server and pass everything on, until one side ends."""
        first = await self._startup(*self._client)
        reader, writer = await self._proxy.connect()
        self._writers.append(writer)
        writer.write(first)
        ways = [self._to_server(writer), self._to_client(reader)]
        await _first_end(ways)

    async def _startup(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        """Return the first packet, having declined encryption."""
        while True:
            length = await reader.readexactly(4)
            body = await reader.readexactly(int.from_bytes(length) - 4)
            if int.from_bytes(body[:4]) not in (STARTUP_CODES["ssl"], STARTUP_CODES["gss"]):
                return length + body
            writer.write(b"N")

    async def _to_server(self, server: asyncio.StreamWriter) -> None:
        while data := await self._client[0].read(CHUNK):
            for operation in self._requests.feed(data):
                # The server has been silent since its last answer: its next byte begins this one.
                if self._lost is None and self._proxy.loses(operation):
                    self._lost = operation, Answer()
            await self._proxy.forward(data, server)

    async def _to_client(self, server: asyncio.StreamReader) -> None:
        while data := await server.read(CHUNK):
            if self._lost is None:
                await self._proxy.forward(data, self._client[1])
                continue
            operation, answer = self._lost
            answer.feed(data)
            if answer.committed:
                self._proxy.swallowed[operation] += 1
                return
            if answer.complete:  # nothing was committed: nothing to lose
                self._lost = None
                await self._proxy.forward(answer.data, self._client[1])

    def cut(self) -> None:
        """End both sides at once, with a reset."""
        for writer in self._writers:
            with contextlib.suppress(OSError):
                peer: socket.socket | None = writer.get_extra_info("socket")
                if peer is not None and peer.family != socket.AF_UNIX:
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()


async def _first_end(ways: Sequence[Awaitable[None]]) -> None:
    tasks = [asyncio.ensure_future(way) for way in ways]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
