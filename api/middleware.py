"""What surrounds every request: its id, its line in the access log, and the limit of its body.

Pure ASGI: nothing is buffered, and a handler sees when its client leaves.
"""

from __future__ import annotations

import logging
import random
import re
import time
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import Problem
from api.metrics import Metrics
from api.protocol import BEGAN

access = logging.getLogger("api.access")

RECORD = "api.record"
BODY_BYTES = 1024 * 1024
WEBHOOKS = "/api/v1/webhooks/"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(slots=True)
class Record:
    """What is known of a request when it ends."""

    request_id: str
    route: str = "-"  # the template: a path may hold a secret
    status: int = 0


class AccessLog:
    """Gives a request its id, logs it without any secret, and counts it.

    The line holds method, route template, status, milliseconds, request id: no path, no query, no
    header, no address of a user's.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        record = scope[RECORD] = Record(_request_id(scope))
        began = scope.get("state", {}).get(BEGAN) or time.monotonic()

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                name = (b"x-request-id", record.request_id.encode())
                message["headers"] = [*message.get("headers", ()), name]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            method = scope["method"] if scope["method"] in _METHODS else "OTHER"
            note(self._metrics, method, record, time.monotonic() - began)


def note(metrics: Metrics, method: str, record: Record, seconds: float) -> None:
    """Count a request that is over, and log it."""
    metrics.request(method, record.route, record.status, seconds)
    access.info(
        "%s %s %d %.1fms %s",
        *(method, record.route, record.status, seconds * 1000, record.request_id),
    )


_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


def _request_id(scope: Scope) -> str:
    """Return the id that the client or its proxy gave, if it is one, else a new one."""
    given = header(scope, b"x-request-id")
    return given if given and _REQUEST_ID.fullmatch(given) else new_id()


def new_id() -> str:
    """Return an id for a request: it is to be another one, and no secret."""
    return f"{random.getrandbits(128):032x}"


def header(scope: Scope, name: bytes) -> str:
    """Return the first header of that name, which is in small letters; without one, nothing."""
    for found, value in scope["headers"]:
        if found == name:
            return str(value, "latin-1")
    return ""


class BodyLimit:
    """Refuses bodies above 1 MiB: by what is announced, and by what comes.

    Not those of webhooks, whose senders hear of no error: these are read only as far as 1 MiB.
    """

    def __init__(self, app: ASGIApp, limit: int = BODY_BYTES) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(WEBHOOKS):
            await self._app(scope, receive, send)
            return
        announced = header(scope, b"content-length")
        if announced and (not announced.isdigit() or int(announced) > self._limit):
            await _refuse(scope, receive, send)
            return
        if not header(scope, b"transfer-encoding"):
            await self._app(scope, receive, send)  # no more comes than is announced
            return
        came = 0

        async def counting() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > self._limit:
                raise Problem("body_too_large")
            return message

        await self._app(scope, counting, send)


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    response = Problem("body_too_large").response(scope[RECORD].request_id)
    # What follows is not read: the connection ends with the answer.
    response.headers["Connection"] = "close"
    await response(scope, receive, send)
