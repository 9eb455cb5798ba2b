"""What the demo does follows from its seed, however its threads take turns."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

from api.demo.orders import Order
from api.demo.plan import BURST, Plan
from api.demo.world import Agent


def agent(name: str) -> Agent:
    return Agent(
        name=name,
        agent_id=uuid4(),
        user_id=UUID(int=1),
        broker_connection_id=uuid4(),
        symbols=("EURUSD",),
        state=Path("nowhere"),
    )


AGENTS = [agent("anna-1"), agent("bert-1")]


def plan(seed: int) -> Plan:
    return Plan(AGENTS, cast("Any", None), seed)


def drawn(orders: list[Order]) -> list[tuple[str, dict[str, Any] | None]]:
    return [(order.key, order.body) for order in orders]


def test_the_same_seed_makes_the_same_orders() -> None:
    first, second = plan(1), plan(1)
    assert first.victim == second.victim
    second.orders(AGENTS[1])  # another account draws in between
    assert drawn(first.orders(AGENTS[0])) == drawn(second.orders(AGENTS[0]))
    assert drawn(first.burst(AGENTS[0])) != drawn(plan(2).burst(AGENTS[0]))


def test_the_same_seed_makes_the_same_alerts() -> None:
    assert plan(1).alerts(AGENTS[0]) == plan(1).alerts(AGENTS[0]) != plan(2).alerts(AGENTS[0])


def test_of_every_alert_it_is_known_what_it_must_become() -> None:
    """One is a repeat of another; of the rest each says something else."""
    drawn = plan(1).alerts(AGENTS[0])
    assert {alert.expected for alert in drawn} == {
        *("executed", "failed", "duplicate", "pair_not_allowed", "invalid_payload"),
        *("strategy_disabled", None),
    }
    assert len({alert.body for alert in drawn}) == len(drawn) - 1
    assert [alert.payload for alert in drawn if "_raw" in alert.payload] == [
        {"_raw": alert.body} for alert in drawn if alert.expected == "invalid_payload"
    ]


def test_no_two_orders_have_one_key() -> None:
    made = plan(1)
    orders = [order for one in AGENTS for order in (*made.orders(one), *made.burst(one))]
    orders += [made.close(one, "1") for one in AGENTS]
    assert len({order.key for order in orders}) == len(orders) > 2 * BURST


def test_some_orders_are_asked_for_twice_and_one_must_be_refused() -> None:
    orders = plan(1).orders(AGENTS[0])
    assert {order.requests for order in orders} == {1, 2}
    assert [order.expected for order in orders].count(("rejected",)) == 1
