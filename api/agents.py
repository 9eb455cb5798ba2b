"""Agents: paired, listed, given new keys and revoked by their owners; alive by their own word."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode
from uuid import UUID

from starlette.responses import Response

from api import calls, models
from api.database import as_service, as_user
from api.endpoint import Call, respond
from api.errors import Problem


async def pair(call: Call) -> models.Paired:
    """Make an agent and its key."""
    new: models.Pair = call.body
    key = await call.service.keys.make()
    async with as_user(call.service.pool, call.caller.claims) as conn:
        agent = await calls.agent_pair(
            conn,
            name=new.name,
            broker_connection_id=new.broker_connection_id,
            key_hash=key.hash,
            key_prefix=key.prefix,
            key_digest=key.digest,
        )
    await _changed(call, agent.agent_id)
    return models.Paired(agent_id=agent.agent_id, agent_key=key.key, key_prefix=key.prefix)


async def rotate_key(call: Call) -> models.Paired:
    """Give the agent another key; the old one works for ten more minutes."""
    agent_id = call.path["agent_id"]
    key = await call.service.keys.make()
    async with as_user(call.service.pool, call.caller.claims) as conn:
        await calls.agent_rotate_key(
            conn,
            agent_id=agent_id,
            key_hash=key.hash,
            key_prefix=key.prefix,
            key_digest=key.digest,
        )
    await _changed(call, agent_id)
    return models.Paired(agent_id=agent_id, agent_key=key.key, key_prefix=key.prefix)


async def revoke(call: Call) -> models.Agent:
    """Let the agent in no more; its pending jobs are cancelled."""
    agent_id = call.path["agent_id"]
    async with as_user(call.service.pool, call.caller.claims) as conn:
        agent = await calls.agent_revoke(conn, agent_id=agent_id)
    await _changed(call, agent_id)
    return agent


async def _changed(call: Call, agent_id: UUID) -> None:
    """Have every process forget what it knew of the agent, and of users who had none.

    An old key is forgotten, its poll ends, and who watches prices may see another agent's.
    """
    call.service.forget(agent_id)
    await call.service.redis.announce(agent_id)


async def page(call: Call) -> Response:
    """Return a page of the user's agents, newest first."""
    query: models.AgentPage = call.query
    async with as_user(call.service.pool, call.caller.claims) as conn:
        found = await calls.agent_list(
            conn, before=query.before, before_id=query.before_id, limit=query.limit
        )
    headers = {}
    if len(found) == query.limit:
        last = found[-1]
        key = {"before": last.created_at.isoformat(), "before_id": last.agent_id}
        headers = next_page("/api/v1/agents", {**key, "limit": query.limit})
    return respond(found, headers=headers)


def next_page(path: str, query: Mapping[str, object]) -> dict[str, str]:
    """Return the header that says where the next page is."""
    named = {name: value for name, value in query.items() if value is not None}
    return {"Link": f'<{path}?{urlencode(named)}>; rel="next"'}


async def heartbeat(call: Call) -> models.HeartbeatAnswer:
    """Note how the agent is, and tell it what it has to know."""
    beat: models.Heartbeat = call.body
    async with as_service(call.service.pool) as conn:
        return await calls.agent_heartbeat(
            conn,
            agent_id=call.holder.agent_id,
            status=beat.status,
            metrics=beat.metrics,
            agent_version=beat.version,
        )


async def status(call: Call) -> models.AgentStatus:
    """Tell whether the agent lives: to itself, and to its owner."""
    agent_id = call.path["agent_id"]
    pool = call.service.pool
    own = as_user(pool, call.user.claims) if call.user else as_service(pool)
    async with own as conn:
        found = await calls.agent_status(conn, agent_id=agent_id)
    if found is None:
        raise Problem("not_found")
    return found


async def prices(call: Call) -> models.Received:
    """Store and publish the agent's prices, and tell which are watched."""
    pushed: dict[str, models.Price] = call.body
    watched = await call.service.redis.put_prices(call.holder.agent_id, pushed)
    call.service.metrics.prices += len(pushed)
    return models.Received(received=len(pushed), subscriptions=watched)
