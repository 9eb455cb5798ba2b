"""uvicorn, with polls that are answered when a signal ends the service."""

from __future__ import annotations

import logging
import socket

import uvicorn
from starlette.applications import Starlette

from api.app import create_app
from api.service import Service
from api.settings import Settings
from api.stream.protocol import Link

WEBSOCKET_BYTES = 64 * 1024  # above what is answered with a reason (api.stream.messages)
GRACE_SECONDS = 20  # how long requests that work may take after the signal


class Server(uvicorn.Server):
    """Waits for open requests at its end, so those that only wait must not be among them."""

    def __init__(self, app: Starlette, settings: Settings) -> None:
        config = uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            access_log=False,  # it prints whole URLs; api.middleware logs without secrets
            server_header=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
            ws=Link,
            ws_max_size=WEBSOCKET_BYTES,
            ws_per_message_deflate=False,  # costs memory and time per client, for 100 bytes
        )
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End in order: answers for everybody who waits, nobody new, then the rest."""
        service: Service | None = getattr(self._app.state, "service", None)
        if service is not None:
            service.close_polls()
        await super().shutdown(sockets)


def serve(settings: Settings) -> None:
    """Serve until a signal ends it."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("jobengine").setLevel(logging.WARNING)
    Server(create_app(settings), settings).run()
