"""Orders as users place them: over HTTP, with a key, repeated until an answer comes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from uuid import UUID

from api import commands
from api.demo.client import Answer
from api.demo.servers import wait_for
from api.demo.world import Agent, User

PATIENCE = 60.0
REFUSALS = {
    "order_rejected": "rejected",
    "order_expired": "expired",
    "position_not_found": "rejected",
}
OPEN = {"pending", "claimed", "sent", "unknown"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A market order (`body`), or the end of a position (`ticket`), and how it may end.

    `requests` is how often the user asks for it: one order whatever the number.
    """

    agent: Agent
    key: str
    expected: tuple[str, ...]
    body: dict[str, Any] | None = None
    ticket: str | None = None
    requests: int = 1

    @property
    def words(self) -> str:
        """Return it as the timeline has it."""
        if self.body is None:
            return f"close {self.ticket}"
        return "{side} {volume:g} {symbol}".format(**self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """What became of an order, by the service's answers; times in seconds since 1970.

    `tries` counts calls: more than requests where the service was away. `order_ids` are those of
    all answers, `replayed` how many of them said that they were a repeat.
    """

    order: Order
    asked_at: float
    answered_at: float
    tries: int
    order_ids: list[UUID] = field(default_factory=list)
    replayed: int = 0
    status: str
    last: dict[str, Any]

    @property
    def order_id(self) -> UUID:
        """The order's id, as the first answer had it."""
        return self.order_ids[0]


def place(user: User, order: Order) -> Placed:
    """Place the order as often as it says; returns when its end is known."""
    asked_at = time.time()
    first, tries = _request(user, order)
    answered_at = time.time()
    answers = [first]
    for _ in range(order.requests - 1):
        answer, more = _request(user, order)
        answers.append(answer)
        tries += more
    last = _end(user, answers[-1])
    return Placed(
        order=order,
        asked_at=asked_at,
        answered_at=answered_at,
        tries=tries,
        order_ids=[UUID(answer.body["order_id"]) for answer in answers],
        replayed=sum(answer.headers.get("Idempotent-Replayed") == "true" for answer in answers),
        status=last["status"],
        last=last,
    )


def _request(user: User, order: Order) -> tuple[Answer, int]:
    """Ask once, until an answer comes; `Refused` where it is about no order."""
    account = str(order.agent.broker_connection_id)
    method, path, body = "POST", "/api/v1/orders", order.body
    if body is not None:
        body = {**body, "broker_connection_id": account}
    else:
        method, path = "DELETE", f"/api/v1/positions/{order.ticket}?broker_connection_id={account}"
    answer, tries = user.client.insist(method, path, body, {"Idempotency-Key": order.key})
    if "order_id" not in (answer.body or {}):
        raise commands.Refused(f"{order.words} was answered {answer.status}: {answer.body}")
    return answer, tries


def _end(user: User, answer: Answer) -> dict[str, Any]:
    """Return the order once it has ended, with the status that the service gives it."""
    order: dict[str, Any] = dict(answer.body)
    if answer.status == HTTPStatus.OK:
        return order
    if answer.status == HTTPStatus.ACCEPTED:
        path = f"/api/v1/orders/{order['order_id']}"

        def ended() -> bool:
            order.update(user.client.get(path))
            return order["status"] not in OPEN

        wait_for(ended, PATIENCE, f"order {order['order_id']} has ended")
        return order
    return {**order, "status": REFUSALS.get(order.get("detail", ""), str(answer.body))}
