"""What is usually written: `for ws in watchers: await ws.send_text(…)`, in the same uvicorn."""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import orjson
import uvicorn
from redis import asyncio as redis
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

watchers: defaultdict[str, set[WebSocket]] = defaultdict(set)


async def prices(websocket: WebSocket) -> None:
    await websocket.accept()
    group = watchers[websocket.path_params["instrument"]]
    group.add(websocket)
    try:
        while True:
            await websocket.receive_text()
    except WebSocketDisconnect:
        group.discard(websocket)


async def broadcast(url: str, pattern: str) -> None:
    """Read for ever, and tell one client after the other."""
    async with redis.Redis.from_url(url) as client, client.pubsub() as subscription:
        await subscription.psubscribe(pattern)
        async for message in subscription.listen():
            if message["type"] == "pmessage":
                await tell(message["channel"].decode().split(":")[-1], message["data"])


async def tell(instrument: str, data: bytes) -> None:
    message = {"type": "tick", "instrument": instrument, "data": orjson.loads(data)}
    text = orjson.dumps(message).decode()
    for websocket in list(watchers[instrument]):
        with suppress(WebSocketDisconnect, RuntimeError):
            await websocket.send_text(text)


def application(url: str, pattern: str) -> Starlette:
    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(broadcast(url, pattern))
        yield
        task.cancel()

    return Starlette(routes=[WebSocketRoute("/ws/prices/{instrument}", prices)], lifespan=lifespan)


if __name__ == "__main__":
    uvicorn.run(
        application(sys.argv[1], sys.argv[2]),
        port=0,
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        access_log=False,
    )
