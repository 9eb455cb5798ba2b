"""A TCP proxy in front of the service that loses answers: the service has done it, nobody hears."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections import Counter
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

REFUSAL = (
    b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 0\r\nContent-Type: application/json\r\n"
    b'Content-Length: 12\r\n\r\n{"code":"x"}'
)
PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"


def foreign(status: int, body: str = "<html>") -> bytes:
    """Return the answer of something that is not the service: a proxy, a portal, a firewall."""
    head = f"HTTP/1.1 {status} X\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: {len(body)}"
    return f"{head}\r\n\r\n{body}".encode()


class Lossy:
    """Loses the next answer to a call whose path ends with a word, or gives another in its place.

    Every connection carries one call: the proxy closes it after the answer.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = parts.hostname, parts.port
        self._faults: dict[str, list[bytes]] = {}
        self.struck: Counter[str] = Counter()
        self.old = False
        """Whether the service is one that does not know `max` and `first`."""
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.url = ""

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def lose(self, word: str, times: int = 1) -> None:
        """Have the service answer, and cut before the answer arrives."""
        self._faults.setdefault(word, []).extend([b""] * times)

    def answer(self, word: str, answer: bytes, times: int = 1) -> None:
        """Answer in the service's place; it never hears of the call."""
        self._faults.setdefault(word, []).extend([answer] * times)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._carry, "127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(_length(head))
            fault = self._fault(head.split(b" ")[1].decode())
            answer = fault or await self._ask(head, body, reader)
            if fault != b"":
                writer.write(answer)
                await writer.drain()
        writer.close()

    def _fault(self, target: str) -> bytes | None:
        path = target.partition("?")[0]
        for word, faults in self._faults.items():
            if path.endswith(word) and faults:
                self.struck[word] += 1
                return faults.pop(0)
        return None

    async def _ask(self, head: bytes, body: bytes, client: asyncio.StreamReader) -> bytes:
        """Have the service answer, unless the client leaves first."""
        reader, writer = await asyncio.open_connection(*self._target)
        line, _, rest = head.partition(b"\r\n")
        if self.old:
            line = re.sub(rb"&(max|first)=\d+", b"", line)
        kept = [one for one in rest.split(b"\r\n") if not one.lower().startswith(b"connection")]
        writer.write(line + b"\r\nConnection: close\r\n" + b"\r\n".join(kept) + body)
        answer = asyncio.ensure_future(reader.read())
        gone = asyncio.ensure_future(client.read())
        try:
            await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
            return answer.result() if answer.done() else b""
        finally:
            answer.cancel()
            gone.cancel()
            writer.close()


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0
