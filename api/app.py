"""The ASGI application: its routes, and the engine that they share."""

from __future__ import annotations

import asyncio
import http
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TypedDict
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from api.settings import Settings
from jobengine import EngineError, JobEngine, NotInstalled

NO_JOB = UUID(int=0)  # to ask for it is the cheapest call that needs the whole engine
READY_SECONDS = 2.0  # how long a probe may wait for the database before the answer is no

Pool = AsyncConnectionPool[AsyncConnection[TupleRow]]


class State(TypedDict):
    """What a request finds in its `state`."""

    engine: JobEngine


def create_app(settings: Settings) -> Starlette:
    """Build the application; it holds no connection before its lifespan begins."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[State]:
        pool = create_pool(settings)
        # Not waited for: a service that starts before its database is there says so in /readyz.
        await pool.open(wait=False)
        try:
            async with JobEngine(pool) as engine:
                yield {"engine": engine}
        finally:
            await pool.close()

    return Starlette(
        routes=ROUTES, lifespan=lifespan, exception_handlers={HTTPException: http_problem}
    )


def create_pool(settings: Settings) -> Pool:
    return AsyncConnectionPool(
        settings.database_url,
        kwargs={"autocommit": True},
        min_size=1,
        max_size=4,
        open=False,
        check=AsyncConnectionPool.check_connection,
        name="api",
    )


async def health(_: Request) -> JSONResponse:
    """Say that the process serves, whatever else is the matter."""
    return JSONResponse({"status": "ok"})


async def ready(request: Request) -> JSONResponse:
    """Say whether the database answers and carries the engine."""
    engine: JobEngine = request.state.engine
    try:
        async with asyncio.timeout(READY_SECONDS):
            await engine.get(NO_JOB)
    except NotInstalled:
        return problem(503, "database_unavailable", "The database does not carry the engine.")
    except (TimeoutError, EngineError):
        return problem(503, "database_unavailable", "The database does not answer.")
    return JSONResponse({"status": "ok"})


async def http_problem(_: Request, error: Exception) -> JSONResponse:
    """Answer what the router refuses, an unknown path for example, in the shape of all errors."""
    if not isinstance(error, HTTPException):
        raise error
    phrase = http.HTTPStatus(error.status_code).phrase
    code = phrase.lower().replace(" ", "_")
    return problem(error.status_code, code, phrase, headers=error.headers)


def problem(
    status: int, detail: str, title: str, *, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """Return an RFC 9457 problem; `detail` is a short code for programs, `title` is for people."""
    return JSONResponse(
        {"type": "about:blank", "status": status, "title": title, "detail": detail},
        status,
        headers,
        media_type="application/problem+json",
    )


ROUTES = [
    Route("/healthz", health),
    Route("/readyz", ready),
]
