"""Where TradingView sends its alerts: always 200, whatever comes."""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from api.alerts import BODY_BYTES
from api.endpoint import Call
from api.errors import Problem
from api.intake import Taken, incoming

READ_BYTES = 1024 * 1024  # what is read of a body, so that its sender hears the answer
BODY_SECONDS = 10.0  # how long a body may take: TradingView waits three for all of it


async def receive(call: Call) -> Response:
    """Take an alert in; a secret of nobody's is answered alike, and leaves nothing.

    503 only where WEBHOOK_STRICT_200 is false and neither store answers, so that it is sent again.
    """
    body, whole = await _body(call.request)
    if body is None:
        return _answer(whole=whole)
    taken = await call.service.intake.take(
        incoming(digest(call.names["webhook_secret"]), _source(call.request), body)
    )
    if taken is Taken.LOST and not call.service.settings.webhook_strict_200:
        raise Problem("database_unavailable")
    return _answer(whole=whole)


def digest(secret: str) -> bytes:
    """Return what a secret is looked up by."""
    return hashlib.sha256(secret.encode(errors="replace")).digest()


def _answer(*, whole: bool) -> Response:
    # What was not read of a body would be taken for the next request.
    return Response("ok", media_type="text/plain", headers={} if whole else {"Connection": "close"})


async def _body(request: Request) -> tuple[str | None, bool]:
    """Read the body as text, a little beyond what is looked at; and whether that was all of it.

    None: the sender left before its end, or took so long that nobody waits for the answer.
    """
    parts, came = [], 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                if came <= BODY_BYTES:
                    parts.append(part)
                came += len(part)
                if came > READ_BYTES:
                    break
    except ClientDisconnect:
        return None, True
    except TimeoutError:
        return None, False
    return b"".join(parts).decode(errors="replace"), came <= READ_BYTES


def _source(request: Request) -> str | None:
    """Return who called: the peer, or whom a trusted proxy names (uvicorn's setting)."""
    if request.client is None:
        return None
    try:
        found = ipaddress.ip_address(request.client.host.partition("%")[0])
    except ValueError:
        return None
    # A socket of both families names an IPv4 peer so; the allowed addresses are IPv4's own.
    return str(getattr(found, "ipv4_mapped", None) or found)
