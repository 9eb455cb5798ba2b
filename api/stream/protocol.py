"""uvicorn's WebSocket connection, with what ASGI does not offer.

A frame that was made once is written to many connections without an await; one is told when its
client stops reading; and no end of a connection waits for a client that does not read.
"""

from __future__ import annotations

import logging
import socket
from asyncio.transports import BaseTransport
from typing import Any, Protocol

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState

from api.stream.allowance import Allowance
from api.stream.messages import BAD_MESSAGE, GOING_AWAY

EXTENSION = "api.link"
CLOSE_SECONDS = 5.0  # how long a client may take to answer the close; then it is cut off
SHUTDOWN_SECONDS = 2.0
# What the kernel keeps for a client (it doubles it): prices in there cannot be replaced by newer
# ones. Nothing waits in the process itself.
SEND_BUFFER = 32 * 1024
# What is read at once is parsed at once, and everybody waits for it.
RECEIVE_BUFFER = 16 * 1024
FRAMES_PER_SECOND = 100  # of all kinds; ten messages, in some fragments each, and pings


def _told(record: logging.LogRecord) -> bool:
    """Leave out lines with URLs, as these hold tokens, and what a client can have us write."""
    by_client = record.exc_info is not None and isinstance(record.exc_info[1], UnicodeError)
    return record.levelno >= logging.WARNING and not by_client


_log = logging.getLogger("api.stream.connection")
_log.addFilter(_told)


class Writer(Protocol):
    """Who writes to a link: is told when it can, and when it cannot."""

    def paused(self) -> None: ...

    def resumed(self) -> None: ...


class Link(WebSocketsSansIOProtocol):
    """One connection; the endpoint finds it among the scope's extensions."""

    writer: Writer | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.logger = _log
        self._allowance = Allowance(FRAMES_PER_SECOND)

    @property
    def takes(self) -> bool:
        """Tell whether a frame would go out now."""
        return self.writable.is_set()

    def write(self, frame: bytes) -> bool:
        """Write a whole frame; False where the connection is at its end."""
        if self.close_sent or self.transport.is_closing():
            return False
        self.transport.write(frame)
        return True

    def end(self, code: int, reason: str = "", seconds: float = CLOSE_SECONDS) -> None:
        """Close; a client that does not answer in time, or does not even read it, is cut off."""
        if self.close_sent or self.transport.is_closing():
            return
        self.stop_keepalive()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.conn.send_close(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self._abort_in(seconds)

    def _abort_in(self, seconds: float = CLOSE_SECONDS) -> None:
        """Cut off whoever is still there: a close alone waits for ever for one who reads nothing.

        It is what ends connections that uvicorn closes, too.
        """
        if self.close_timer is None and not self.disconnected:
            self.close_timer = self.loop.call_later(seconds, self.transport.abort)

    # What uvicorn and asyncio call

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        connection = self.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        self.transport.set_write_buffer_limits(high=0)

    def data_received(self, data: bytes) -> None:
        try:
            super().data_received(data)
        except InvalidState:  # something to be closed for, and with it the client's own close
            self.transport.abort()
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            self.transport.abort()  # a line of more than 8 KiB; uvicorn would wait for ever
        if self.transport.is_closing():
            self._abort_in()

    def handle_events(self) -> None:
        if self._allowance.spend(len(self.conn.events)):
            super().handle_events()
            return
        self.conn.events_received()
        self.conn.data_to_send()
        self.end(BAD_MESSAGE, f"at most {FRAMES_PER_SECOND} frames a second")
        self.transport.pause_reading()

    def eof_received(self) -> None:
        self.transport.abort()  # it has no word to say: neither a close nor a pong

    async def run_asgi(self) -> None:
        self.scope["extensions"][EXTENSION] = self  # type: ignore[assignment]
        await super().run_asgi()
        self._abort_in()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.writer is not None:
            self.writer.paused()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.writer is not None:
            self.writer.resumed()

    def handle_ping(self) -> None:
        pong = b"".join(self.conn.data_to_send())
        if self.takes:  # who pings and does not read gets no answers to keep
            self.transport.write(pong)

    def keepalive_timeout(self) -> None:
        self.pong_timer = self.pending_ping_payload = None
        self.transport.abort()

    def shutdown(self) -> None:
        if self.close_sent:
            return  # its time runs
        if self.handshake_complete:
            self.end(GOING_AWAY, "the service ends", SHUTDOWN_SECONDS)
        else:
            super().shutdown()
