"""What the broker did, reported by the account's agent: also what no order of ours asked for."""

from __future__ import annotations

from api import calls, models
from api.database import as_service
from api.endpoint import Call


async def report(call: Call) -> models.DealsTaken:
    """Take deals and the account's state; deals that are known are not counted again."""
    body: models.Deals = call.body
    account = body.account.model_dump() if body.account else None
    if body.open_positions is not None:
        account = {**(account or {}), "open_positions": body.open_positions}
    async with as_service(call.service.pool) as conn:
        return await calls.deals_report(
            conn, agent_id=call.holder.agent_id, deals=body.deals, account=account
        )
