"""What must hold of orders whatever died: judged by the terminal's own book and the database.

Neither the agent's journal nor anything that the agent or the service said is believed.
"""

from __future__ import annotations

from base64 import b32encode
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from forex_agent.simulated import BookState

from tests.faults.trades.traders import Placed

OPEN = {"pending", "claimed", "running"}

ORDERS = """
select j.job_id, j.job_type, j.status, j.output ->> 'deal_id' as deal_id,
       array(select t.event from public.trade_events t
             where t.job_id = j.job_id order by t.id) as events,
       j.settle_error
from jobengine.jobs j
where j.tenant_id = %s and j.job_type in ('trade', 'close_position')
"""
DEALS = """
select t.deal_id, count(*) as times, min(t.job_id::text) as job_id
from public.trade_events t
where t.user_id = %s and t.deal_id is not null
group by t.deal_id
"""
PNL = "select coalesce(sum(realized_pnl), 0) as realized from public.daily_pnl where user_id = %s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What one run left: rows of ORDERS and DEALS, the sum of PNL, the book, the requests."""

    orders: dict[UUID, dict[str, Any]]
    deals: dict[str, dict[str, Any]]
    realized: Decimal
    book: BookState
    placed: list[Placed]


def comment(job_id: UUID) -> str:
    """Return the trace that an order leaves at the broker."""
    return b32encode(job_id.bytes).decode().rstrip("=")


def unsafe(evidence: Evidence) -> Iterator[str]:
    """Yield what must never be, at any moment."""
    names = {comment(job_id): job_id for job_id in evidence.orders}
    for text, deals in evidence.book.fills().items():
        if text in names and len(deals) != 1:
            yield f"{names[text]} was filled {len(deals)} times"
    for placed in evidence.placed:
        if len(placed.orders) > 1:
            yield f"key {placed.key} made {len(placed.orders)} orders"
    if len(evidence.orders) > len(evidence.placed):
        yield f"{len(evidence.placed)} requests made {len(evidence.orders)} orders"
    for deal_id, row in evidence.deals.items():
        if row["times"] > 1:
            yield f"deal {deal_id} was noted {row['times']} times"


def unsettled(evidence: Evidence) -> Iterator[str]:
    """Yield what must be over once nothing dies any more."""
    fills = evidence.book.fills()
    for job_id, row in evidence.orders.items():
        filled = fills.get(comment(job_id), [])
        if row["status"] in OPEN:
            yield f"{job_id} is {row['status']}"
        elif filled and row["status"] != "completed":
            yield f"{job_id} was filled, and is {row['status']}"
        elif row["status"] == "completed" and [row["deal_id"]] != [d.deal_id for d in filled]:
            yield f"{job_id} is completed by deal {row['deal_id']}, the book has {filled}"
        elif filled and _ends(row) != 1:
            yield f"{job_id} has the events {row['events']}"
        if row["settle_error"]:
            yield f"{job_id}: {row['settle_error']}"
    for deal in evidence.book.deals:
        if deal.deal_id not in evidence.deals:
            yield f"nobody knows of deal {deal.deal_id} ({deal.comment})"
    known = sum((d.profit + d.commission + d.swap for d in evidence.book.deals), Decimal())
    if known != evidence.realized:
        yield f"the book realised {known}, the service counts {evidence.realized}"


def _ends(row: dict[str, Any]) -> int:
    return sum(event in {"filled", "partially_filled", "closed"} for event in row["events"])
