"""A pooler in transaction mode, as small as one can be: each transaction may get another session.

It speaks enough of the protocol to know where a transaction ends: the status in ReadyForQuery. A
server connection that is free goes to the end of the line, so that the next transaction gets
another one, which a real pooler does whenever it is busy.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.acceptance.world import PATIENCE

Streams: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]
_SESSIONS = 4
_IDLE = b"I"


class TransactionPooler:
    """Listens on a port of its own; each client's transactions go to whichever session is free."""

    def __init__(self, url: str) -> None:
        self._to: Any = conninfo_to_dict(url)
        self._free: asyncio.Queue[Streams] = asyncio.Queue()
        self._greeting = b""
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None

    async def open(self) -> str:
        """Log in to the server, listen, and return the URL for clients."""
        for _ in range(_SESSIONS):
            await self._free.put(await self._log_in())
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        names = {"user": self._to["user"], "dbname": self._to["dbname"]}
        return make_conninfo(host="127.0.0.1", port=port, sslmode="disable", **names)

    async def close(self) -> None:
        """Leave clients and server alone."""
        assert self._server
        self._server.close()
        for writer in self._writers:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        clients = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*clients)

    async def _log_in(self) -> Streams:
        """Open a session; the server trusts its socket, or this says what is wrong."""
        reader, writer = await self._connect()
        self._writers.append(writer)
        parameters = f"user\0{self._to['user']}\0database\0{self._to['dbname']}\0\0".encode()
        writer.write((len(parameters) + 8).to_bytes(4) + (196608).to_bytes(4) + parameters)
        greeting = b""
        while True:
            kind, message = await _message(reader)
            assert not (kind == b"R" and message[5:9] != bytes(4)), "the server wants a password"
            greeting += message
            if kind == b"Z":
                self._greeting = greeting
                return reader, writer

    async def _connect(self) -> Streams:
        host, port = self._to["host"], self._to.get("port", "5432")
        if host.startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(host, int(port))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Greet a client, then pass its transactions on until it leaves."""
        self._writers.append(writer)
        try:
            size = int.from_bytes(await reader.readexactly(4))
            await reader.readexactly(size - 4)
            writer.write(self._greeting)
            while True:
                await self._transaction(await _message(reader), reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _transaction(
        self,
        first: tuple[bytes, bytes],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Borrow a session from the first message of a transaction to the end of it."""
        if first[0] == b"X":
            raise ConnectionResetError
        session = await self._free.get()
        message = first
        while True:
            session[1].write(message[1])
            asks = message[0] in {b"Q", b"S"}
            if asks and await self._answer(session[0], writer) == _IDLE:
                break
            message = await _message(reader)
        await self._free.put(session)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        """Pass an answer on, and return the status of the transaction after it."""
        while True:
            kind, message = await _message(reader)
            writer.write(message)
            if kind == b"Z":
                await writer.drain()
                return message[-1:]


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Read a message: its kind, and all of it."""
    head = await reader.readexactly(5)
    return head[:1], head + await reader.readexactly(int.from_bytes(head[1:]) - 4)


@contextmanager
def pooled(url: str) -> Iterator[str]:
    """Yield a URL of the same database through such a pooler, in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    pooler = TransactionPooler(url)
    try:
        yield asyncio.run_coroutine_threadsafe(pooler.open(), loop).result(PATIENCE)
    finally:
        asyncio.run_coroutine_threadsafe(pooler.close(), loop).result(PATIENCE)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
