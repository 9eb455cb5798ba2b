"""The judge of orders sees what it is there for: one wrong fact at a time, in made-up evidence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from forex_agent.simulated import BookState
from forex_agent.terminal import Deal

from tests.faults.trades.judge import Evidence, comment, unsafe, unsettled
from tests.faults.trades.traders import Placed

JOB = uuid4()


def deal(deal_id: str, text: str) -> Deal:
    return Deal(
        deal_id=deal_id,
        order_id="1",
        position_id="1",
        symbol="EURUSD",
        side="buy",
        entry="in",
        volume=Decimal("0.02"),
        price=Decimal("1.1"),
        profit=Decimal(0),
        commission=Decimal("-0.07"),
        swap=Decimal(0),
        magic=0,
        comment=text,
        reason="expert",
        time=datetime(2026, 1, 1, tzinfo=UTC),
    )


def order(**changes: Any) -> dict[str, Any]:
    events = ["requested", "claimed", "sent", "filled"]
    whole = {"status": "completed", "deal_id": "7", "events": events, "settle_error": None}
    return {**whole, **changes}


def evidence(*, deals: list[Deal], **changes: Any) -> Evidence:
    book = BookState(
        currency="USD",
        leverage=100,
        initial=Decimal(10_000),
        balance=Decimal(10_000),
        positions=[],
        deals=deals,
    )
    orders: dict[UUID, dict[str, Any]] = {JOB: order()}
    known = {"7": {"deal_id": "7", "times": 1, "job_id": str(JOB)}}
    placed = [Placed("key", {str(JOB)})]
    found = Evidence(
        orders=orders, deals=known, realized=Decimal("-0.07"), book=book, placed=placed
    )
    return replace(found, **changes)


RIGHT = evidence(deals=[deal("7", comment(JOB))])


def test_nothing_is_wrong_where_nothing_is() -> None:
    assert [*unsafe(RIGHT), *unsettled(RIGHT)] == []


@pytest.mark.parametrize(
    "found,words",
    [
        (evidence(deals=[deal("7", comment(JOB)), deal("8", comment(JOB))]), "filled 2 times"),
        (replace(RIGHT, placed=[Placed("key", {"a", "b"})]), "made 2 orders"),
        (replace(RIGHT, placed=[]), "0 requests made 1 orders"),
        (replace(RIGHT, deals={"7": {"deal_id": "7", "times": 2}}), "noted 2 times"),
    ],
)
def test_what_must_never_be_is_seen(found: Evidence, words: str) -> None:
    assert any(words in finding for finding in unsafe(found))


@pytest.mark.parametrize(
    "change,words",
    [
        (lambda e: replace(e, orders={JOB: order(status="running")}), "is running"),
        (lambda e: replace(e, orders={JOB: order(status="unknown")}), "was filled, and is unknown"),
        (lambda e: replace(e, orders={JOB: order(deal_id="9")}), "completed by deal 9"),
        (lambda e: replace(e, orders={JOB: order(events=["requested"])}), "has the events"),
        (lambda e: replace(e, orders={JOB: order(settle_error="no")}), ": no"),
        (lambda e: replace(e, deals={}), "nobody knows of deal 7"),
        (lambda e: replace(e, realized=Decimal(1)), "the service counts 1"),
        (lambda _: evidence(deals=[]), "the book has []"),
    ],
)
def test_what_must_be_over_is_seen(change: Callable[[Evidence], Evidence], words: str) -> None:
    assert any(words in finding for finding in unsettled(change(RIGHT)))
