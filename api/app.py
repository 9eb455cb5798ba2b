"""The ASGI application: endpoints, what surrounds them, and the life of what they share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TypedDict

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response

from api.dispatch import Dispatch
from api.errors import Problem
from api.metrics import Metrics
from api.middleware import RECORD, AccessLog, BodyLimit
from api.openapi import document
from api.routes import ENDPOINTS, routes
from api.service import Service, running
from api.settings import Settings
from api.stream import ROUTE

_HTTP_CODES = {404: "not_found", 405: "method_not_allowed"}


class State(TypedDict):
    """What a request finds in its `state`."""

    service: Service


def create_app(settings: Settings) -> Starlette:
    """Build the application; it holds no connection before its lifespan begins.

    While it runs, `app.state.service` is what it runs; `close_polls` of it ends the waiting.
    """
    metrics = Metrics()
    served = routes()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[State]:
        async with running(settings, metrics) as service:
            app.state.service = service
            yield {"service": service}

    app = Starlette(
        routes=[*served, ROUTE],
        lifespan=lifespan,
        middleware=[*_middleware(settings, metrics), Middleware(Dispatch, served)],
        exception_handlers={HTTPException: _refused_by_router},
    )
    app.state.openapi = document(ENDPOINTS, version("jobengine"))
    return app


def _middleware(settings: Settings, metrics: Metrics) -> list[Middleware]:
    cors = Middleware(
        CORSMiddleware,
        allow_origins=settings.cors_origins,
        allow_methods=["GET", "POST", "PATCH", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "X-Request-ID"],
        expose_headers=[
            "Idempotent-Replayed",
            "Link",
            "Location",
            "Retry-After",
            "X-Cache",
            "X-Request-ID",
            "X-Total-Count",
        ],
    )
    # Nobody's browser may call: then no answer needs to differ by its origin.
    allowed = [cors] if settings.cors_origins else []
    return [Middleware(AccessLog, metrics), *allowed, Middleware(BodyLimit)]


async def _refused_by_router(request: Request, error: Exception) -> Response:
    """Answer what the router refuses, an unknown path for example, in the shape of all errors."""
    if not isinstance(error, HTTPException):
        raise error
    problem = Problem(_HTTP_CODES.get(error.status_code, "not_found"))
    response = problem.response(request.scope[RECORD].request_id)
    response.headers.update(error.headers or {})
    return response
