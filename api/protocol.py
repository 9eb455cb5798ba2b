"""uvicorn's HTTP connection, with a limit for what comes before a body, and a word on its client.

What ASGI offers to see whether a client is still there is a task per request that waits for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 64 * 1024
CLIENT = "client"  # in the state of each request
BEGAN = "began"  # there too, if it waited before: since when, by the monotonic clock


@dataclass(slots=True)
class Client:
    """Who is at the other end of a connection."""

    gone: bool = False


class Http(HttpToolsProtocol):
    """Refuses a request whose head, or whatever else is no body, goes on for ever.

    httptools itself keeps everything that comes until the head is complete; the limit is that of
    h11, uvicorn's other parser.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._unread = 0  # bytes since something was complete
        self._client = Client()
        self.app_state = {**self.app_state, CLIENT: self._client}

    def connection_lost(self, exc: Exception | None) -> None:
        self._client.gone = True
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unread += len(data)
        super().data_received(data)
        if self._unread > HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The head of the request is too long.")

    def on_headers_complete(self) -> None:
        self._unread = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unread = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unread = 0
        super().on_message_complete()
