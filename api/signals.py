"""The user's signals: every alert that was accepted, what it became, and why."""

from __future__ import annotations

from starlette.responses import Response

from api import calls, models
from api.agents import next_page
from api.database import as_user
from api.endpoint import Call, respond


async def page(call: Call) -> Response:
    """Return a page of signals, newest first; X-Total-Count says how many there are."""
    query: models.SignalPage = call.query
    async with as_user(call.service.pool, call.caller.claims) as conn:
        found = await calls.signal_list(
            conn,
            strategy_id=query.strategy_id,
            status=query.status,
            limit=query.limit,
            offset=query.offset,
        )
        total = await calls.signal_count(conn, strategy_id=query.strategy_id, status=query.status)
    return respond(found, headers=counted("/api/v1/signals", query, len(found), total))


def counted(path: str, query: models.OffsetPage, here: int, total: int) -> dict[str, str]:
    """Return the headers that say how many there are, and where the next page is."""
    headers = {"X-Total-Count": str(total)}
    if here and query.offset + here < total:
        following = {**query.model_dump(), "offset": query.offset + query.limit}
        headers |= next_page(path, following)
    return headers


async def get(call: Call) -> models.Signal:
    """Return one with its way: the milliseconds from each hop to the next."""
    async with as_user(call.service.pool, call.caller.claims) as conn:
        return await calls.signal_get(conn, signal_id=call.path["signal_id"])


async def kill_switch(call: Call) -> models.Killed:
    """Stop trading, or let it go on; one call, one transaction, one note in the audit log."""
    body: models.KillSwitch = call.body
    async with as_user(call.service.pool, call.caller.claims) as conn:
        return await calls.kill_switch(
            conn,
            state=body.state,
            cancel_pending=body.cancel_pending,
            close_all=body.close_all,
        )
