"""Strategies, the alerts that come for them, and their signals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from psycopg.rows import args_row, scalar_row

from api import models
from api.alerts import Alert
from api.calls._rows import json, many, one, scalar
from api.database import Connection, service_rows
from api.records import Decision


async def strategy_create(
    conn: Connection, *, webhook_secret: str, values: Mapping[str, Any]
) -> models.Strategy:
    return await one(
        conn,
        models.Strategy,
        """select * from public.strategy_create(p_webhook_secret => %(webhook_secret)s,
            p_values => %(values)s)""",
        {"webhook_secret": webhook_secret, "values": json(values)},
    )


async def strategy_update(
    conn: Connection, *, strategy_id: UUID, changes: Mapping[str, Any]
) -> models.Strategy:
    return await one(
        conn,
        models.Strategy,
        "select * from public.strategy_update(p_id => %(id)s, p_changes => %(changes)s)",
        {"id": strategy_id, "changes": json(changes)},
    )


async def strategy_delete(conn: Connection, *, strategy_id: UUID) -> UUID:
    found: UUID = await scalar(
        conn, "select public.strategy_delete(p_id => %(id)s)", {"id": strategy_id}
    )
    return found


async def strategy_rotate_secret(
    conn: Connection, *, strategy_id: UUID, webhook_secret: str, overlap: int
) -> models.Strategy:
    return await one(
        conn,
        models.Strategy,
        """select * from public.strategy_rotate_secret(p_id => %(id)s,
            p_webhook_secret => %(webhook_secret)s, p_overlap => %(overlap)s::integer)""",
        {"id": strategy_id, "webhook_secret": webhook_secret, "overlap": overlap},
    )


async def strategy_list(conn: Connection, *, limit: int, offset: int) -> list[models.Strategy]:
    return await many(
        conn,
        models.Strategy,
        """select * from public.strategy_list(p_limit => %(limit)s::integer,
            p_offset => %(offset)s::integer)""",
        {"limit": limit, "offset": offset},
    )


async def strategy_count(conn: Connection) -> int:
    """Count the user's own: row level security hides the others."""
    found: int = await scalar(conn, "select count(*) from public.tv_strategies", {})
    return found


async def strategy_get(conn: Connection, *, strategy_id: UUID) -> models.Strategy:
    return await one(
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
    return await one(
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
            "payload": json(alert.payload),
            "dedup_key": alert.dedup_key,
            "symbol": alert.symbol,
            "action": alert.action,
            "volume": alert.volume,
            "sl": alert.sl,
            "tp": alert.tp,
            "price": alert.price,
        },
    )


# When it came is said by the database's clock: that of this machine may be minutes off.
_RECEIVE = """select * from public.signal_receive(p_secret_digest => %(secret_digest)s,
    p_signal_id => %(signal_id)s,
    p_received_at => public._now() - make_interval(secs => %(age)s::float8),
    p_payload => %(payload)s,
    p_dedup_key => %(dedup_key)s, p_symbol => %(symbol)s, p_action => %(action)s,
    p_volume => %(volume)s, p_sl => %(sl)s, p_tp => %(tp)s, p_price => %(price)s,
    p_source_ip => %(source_ip)s::inet, p_rate_limited => %(rate_limited)s)"""


async def signal_receive(conn: Connection, *, alert: Mapping[str, Any]) -> Decision:
    """Call it in a transaction of the service's own, in one round trip."""
    (decision,) = await service_rows(conn, Decision, _RECEIVE, alert)
    return decision


async def signals_receive(
    conn: Connection, *, alerts: Sequence[Mapping[str, Any]]
) -> list[Decision]:
    """Call it for each, in order, without a round trip between them."""
    async with conn.cursor(row_factory=args_row(Decision)) as cursor:
        await cursor.executemany(_RECEIVE, alerts, returning=True)
        return [row async for result in cursor.results() for row in await result.fetchall()]


async def signal_list(
    conn: Connection, *, strategy_id: UUID | None, status: str | None, limit: int, offset: int
) -> list[models.Signal]:
    return await many(
        conn,
        models.Signal,
        """select * from public.signal_list(p_strategy_id => %(strategy_id)s,
            p_status => %(status)s, p_limit => %(limit)s::integer,
            p_offset => %(offset)s::integer)""",
        {"strategy_id": strategy_id, "status": status, "limit": limit, "offset": offset},
    )


async def signal_count(conn: Connection, *, strategy_id: UUID | None, status: str | None) -> int:
    found: int = await scalar(
        conn,
        """select public.signal_count(p_strategy_id => %(strategy_id)s,
            p_status => %(status)s)""",
        {"strategy_id": strategy_id, "status": status},
    )
    return found


async def signal_get(conn: Connection, *, signal_id: UUID) -> models.Signal:
    return await one(
        conn,
        models.Signal,
        "select * from public.signal_get(p_id => %(id)s)",
        {"id": signal_id},
    )


async def kill_switch(
    conn: Connection, *, state: str, cancel_pending: bool, close_all: bool
) -> models.Killed:
    return await one(
        conn,
        models.Killed,
        """select * from public.kill_switch(p_state => %(state)s,
            p_cancel_pending => %(cancel_pending)s, p_close_all => %(close_all)s)""",
        {"state": state, "cancel_pending": cancel_pending, "close_all": close_all},
    )
