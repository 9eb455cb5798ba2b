"""What a load balancer, a scraper and a reader of the interface ask."""

from __future__ import annotations

import asyncio
from uuid import UUID

import orjson
import psycopg
from starlette.responses import Response

from api import calls, metrics, models
from api.database import as_service
from api.endpoint import Call
from api.errors import Problem
from jobengine import EngineError

NOBODY = UUID(int=0)  # to ask for it is the cheapest call that needs the platform or the engine
READY_SECONDS = 2.0  # how long a probe may wait for the database before the answer is no


async def health(_: Call) -> models.Health:
    """Say that the process serves, whatever else is the matter."""
    return models.Health()


async def ready(call: Call) -> models.Ready:
    """Say whether the database answers and carries engine and platform.

    Without Redis the service stays in the load balancer: agents can claim and report.
    """
    try:
        async with asyncio.timeout(READY_SECONDS):
            await call.service.engine.get(NOBODY)
            async with as_service(call.service.pool) as conn:
                await calls.agent_credentials(conn, agent_id=NOBODY)
    except (TimeoutError, EngineError, psycopg.Error) as error:
        raise Problem("database_unavailable") from error
    return models.Ready(redis="ok" if await call.service.redis.ping() else "unavailable")


async def measured(call: Call) -> Response:
    """Return the counters of this process."""
    return Response(call.service.metrics.text(), media_type=metrics.MEDIA_TYPE)


async def described(call: Call) -> Response:
    """Return the description of the interface."""
    document = call.request.app.state.openapi
    return Response(orjson.dumps(document), media_type="application/json")
