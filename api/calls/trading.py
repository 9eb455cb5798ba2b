"""Orders, reads, and what agents report of their accounts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from api import models
from api.calls._rows import json, many, one, records
from api.database import Connection
from api.records import Ordered, Reading, TradingAgent


async def order_create(
    conn: Connection, *, new: models.NewOrder, key: str | None, request_hash: bytes
) -> Ordered:
    (found,) = await records(
        conn,
        Ordered,
        """select * from public.order_create(p_symbol => %(symbol)s, p_side => %(side)s,
            p_volume => %(volume)s, p_sl => %(sl)s, p_tp => %(tp)s,
            p_broker_connection_id => %(broker_connection_id)s,
            p_client_order_id => %(client_order_id)s, p_key => %(key)s,
            p_request_hash => %(request_hash)s, p_expires_in => %(expires_in)s,
            p_deviation => %(deviation)s)""",
        {**new.model_dump(), "key": key, "request_hash": request_hash},
    )
    return found


async def position_close(
    conn: Connection, *, ticket: str, of: models.Closing, key: str | None, request_hash: bytes
) -> Ordered:
    (found,) = await records(
        conn,
        Ordered,
        """select * from public.position_close(p_ticket => %(ticket)s, p_volume => %(volume)s,
            p_broker_connection_id => %(broker_connection_id)s, p_key => %(key)s,
            p_request_hash => %(request_hash)s)""",
        {**of.model_dump(), "ticket": ticket, "key": key, "request_hash": request_hash},
    )
    return found


async def order_get(conn: Connection, *, job_id: UUID) -> models.Order:
    return await one(
        conn,
        models.Order,
        "select * from public.order_get(p_job_id => %(job_id)s)",
        {"job_id": job_id},
    )


async def order_list(
    conn: Connection,
    *,
    client_order_id: str | None,
    status: str | None,
    before: UUID | None,
    limit: int,
) -> list[models.Order]:
    return await many(
        conn,
        models.Order,
        """select * from public.order_list(p_client_order_id => %(client_order_id)s,
            p_status => %(status)s, p_before => %(before)s, p_limit => %(limit)s)""",
        {"client_order_id": client_order_id, "status": status, "before": before, "limit": limit},
    )


async def order_events(conn: Connection, *, job_id: UUID) -> list[models.OrderEvent]:
    return await many(
        conn,
        models.OrderEvent,
        "select * from public.order_events(p_job_id => %(job_id)s)",
        {"job_id": job_id},
    )


async def read_create(
    conn: Connection, *, job_type: str, question: dict[str, Any], broker_connection_id: UUID | None
) -> Reading:
    (found,) = await records(
        conn,
        Reading,
        """select * from public.read_create(p_job_type => %(job_type)s, p_input => %(input)s,
            p_broker_connection_id => %(broker_connection_id)s)""",
        {
            "job_type": job_type,
            "input": json(question),
            "broker_connection_id": broker_connection_id,
        },
    )
    return found


async def trading_agent(
    conn: Connection, *, broker_connection_id: UUID | None
) -> TradingAgent | None:
    found = await records(
        conn,
        TradingAgent,
        """select * from public.trading_agent(
            p_broker_connection_id => %(broker_connection_id)s)""",
        {"broker_connection_id": broker_connection_id},
    )
    return found[0] if found else None


async def deals_report(
    conn: Connection,
    *,
    agent_id: UUID,
    deals: Sequence[models.Deal],
    account: dict[str, Any] | None,
) -> models.DealsTaken:
    return await one(
        conn,
        models.DealsTaken,
        """select * from public.deals_report(p_agent_id => %(agent_id)s, p_deals => %(deals)s,
            p_account => %(account)s)""",
        {
            "agent_id": agent_id,
            "deals": json([deal.model_dump() for deal in deals]),
            "account": json(account),
        },
    )
