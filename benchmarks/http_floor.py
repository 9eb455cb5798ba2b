"""The yardstick: one `SELECT 1` per request, by the service's server and its pool, and no more.

`python -m benchmarks.http_floor`, with the service's variables.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from api.database import create_pool
from api.server import run
from api.settings import Settings


def main() -> None:
    """Serve until killed."""
    settings = Settings.from_environment(os.environ)
    pool = create_pool(settings.database_url, settings.pool_size)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with pool:
            yield

    async def one(_: Request) -> JSONResponse:
        async with pool.connection() as conn:
            cursor = await conn.execute("select 1")
            found = await cursor.fetchall()
        return JSONResponse({"one": found[0][0]})

    run(Starlette(routes=[Route("/", one)], lifespan=lifespan), settings)


if __name__ == "__main__":
    main()
