"""The user's strategies, whose alerts come by webhook."""

from __future__ import annotations

import secrets
from uuid import uuid4

import orjson
from starlette.responses import Response

from api import alerts, calls, models
from api.database import as_user
from api.endpoint import Call, respond
from api.signals import counted
from api.webhooks import digest


def _url(call: Call, secret: str) -> str:
    base = call.service.settings.base_url or str(call.request.base_url)
    return f"{base.rstrip('/')}/api/v1/webhooks/tv/{secret}"


async def page(call: Call) -> Response:
    """Return the strategies with the counts of their signals, newest first; X-Total-Count."""
    query: models.OffsetPage = call.query
    async with as_user(call.service.pool, call.caller.claims) as conn:
        found = await calls.strategy_list(conn, limit=query.limit, offset=query.offset)
        total = await calls.strategy_count(conn)
    return respond(found, headers=counted("/api/v1/strategies", query, len(found), total))


async def get(call: Call) -> models.Strategy:
    """Return one."""
    async with as_user(call.service.pool, call.caller.claims) as conn:
        return await calls.strategy_get(conn, strategy_id=call.path["strategy_id"])


async def create(call: Call) -> models.NewWebhook:
    """Make a strategy; its webhook's address is shown this once."""
    new: models.NewStrategy = call.body
    secret = secrets.token_urlsafe(32)
    async with as_user(call.service.pool, call.caller.claims) as conn:
        made = await calls.strategy_create(
            conn, webhook_secret=secret, values=new.model_dump(exclude_unset=True)
        )
    await call.service.intake.learned(digest(secret))
    return models.NewWebhook(
        strategy_id=made.id, webhook_url=_url(call, secret), magic=made.magic, overlap_until=None
    )


async def change(call: Call) -> models.Strategy:
    """Change what the body names."""
    body: models.StrategyChanges = call.body
    async with as_user(call.service.pool, call.caller.claims) as conn:
        return await calls.strategy_update(
            conn,
            strategy_id=call.path["strategy_id"],
            changes=body.model_dump(exclude_unset=True),
        )


async def remove(call: Call) -> Response:
    """Remove a strategy and its signals; its waiting orders are cancelled."""
    async with as_user(call.service.pool, call.caller.claims) as conn:
        await calls.strategy_delete(conn, strategy_id=call.path["strategy_id"])
    return Response(status_code=204)


async def rotate_secret(call: Call) -> models.NewWebhook:
    """Give the strategy another address; the former one works for a while."""
    body: models.RotateSecret = call.body
    secret = secrets.token_urlsafe(32)
    async with as_user(call.service.pool, call.caller.claims) as conn:
        changed = await calls.strategy_rotate_secret(
            conn,
            strategy_id=call.path["strategy_id"],
            webhook_secret=secret,
            overlap=body.overlap_seconds,
        )
    await call.service.intake.learned(digest(secret))
    return models.NewWebhook(
        strategy_id=changed.id,
        webhook_url=_url(call, secret),
        magic=changed.magic,
        overlap_until=changed.previous_secret_until,
    )


async def test(call: Call) -> Response:
    """Send the strategy an alert as if TradingView had: by default a dry run."""
    body: models.TestAlert = call.body
    text = body.message if isinstance(body.message, str) else orjson.dumps(body.message).decode()
    alert = alerts.read(text)
    async with as_user(call.service.pool, call.caller.claims) as conn:
        found = await calls.strategy_test(
            conn,
            strategy_id=call.path["strategy_id"],
            signal_id=uuid4(),
            alert=alert,
            dry_run=body.dry_run,
        )
    return respond(found)
