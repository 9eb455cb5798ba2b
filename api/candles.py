"""Candles of the account's agent, kept in Redis for 30 seconds.

The key of the source documents, `candles:<instrument>:<timeframe>`, with the agent's id in it: two
brokers' candles differ. The longest list is kept, and cut to what is asked for. Without Redis every
call asks the agent.
"""

from __future__ import annotations

from uuid import UUID

import orjson
from starlette.responses import Response

from api import calls, models
from api.database import as_user
from api.endpoint import Call, dumped, respond
from api.reads import answer, ask
from api.redis_store import RedisStore

WAIT_SECONDS = 10.0
KEPT_SECONDS = 30


async def candles(call: Call) -> Response:
    """Return the newest candles, oldest first; the header X-Cache says where from."""
    query: models.CandleQuery = call.query
    instrument = call.names["instrument"]
    agent_id = await _agent(call, query.broker_connection_id)
    name = f"{instrument}:{query.timeframe}"
    kept = agent_id and await _kept(call.service.redis, agent_id, name, query.count)
    if kept is not None:
        return respond(kept, headers={"X-Cache": "hit"})
    question = {"instrument": instrument, "timeframe": query.timeframe, "count": query.count}
    asked = await ask(call, "get_candles", question, query.broker_connection_id)
    said: models.Candles = await answer(call, asked, models.Candles, WAIT_SECONDS)
    found = dumped(sorted(said.candles, key=lambda candle: candle.time)[-query.count :])
    await _keep(call.service.redis, asked.agent_id, name, query.count, found)
    return respond(found, headers={"X-Cache": "miss"})


async def _agent(call: Call, broker_connection_id: UUID | None) -> UUID | None:
    """Return whose candles the user sees."""
    async with as_user(call.service.pool, call.caller.claims) as conn:
        agent = await calls.trading_agent(conn, broker_connection_id=broker_connection_id)
    return agent.agent_id if agent else None


async def _kept(
    redis: RedisStore, agent_id: UUID, name: str, count: int
) -> list[dict[str, float]] | None:
    """Return the list if it is long enough, or as long as the terminal's is."""
    asked, found = _read(await redis.get(_key(agent_id, name)))
    return found[-count:] if asked >= count or len(found) < asked else None


def _read(text: bytes | None) -> tuple[int, list[dict[str, float]]]:
    """Return how many were asked for, and those that there were; 0 for what cannot be read."""
    try:
        asked, found = orjson.loads(text or b"[0, []]")
    except (ValueError, TypeError):
        return 0, []
    return (asked, found) if isinstance(asked, int) and isinstance(found, list) else (0, [])


async def _keep(
    redis: RedisStore, agent_id: UUID, name: str, count: int, found: list[dict[str, float]]
) -> None:
    """Keep the list, unless a longer one came meanwhile."""
    if await _kept(redis, agent_id, name, count) is None:
        text = orjson.dumps([count, found])
        await redis.put(_key(agent_id, name), text, KEPT_SECONDS)


def _key(agent_id: UUID, name: str) -> str:
    return f"candles:{agent_id}:{name}"
