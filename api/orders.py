"""Orders: put in, waited for, looked at; a position is closed by an order, too.

An order is a job of the account's agent. Whoever puts it in waits ten seconds for its end; an order
that takes longer goes on, and its `order_id` says later what became of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
import psycopg
from starlette.responses import Response

from api import calls, models
from api.agents import next_page
from api.database import as_user
from api.endpoint import V1, Call, respond
from api.errors import Problem, from_error, invalid
from api.records import Ordered
from api.waiting import over

WAIT_SECONDS = 10.0
UNDER_WAY = {"pending", "claimed", "sent"}
DONE = {"filled", "partially_filled", "closed"}
REFUSED = {
    "rejected": "order_rejected",
    "expired": "order_expired",
    "cancelled": "order_cancelled",
}


async def place(call: Call) -> Response:
    """Put a market order in and wait for its fill."""
    new: models.NewOrder = call.body
    key = _key(call, new.client_order_id)
    what = new.model_dump(exclude={"client_order_id"})
    async with as_user(call.service.pool, call.caller.claims) as conn:
        ordered = await calls.order_create(
            conn, new=new, key=key, request_hash=fingerprint("order", what)
        )
    return await _outcome(call, ordered)


async def close(call: Call) -> Response:
    """Close a position, or a part of it, and wait for the price."""
    closing: models.Closing = call.query
    ticket = call.names["ticket"]
    what = {"ticket": ticket, **closing.model_dump()}
    async with as_user(call.service.pool, call.caller.claims) as conn:
        ordered = await calls.position_close(
            conn,
            ticket=ticket,
            of=closing,
            key=call.key,
            request_hash=fingerprint("close", what),
        )
    return await _outcome(call, ordered, ticket)


async def page(call: Call) -> Response:
    """Return a page of orders, newest first."""
    query: models.OrderPage = call.query
    async with as_user(call.service.pool, call.caller.claims) as conn:
        found = await calls.order_list(conn, **query.model_dump())
    headers = {}
    if len(found) == query.limit:
        headers = next_page(f"{V1}/orders", {**query.model_dump(), "before": found[-1].order_id})
    return respond(found, headers=headers)


async def get(call: Call) -> models.OrderWithEvents:
    """Tell where an order stands, and how it came there."""
    order_id = call.path["order_id"]
    async with as_user(call.service.pool, call.caller.claims) as conn:
        order = await calls.order_get(conn, job_id=order_id)
        events = await calls.order_events(conn, job_id=order_id)
    return models.OrderWithEvents(**order.model_dump(), events=events)


def fingerprint(what: str, values: Mapping[str, Any]) -> bytes:
    """Return what tells two requests apart: 0.1 and "0.10" are the same volume."""
    text = orjson.dumps([what, values], default=_digits, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(text).digest()


def _digits(value: object) -> str:
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    raise TypeError(f"not JSON: {type(value).__name__}")


def _key(call: Call, client_order_id: str | None) -> str | None:
    """Return what a repeat of the request is known by, if the user gave it a key."""
    if call.key and client_order_id and call.key != client_order_id:
        raise invalid("client_order_id", "the same as the header Idempotency-Key")
    return call.key or client_order_id


async def _outcome(call: Call, ordered: Ordered, ticket: str | None = None) -> Response:
    """Wait for the order's end, and answer as it came."""
    order = await _ended(call, ordered)
    headers = {"Idempotent-Replayed": "true"} if ordered.replayed else {}
    if order.status in REFUSED:
        raise _refusal(order, headers)
    status = 200 if order.status in DONE else 202
    if status == 202:  # noqa: PLR2004
        headers["Location"] = f"{V1}/orders/{order.order_id}"
    return respond(_answered(order, ticket), status, headers)


async def _ended(call: Call, ordered: Ordered) -> models.Order:
    """Return the order once it has ended, or as it stands after ten seconds."""
    left, new = WAIT_SECONDS, not ordered.replayed
    while True:
        left = await over(call.service, ordered.job_id, left, new=new)
        order = await _order(call, ordered.job_id)
        if order.status not in UNDER_WAY or left <= 0:
            return order
        new = False


async def _order(call: Call, order_id: UUID) -> models.Order:
    """Read the order; a failure names it, as it was put in."""
    try:
        async with as_user(call.service.pool, call.caller.claims) as conn:
            return await calls.order_get(conn, job_id=order_id)
    except psycopg.Error as error:
        problem = from_error(error)
        if problem is None:
            raise
        problem.more["order_id"] = order_id
        raise problem from error


def _answered(order: models.Order, ticket: str | None) -> models.Order:
    """Return the order as its maker is told: `pending` until something is known."""
    fields = order.model_dump()
    if order.status in {"claimed", "sent"}:
        fields["status"] = "pending"
    if ticket is None:
        return models.Order(**fields)
    return models.ClosedPosition(**fields, ticket=ticket, closed_price=order.fill_price)


def _refusal(order: models.Order, headers: dict[str, str]) -> Problem:
    gone = order.kind == "close" and order.error_code == "position_not_found"
    said = {"order_id", "error_code", "retcode", "retcode_name", "message"}
    return Problem(
        "position_not_found" if gone else REFUSED[order.status],
        more=order.model_dump(include=said, exclude_none=True),
        headers=headers,
    )
