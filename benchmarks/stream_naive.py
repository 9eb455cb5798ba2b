"""What is usually written, in the same uvicorn: `python -m benchmarks.stream_naive …`.

`naive`: `for ws in watchers: await ws.send_text(…)`. `queue`: a queue and a task per client; who
does not read loses what its queue does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeAlias

import orjson
import uvicorn
from redis import asyncio as redis
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

Told: TypeAlias = Callable[[str, str], Awaitable[None]]
_HELD = 1000  # messages in a queue


@dataclass(eq=False)
class Watcher:
    """A client, and with `queue` what it is to be told."""

    websocket: WebSocket
    queue: asyncio.Queue[str] = field(default_factory=lambda: asyncio.Queue(_HELD))

    async def forward(self) -> None:
        """Send what is put in, for ever."""
        while True:
            await self.websocket.send_text(await self.queue.get())


watchers: defaultdict[str, set[Watcher]] = defaultdict(set)


async def naive(instrument: str, text: str) -> None:
    """Tell one client after the other."""
    for watcher in list(watchers[instrument]):
        with suppress(WebSocketDisconnect, RuntimeError):
            await watcher.websocket.send_text(text)


async def queue(instrument: str, text: str) -> None:
    """Leave it to the clients' tasks."""
    for watcher in watchers[instrument]:
        with suppress(asyncio.QueueFull):
            watcher.queue.put_nowait(text)


async def prices(websocket: WebSocket) -> None:
    await websocket.accept()
    watcher = Watcher(websocket)
    watchers[websocket.path_params["instrument"]].add(watcher)
    forwarding = asyncio.create_task(watcher.forward())
    try:
        while True:
            for instrument in orjson.loads(await websocket.receive_text())["instruments"]:
                watchers[instrument].add(watcher)
    except WebSocketDisconnect:
        forwarding.cancel()
        for group in watchers.values():
            group.discard(watcher)


async def broadcast(url: str, pattern: str, told: Told) -> None:
    """Read for ever, and tell the clients."""
    async with redis.Redis.from_url(url) as client, client.pubsub() as subscription:
        await subscription.psubscribe(pattern)
        async for message in subscription.listen():
            if message["type"] == "pmessage":
                instrument = message["channel"].decode().split(":")[-1]
                data = orjson.loads(message["data"])
                text = {"type": "tick", "instrument": instrument, "data": data}
                await told(instrument, orjson.dumps(text).decode())


def application(url: str, pattern: str, told: Told) -> Starlette:
    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(broadcast(url, pattern, told))
        yield
        task.cancel()

    return Starlette(routes=[WebSocketRoute("/ws/prices/{instrument}", prices)], lifespan=lifespan)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("way", choices=["naive", "queue"])
    parser.add_argument("websockets", help="uvicorn's name of an implementation")
    parser.add_argument("url")
    parser.add_argument("pattern")
    options = parser.parse_args()
    uvicorn.run(
        application(options.url, options.pattern, naive if options.way == "naive" else queue),
        port=0,
        ws=options.websockets,
        ws_per_message_deflate=False,
        access_log=False,
    )
