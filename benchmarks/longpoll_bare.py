"""The yardstick: an application of four lines that waits and answers, in the same uvicorn."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from typing import Any

import uvicorn

_SECONDS = 0.95 * float(sys.argv[1])  # as long as such a poll waits with us, on the average
_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", b"16")],
}


async def application(scope: Any, _receive: Any, send: Any) -> None:
    """Answer with no job, after a while; nobody is asked who he is."""
    if scope["type"] != "http":
        return
    with suppress(TimeoutError):
        async with asyncio.timeout(_SECONDS):
            await asyncio.Event().wait()
    await send(_START)
    await send({"type": "http.response.body", "body": b'{"no_jobs":true}'})


if __name__ == "__main__":
    uvicorn.run(application, port=0, access_log=False, lifespan="off")
