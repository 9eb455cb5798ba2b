"""Agents and their keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from api import models
from api.calls._rows import json, many, one, records, scalar
from api.database import Connection
from api.records import AgentCredentials, AgentQueues, Credentials


async def agent_pair(
    conn: Connection,
    *,
    name: str,
    broker_connection_id: UUID | None,
    key_hash: str,
    key_prefix: str,
    key_digest: bytes,
) -> models.Agent:
    return await one(
        conn,
        models.Agent,
        """select * from public.agent_pair(p_name => %(name)s,
            p_broker_connection_id => %(broker_connection_id)s, p_key_hash => %(key_hash)s,
            p_key_prefix => %(key_prefix)s, p_key_digest => %(key_digest)s)""",
        {
            "name": name,
            "broker_connection_id": broker_connection_id,
            "key_hash": key_hash,
            "key_prefix": key_prefix,
            "key_digest": key_digest,
        },
    )


async def agent_rotate_key(
    conn: Connection, *, agent_id: UUID, key_hash: str, key_prefix: str, key_digest: bytes
) -> models.Agent:
    return await one(
        conn,
        models.Agent,
        """select * from public.agent_rotate_key(p_agent_id => %(agent_id)s,
            p_key_hash => %(key_hash)s, p_key_prefix => %(key_prefix)s,
            p_key_digest => %(key_digest)s)""",
        {
            "agent_id": agent_id,
            "key_hash": key_hash,
            "key_prefix": key_prefix,
            "key_digest": key_digest,
        },
    )


async def agent_revoke(conn: Connection, *, agent_id: UUID) -> models.Agent:
    return await one(
        conn,
        models.Agent,
        "select * from public.agent_revoke(p_agent_id => %(agent_id)s)",
        {"agent_id": agent_id},
    )


async def agent_list(
    conn: Connection, *, before: datetime | None, before_id: UUID | None, limit: int
) -> list[models.Agent]:
    return await many(
        conn,
        models.Agent,
        """select * from public.agent_list(p_before => %(before)s, p_before_id => %(before_id)s,
            p_limit => %(limit)s)""",
        {"before": before, "before_id": before_id, "limit": limit},
    )


async def agent_status(conn: Connection, *, agent_id: UUID) -> models.AgentStatus | None:
    found = await many(
        conn,
        models.AgentStatus,
        "select * from public.agent_status(p_agent_id => %(agent_id)s)",
        {"agent_id": agent_id},
    )
    return found[0] if found else None


async def agent_credentials(conn: Connection, *, agent_id: UUID) -> Credentials | None:
    found = await records(
        conn,
        Credentials,
        "select * from public.agent_credentials(p_agent_id => %(agent_id)s)",
        {"agent_id": agent_id},
    )
    return found[0] if found else None


async def agents_credentials(
    conn: Connection, *, agent_ids: Sequence[UUID]
) -> list[AgentCredentials]:
    """Call `agent_credentials` for several agents in one statement; no row for who is none."""
    return await records(
        conn,
        AgentCredentials,
        """select a.id as agent_id, c.*
        from unnest(%(agent_ids)s::uuid[]) a (id)
        cross join lateral public.agent_credentials(p_agent_id => a.id) c""",
        {"agent_ids": list(agent_ids)},
    )


async def agent_of_key(conn: Connection, *, key_digest: bytes) -> UUID | None:
    found: UUID | None = await scalar(
        conn,
        "select public.agent_of_key(p_key_digest => %(key_digest)s)",
        {"key_digest": key_digest},
    )
    return found


async def agent_set_digest(
    conn: Connection, *, agent_id: UUID, key_hash: str, key_digest: bytes
) -> bool:
    return bool(
        await scalar(
            conn,
            """select public.agent_set_digest(p_agent_id => %(agent_id)s,
                p_key_hash => %(key_hash)s, p_key_digest => %(key_digest)s)""",
            {"agent_id": agent_id, "key_hash": key_hash, "key_digest": key_digest},
        )
    )


async def agent_heartbeat(
    conn: Connection,
    *,
    agent_id: UUID,
    status: str,
    metrics: Mapping[str, Any],
    agent_version: str | None,
) -> models.HeartbeatAnswer:
    return await one(
        conn,
        models.HeartbeatAnswer,
        """select * from public.agent_heartbeat(p_agent_id => %(agent_id)s,
            p_status => %(status)s, p_metrics => %(metrics)s,
            p_agent_version => %(agent_version)s)""",
        {
            "agent_id": agent_id,
            "status": status,
            "metrics": json(metrics),
            "agent_version": agent_version,
        },
    )


async def agent_seen(conn: Connection, *, agent_ids: Sequence[UUID]) -> int:
    return int(
        await scalar(
            conn,
            "select public.agent_seen(p_agent_ids => %(agent_ids)s)",
            {"agent_ids": list(agent_ids)},
        )
    )


async def agent_queues(conn: Connection, *, agent_ids: Sequence[UUID]) -> list[AgentQueues]:
    return await records(
        conn,
        AgentQueues,
        "select * from public.agent_queues(p_agent_ids => %(agent_ids)s)",
        {"agent_ids": list(agent_ids)},
    )
