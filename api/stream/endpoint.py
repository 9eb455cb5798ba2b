"""`WS /ws/prices/{instrument}`: one connection from its handshake to its end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection
from uuid import UUID

from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from api.errors import Problem
from api.stream.client import Client
from api.stream.messages import (
    BAD_MESSAGE,
    OVERLOADED,
    UNAUTHORISED,
    Closing,
    Request,
    frame,
    instrument,
    read_request,
)
from api.stream.protocol import EXTENSION, Link
from api.stream.stream import PriceStream
from api.tokens import User

access = logging.getLogger("api.access")

PATH = "/ws/prices/{instrument:path}"
AUTH_SECONDS = 10.0  # for a first message with the token
BEARER = "bearer"
NORMAL = 1000


async def prices(websocket: WebSocket) -> None:
    """Serve one client."""
    stream: PriceStream = websocket.state.service.stream
    if not allowed(websocket, stream.origins):
        await websocket.close()  # before the handshake: 403
        return
    offered = websocket.scope["subprotocols"]
    await websocket.accept(subprotocol=BEARER if BEARER in offered else None)
    began = time.monotonic()
    code = await _served(websocket, stream)
    access.info("WEBSOCKET /ws/prices/{instrument} %d %.1fs", code, time.monotonic() - began)


ROUTE = WebSocketRoute(PATH, prices)


def allowed(websocket: WebSocket, origins: Collection[str]) -> bool:
    """Tell whether a page may connect: one of ours or of CORS_ORIGINS; who is no browser may."""
    origin = websocket.headers.get("origin")
    host = websocket.headers.get("host")
    own = (f"http://{host}", f"https://{host}")
    return origin is None or origin in own or origin in origins or "*" in origins


async def _served(websocket: WebSocket, stream: PriceStream) -> int:
    """Return the code with which the connection ended."""
    link: Link = websocket.scope["extensions"][EXTENSION]
    client = None
    try:
        client = stream.come(link)
        return await _Conversation(websocket, stream, client).held()
    except Closing as closing:
        link.end(closing.code, closing.reason)
        return closing.code
    finally:
        if client is not None:
            stream.leave(client)


class _Gone(Exception):
    """The connection has ended, with this code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class _Conversation:
    """What a client says, and what follows from it; its prices come by themselves."""

    def __init__(self, websocket: WebSocket, stream: PriceStream, client: Client) -> None:
        self._websocket = websocket
        self._stream = stream
        self._client = client

    async def held(self) -> int:
        """Talk until the client leaves, and return its code; Closing where we end it."""
        try:
            first = instrument(self._websocket.path_params["instrument"])
            account = _account(self._websocket.query_params.get("broker_connection_id"))
            user = await self._user()
            await self._stream.enter(self._client, user, account)
            self._stream.watch(self._client, [first])
            while True:
                await self._answer(await self._asked())
        except _Gone as gone:
            return gone.code

    async def _user(self) -> User:
        """Return who it is, by subprotocol, query, or first message."""
        token = self._offered() or self._websocket.query_params.get("token")
        if token is None:
            try:
                async with asyncio.timeout(AUTH_SECONDS):
                    token = (await self._asked()).token
            except TimeoutError:
                raise Closing(UNAUTHORISED, "no token came") from None
        return await self._verified(token)

    def _offered(self) -> str | None:
        match self._websocket.scope["subprotocols"]:
            case [name, token, *_] if name == BEARER:
                return str(token)
        return None

    async def _verified(self, token: str) -> User:
        try:
            return await self._stream.tokens.user(token)
        except Problem as problem:
            ours = problem.code == "tokens_unavailable"
            raise Closing(OVERLOADED if ours else UNAUTHORISED, problem.code) from None

    async def _asked(self) -> Request:
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise _Gone(message.get("code", NORMAL))
        self._client.spend()
        return read_request(message)

    async def _answer(self, request: Request) -> None:
        match request.action:
            case "auth":
                self._stream.renew(self._client, await self._verified(request.token))
                self._client.post(frame({"type": "authenticated"}))
            case "subscribe":
                self._stream.admit(self._client, request.instruments)
                self._say("subscribed", request)
                self._stream.watch(self._client, request.instruments)
            case "unsubscribe":
                self._stream.unwatch(self._client, request.instruments)
                self._say("unsubscribed", request)

    def _say(self, what: str, request: Request) -> None:
        self._client.post(frame({"type": what, "instruments": request.instruments}))


def _account(text: str | None) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        raise Closing(BAD_MESSAGE, "broker_connection_id is a UUID") from None
