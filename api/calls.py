"""One function per SQL function of the platform: the same name, the same arguments, its rows.

The contract of each is the header of `sql/platform/functions/<name>.sql`. There is no other SQL in
the service; who may do what is decided by the transaction's role (`api.database`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, LiteralString, TypeVar
from uuid import UUID

import orjson
from psycopg.rows import args_row, dict_row, scalar_row
from pydantic import BaseModel

from api import models
from api.alerts import Alert
from api.database import Connection
from api.records import AgentQueues, Credentials, Decision

M = TypeVar("M", bound=BaseModel)
R = TypeVar("R")


async def agent_pair(
    conn: Connection,
    *,
    name: str,
    broker_connection_id: UUID | None,
    key_hash: str,
    key_prefix: str,
    key_digest: bytes,
) -> models.Agent:
    return await _one(
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
    return await _one(
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
    return await _one(
        conn,
        models.Agent,
        "select * from public.agent_revoke(p_agent_id => %(agent_id)s)",
        {"agent_id": agent_id},
    )


async def agent_list(
    conn: Connection, *, before: datetime | None, before_id: UUID | None, limit: int
) -> list[models.Agent]:
    return await _many(
        conn,
        models.Agent,
        """select * from public.agent_list(p_before => %(before)s, p_before_id => %(before_id)s,
            p_limit => %(limit)s)""",
        {"before": before, "before_id": before_id, "limit": limit},
    )


async def agent_status(conn: Connection, *, agent_id: UUID) -> models.AgentStatus | None:
    found = await _many(
        conn,
        models.AgentStatus,
        "select * from public.agent_status(p_agent_id => %(agent_id)s)",
        {"agent_id": agent_id},
    )
    return found[0] if found else None


async def agent_credentials(conn: Connection, *, agent_id: UUID) -> Credentials | None:
    found = await _records(
        conn,
        Credentials,
        "select * from public.agent_credentials(p_agent_id => %(agent_id)s)",
        {"agent_id": agent_id},
    )
    return found[0] if found else None


async def agent_set_digest(
    conn: Connection, *, agent_id: UUID, key_hash: str, key_digest: bytes
) -> bool:
    return bool(
        await _scalar(
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
    return await _one(
        conn,
        models.HeartbeatAnswer,
        """select * from public.agent_heartbeat(p_agent_id => %(agent_id)s,
            p_status => %(status)s, p_metrics => %(metrics)s,
            p_agent_version => %(agent_version)s)""",
        {
            "agent_id": agent_id,
            "status": status,
            "metrics": _json(metrics),
            "agent_version": agent_version,
        },
    )


async def agent_seen(conn: Connection, *, agent_ids: Sequence[UUID]) -> int:
    return int(
        await _scalar(
            conn,
            "select public.agent_seen(p_agent_ids => %(agent_ids)s)",
            {"agent_ids": list(agent_ids)},
        )
    )


async def agent_queues(conn: Connection, *, agent_ids: Sequence[UUID]) -> list[AgentQueues]:
    return await _records(
        conn,
        AgentQueues,
        "select * from public.agent_queues(p_agent_ids => %(agent_ids)s)",
        {"agent_ids": list(agent_ids)},
    )


async def job_get(conn: Connection, *, job_id: UUID) -> models.Job | None:
    found = await _many(
        conn,
        models.Job,
        "select * from public.job_get(p_job_id => %(job_id)s)",
        {"job_id": job_id},
    )
    return found[0] if found else None


async def job_list(
    conn: Connection,
    *,
    status: str | None,
    job_type: str | None,
    before: UUID | None,
    limit: int,
) -> list[models.Job]:
    return await _many(
        conn,
        models.Job,
        """select * from public.job_list(p_status => %(status)s, p_job_type => %(job_type)s,
            p_before => %(before)s, p_limit => %(limit)s)""",
        {"status": status, "job_type": job_type, "before": before, "limit": limit},
    )


async def job_cancel(conn: Connection, *, job_id: UUID, reason: str | None) -> dict[str, Any]:
    return await _row(
        conn,
        "select * from public.job_cancel(p_job_id => %(job_id)s, p_reason => %(reason)s)",
        {"job_id": job_id, "reason": reason},
    )


async def job_create(conn: Connection, *, new: models.NewJob) -> dict[str, Any]:
    return await _row(
        conn,
        """select * from public.job_create(p_job_type => %(job_type)s, p_input => %(input)s,
            p_agent_id => %(agent_id)s, p_broker_connection_id => %(broker_connection_id)s,
            p_parent_type => %(parent_type)s, p_parent_id => %(parent_id)s,
            p_dedup_key => %(dedup_key)s, p_live_key => %(live_key)s,
            p_expires_in => %(expires_in)s)""",
        {**new.model_dump(exclude={"input_data"}), "input": _json(new.input_data)},
    )


async def broker_connection_list(conn: Connection) -> list[models.Connection]:
    return await _many(conn, models.Connection, "select * from public.broker_connection_list()", {})


async def broker_connection_create(
    conn: Connection, *, new: models.NewConnection
) -> models.Connection:
    values = new.model_dump(exclude={"symbol_map"})
    return await _one(
        conn,
        models.Connection,
        """select * from public.broker_connection_create(p_name => %(name)s,
            p_broker => %(broker)s, p_server => %(server)s, p_login => %(login)s,
            p_account_currency => %(account_currency)s, p_account_mode => %(account_mode)s,
            p_margin_mode => %(margin_mode)s, p_is_default => %(is_default)s,
            p_symbol_map => %(symbol_map)s, p_symbol_suffix => %(symbol_suffix)s)""",
        {**values, "symbol_map": _json(new.symbol_map)},
    )


async def broker_connection_update(
    conn: Connection, *, connection_id: UUID, changes: Mapping[str, Any]
) -> models.Connection:
    return await _one(
        conn,
        models.Connection,
        """select * from public.broker_connection_update(p_id => %(id)s,
            p_changes => %(changes)s)""",
        {"id": connection_id, "changes": _json(changes)},
    )


async def broker_connection_delete(conn: Connection, *, connection_id: UUID) -> UUID:
    found: UUID = await _scalar(
        conn, "select public.broker_connection_delete(p_id => %(id)s)", {"id": connection_id}
    )
    return found


async def settings_get(conn: Connection) -> models.Settings:
    return await _one(conn, models.Settings, "select * from public.settings_get()", {})


async def settings_update(conn: Connection, *, changes: Mapping[str, Any]) -> models.Settings:
    return await _one(
        conn,
        models.Settings,
        "select * from public.settings_update(p_changes => %(changes)s)",
        {"changes": _json(changes)},
    )


async def onboarding_complete(conn: Connection) -> models.Settings:
    return await _one(conn, models.Settings, "select * from public.onboarding_complete()", {})


async def strategy_create(
    conn: Connection, *, webhook_secret: str, values: Mapping[str, Any]
) -> models.Strategy:
    return await _one(
        conn,
        models.Strategy,
        """select * from public.strategy_create(p_webhook_secret => %(webhook_secret)s,
            p_values => %(values)s)""",
        {"webhook_secret": webhook_secret, "values": _json(values)},
    )


async def strategy_update(
    conn: Connection, *, strategy_id: UUID, changes: Mapping[str, Any]
) -> models.Strategy:
    return await _one(
        conn,
        models.Strategy,
        "select * from public.strategy_update(p_id => %(id)s, p_changes => %(changes)s)",
        {"id": strategy_id, "changes": _json(changes)},
    )


async def strategy_delete(conn: Connection, *, strategy_id: UUID) -> UUID:
    found: UUID = await _scalar(
        conn, "select public.strategy_delete(p_id => %(id)s)", {"id": strategy_id}
    )
    return found


async def strategy_rotate_secret(
    conn: Connection, *, strategy_id: UUID, webhook_secret: str, overlap: int
) -> models.Strategy:
    return await _one(
        conn,
        models.Strategy,
        """select * from public.strategy_rotate_secret(p_id => %(id)s,
            p_webhook_secret => %(webhook_secret)s, p_overlap => %(overlap)s::integer)""",
        {"id": strategy_id, "webhook_secret": webhook_secret, "overlap": overlap},
    )


async def strategy_list(conn: Connection, *, limit: int, offset: int) -> list[models.Strategy]:
    return await _many(
        conn,
        models.Strategy,
        """select * from public.strategy_list(p_limit => %(limit)s::integer,
            p_offset => %(offset)s::integer)""",
        {"limit": limit, "offset": offset},
    )


async def strategy_get(conn: Connection, *, strategy_id: UUID) -> models.Strategy:
    return await _one(
        conn,
        models.Strategy,
        "select * from public.strategy_get(p_id => %(id)s)",
        {"id": strategy_id},
    )


async def strategy_secrets(conn: Connection) -> list[bytes]:
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute("select * from public.strategy_secrets()", binary=True)
        return [bytes(found) for found in await cursor.fetchall()]


async def strategy_test(
    conn: Connection, *, strategy_id: UUID, signal_id: UUID, alert: Alert, dry_run: bool
) -> models.Tested:
    return await _one(
        conn,
        models.Tested,
        """select * from public.strategy_test(p_id => %(id)s, p_signal_id => %(signal_id)s,
            p_payload => %(payload)s, p_dedup_key => %(dedup_key)s, p_symbol => %(symbol)s,
            p_action => %(action)s, p_volume => %(volume)s, p_sl => %(sl)s, p_tp => %(tp)s,
            p_price => %(price)s, p_dry_run => %(dry_run)s)""",
        {
            "id": strategy_id,
            "signal_id": signal_id,
            "dry_run": dry_run,
            "payload": _json(alert.payload),
            "dedup_key": alert.dedup_key,
            "symbol": alert.symbol,
            "action": alert.action,
            "volume": alert.volume,
            "sl": alert.sl,
            "tp": alert.tp,
            "price": alert.price,
        },
    )


async def signals_receive(
    conn: Connection, *, alerts: Sequence[Mapping[str, Any]]
) -> list[Decision]:
    """Call `signal_receive` for each, in order, without a round trip between them."""
    query = """select * from public.signal_receive(p_secret_digest => %(secret_digest)s,
        p_signal_id => %(signal_id)s, p_received_at => %(received_at)s, p_payload => %(payload)s,
        p_dedup_key => %(dedup_key)s, p_symbol => %(symbol)s, p_action => %(action)s,
        p_volume => %(volume)s, p_sl => %(sl)s, p_tp => %(tp)s, p_price => %(price)s,
        p_source_ip => %(source_ip)s::inet)"""
    async with conn.cursor(row_factory=args_row(Decision)) as cursor:
        await cursor.executemany(query, alerts, returning=True)
        return [row async for result in cursor.results() for row in await result.fetchall()]


async def signal_list(
    conn: Connection, *, strategy_id: UUID | None, status: str | None, limit: int, offset: int
) -> list[models.Signal]:
    return await _many(
        conn,
        models.Signal,
        """select * from public.signal_list(p_strategy_id => %(strategy_id)s,
            p_status => %(status)s, p_limit => %(limit)s::integer,
            p_offset => %(offset)s::integer)""",
        {"strategy_id": strategy_id, "status": status, "limit": limit, "offset": offset},
    )


async def signal_count(conn: Connection, *, strategy_id: UUID | None, status: str | None) -> int:
    found: int = await _scalar(
        conn,
        """select public.signal_count(p_strategy_id => %(strategy_id)s,
            p_status => %(status)s)""",
        {"strategy_id": strategy_id, "status": status},
    )
    return found


async def signal_get(conn: Connection, *, signal_id: UUID) -> models.Signal:
    return await _one(
        conn,
        models.Signal,
        "select * from public.signal_get(p_id => %(id)s)",
        {"id": signal_id},
    )


async def kill_switch(
    conn: Connection, *, state: str, cancel_pending: bool, close_all: bool
) -> models.Killed:
    return await _one(
        conn,
        models.Killed,
        """select * from public.kill_switch(p_state => %(state)s,
            p_cancel_pending => %(cancel_pending)s, p_close_all => %(close_all)s)""",
        {"state": state, "cancel_pending": cancel_pending, "close_all": close_all},
    )


async def user_add(conn: Connection, *, email: str) -> UUID:
    found: UUID = await _scalar(
        conn, "select public.user_add(p_email => %(email)s)", {"email": email}
    )
    return found


async def user_find(conn: Connection, *, email: str) -> UUID | None:
    found: UUID | None = await _scalar(
        conn, "select public.user_find(p_email => %(email)s)", {"email": email}
    )
    return found


def _json(value: object) -> str | None:
    if value is None:
        return None
    return orjson.dumps(value, default=models.plain).decode()


async def _many(
    conn: Connection, kind: type[M], query: LiteralString, values: Mapping[str, Any]
) -> list[M]:
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query, values, binary=True)
        return [kind.model_validate(row) for row in await cursor.fetchall()]


async def _one(
    conn: Connection, kind: type[M], query: LiteralString, values: Mapping[str, Any]
) -> M:
    (found,) = await _many(conn, kind, query, values)
    return found


async def _records(
    conn: Connection, kind: type[R], query: LiteralString, values: Mapping[str, Any]
) -> list[R]:
    async with conn.cursor(row_factory=args_row(kind)) as cursor:
        await cursor.execute(query, values, binary=True)
        return await cursor.fetchall()


async def _row(conn: Connection, query: LiteralString, values: Mapping[str, Any]) -> dict[str, Any]:
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query, values, binary=True)
        (found,) = await cursor.fetchall()
        return found


async def _scalar(conn: Connection, query: LiteralString, values: Mapping[str, Any]) -> Any:
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(query, values, binary=True)
        return await cursor.fetchone()
