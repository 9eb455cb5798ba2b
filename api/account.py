"""The user's settings, onboarding and broker connections."""

from __future__ import annotations

from starlette.responses import Response

from api import calls, models
from api.database import as_user
from api.endpoint import Call


async def settings(call: Call) -> models.Settings:
    """Return the settings."""
    async with as_user(call.service.pool, call.caller.claims) as conn:
        return await calls.settings_get(conn)


async def change_settings(call: Call) -> models.Settings:
    """Change what the body names."""
    body: models.SettingsChanges = call.body
    async with as_user(call.service.pool, call.caller.claims) as conn:
        return await calls.settings_update(conn, changes=body.model_dump(exclude_unset=True))


async def complete_onboarding(call: Call) -> models.Settings:
    """Accept the disclaimer: from now on agents may be paired and jobs put in."""
    async with as_user(call.service.pool, call.caller.claims) as conn:
        return await calls.onboarding_complete(conn)


async def connections(call: Call) -> list[models.Connection]:
    """Return the broker connections, the default first."""
    async with as_user(call.service.pool, call.caller.claims) as conn:
        return await calls.broker_connection_list(conn)


async def add_connection(call: Call) -> models.Connection:
    """Add a broker connection; the first is the default."""
    async with as_user(call.service.pool, call.caller.claims) as conn:
        return await calls.broker_connection_create(conn, new=call.body)


async def change_connection(call: Call) -> models.Connection:
    """Change what the body names."""
    body: models.ConnectionChanges = call.body
    async with as_user(call.service.pool, call.caller.claims) as conn:
        return await calls.broker_connection_update(
            conn,
            connection_id=call.path["connection_id"],
            changes=body.model_dump(exclude_unset=True),
        )


async def remove_connection(call: Call) -> Response:
    """Remove a broker connection that nothing uses."""
    async with as_user(call.service.pool, call.caller.claims) as conn:
        await calls.broker_connection_delete(conn, connection_id=call.path["connection_id"])
    return Response(status_code=204)
