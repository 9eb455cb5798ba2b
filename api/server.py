"""uvicorn, with polls that are answered when a signal ends the service."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import TypeAlias

import uvicorn
from starlette.applications import Starlette

from api.app import create_app
from api.lines import Lines
from api.parking import Parking
from api.service import Service
from api.settings import Settings
from api.stream.protocol import Link

WEBSOCKET_BYTES = 64 * 1024  # above what is answered with a reason (api.stream.messages)
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - where to call whom it serves
GRACE_SECONDS = 20  # how long requests that work may take after the signal

Beside: TypeAlias = Callable[[str], AbstractContextManager[None]]


class Server(uvicorn.Server):
    """Waits for open requests at its end, so those that only wait must not be among them."""

    def __init__(self, app: Starlette, settings: Settings, beside: Beside | None = None) -> None:
        """`beside` gets the URL and runs while the service does, in a thread."""
        config = uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            http=Parking,
            access_log=False,  # it prints whole URLs; api.middleware logs without secrets
            server_header=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
            ws=Link,
            ws_max_size=WEBSOCKET_BYTES,
            ws_per_message_deflate=False,  # costs memory and time per client, for 100 bytes
        )
        super().__init__(config)
        self._app = app
        self._beside = beside
        self._stack = ExitStack()
        self.failure: Exception | None = None

    async def main_loop(self) -> None:
        """Begin with what runs beside, then serve; where it fails, end in order (`failure`)."""
        # What is there stays: from here on a full collection only looks at what requests bring.
        gc.freeze()  # 5,081 requests/s for 4,872 (`bench -- http_result`: claim, result)
        try:
            await asyncio.to_thread(self._begin)
        except Exception as error:  # noqa: BLE001 - whoever runs the server raises it
            self.failure = error
        else:
            await super().main_loop()

    def _begin(self) -> None:
        if self._beside is not None:
            self._stack.enter_context(self._beside(self._url()))

    def _url(self) -> str:
        """Return where a program of this machine calls the service."""
        host: str = self.config.host
        port = self.servers[0].sockets[0].getsockname()[1]
        return f"http://{EVERYWHERE.get(host, host)}:{port}"

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End in order: answers for everybody who waits, nobody new, then the rest."""
        await asyncio.to_thread(self._stack.close)
        service: Service | None = getattr(self._app.state, "service", None)
        if service is not None:
            service.close_polls()
        await super().shutdown(sockets)


def serve(settings: Settings, beside: Beside | None = None) -> None:
    """Serve until a signal ends it, with what runs beside."""
    run(create_app(settings), settings, beside)


def run(app: Starlette, settings: Settings, beside: Beside | None = None) -> None:
    """Serve the application in the service's way."""
    # What the lines do not show is not looked up for each: the file, line, thread and process.
    logging._srcfile = None  # noqa: SLF001 - as `logging` documents
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    form = "%(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=logging.INFO, format=form, handlers=[Lines()])
    logging.getLogger("jobengine").setLevel(logging.WARNING)
    server = Server(app, settings, beside)
    server.run()
    if server.failure is not None:
        raise server.failure
