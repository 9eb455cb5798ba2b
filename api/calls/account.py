"""The user's broker accounts and settings, and users themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from api import models
from api.calls._rows import json, many, one, scalar
from api.database import Connection


async def broker_connection_list(conn: Connection) -> list[models.Connection]:
    return await many(conn, models.Connection, "select * from public.broker_connection_list()", {})


async def broker_connection_create(
    conn: Connection, *, new: models.NewConnection
) -> models.Connection:
    values = new.model_dump(exclude={"symbol_map"})
    return await one(
        conn,
        models.Connection,
        """select * from public.broker_connection_create(p_name => %(name)s,
            p_broker => %(broker)s, p_server => %(server)s, p_login => %(login)s,
            p_account_currency => %(account_currency)s, p_account_mode => %(account_mode)s,
            p_margin_mode => %(margin_mode)s, p_is_default => %(is_default)s,
            p_symbol_map => %(symbol_map)s, p_symbol_suffix => %(symbol_suffix)s)""",
        {**values, "symbol_map": json(new.symbol_map)},
    )


async def broker_connection_update(
    conn: Connection, *, connection_id: UUID, changes: Mapping[str, Any]
) -> models.Connection:
    return await one(
        conn,
        models.Connection,
        """select * from public.broker_connection_update(p_id => %(id)s,
            p_changes => %(changes)s)""",
        {"id": connection_id, "changes": json(changes)},
    )


async def broker_connection_delete(conn: Connection, *, connection_id: UUID) -> UUID:
    found: UUID = await scalar(
        conn, "select public.broker_connection_delete(p_id => %(id)s)", {"id": connection_id}
    )
    return found


async def settings_get(conn: Connection) -> models.Settings:
    return await one(conn, models.Settings, "select * from public.settings_get()", {})


async def settings_update(conn: Connection, *, changes: Mapping[str, Any]) -> models.Settings:
    return await one(
        conn,
        models.Settings,
        "select * from public.settings_update(p_changes => %(changes)s)",
        {"changes": json(changes)},
    )


async def onboarding_complete(conn: Connection) -> models.Settings:
    return await one(conn, models.Settings, "select * from public.onboarding_complete()", {})


async def user_add(conn: Connection, *, email: str) -> UUID:
    found: UUID = await scalar(
        conn, "select public.user_add(p_email => %(email)s)", {"email": email}
    )
    return found


async def user_find(conn: Connection, *, email: str) -> UUID | None:
    found: UUID | None = await scalar(
        conn, "select public.user_find(p_email => %(email)s)", {"email": email}
    )
    return found
