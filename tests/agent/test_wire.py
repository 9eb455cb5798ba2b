"""What the agent reports of an order's money: every deal is counted, and once."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from forex_agent import wire
from forex_agent.job import Job
from forex_agent.terminal import Deal, Fill


def job(job_type: str) -> Job:
    return Job(
        job_id="01900000-0000-7000-8000-000000000000",
        job_type=job_type,
        input={"ticket": "7", "volume": Decimal("0.3")},
        lease_epoch=1,
        lease_seconds=30,
        expires_at=None,
        begun=True,
        raw="{}",
    )


def deal(deal_id: str, profit: int) -> Deal:
    return Deal(
        deal_id=deal_id,
        order_id="1",
        position_id="7",
        symbol="EURUSD",
        side="sell",
        entry="out",
        volume=Decimal("0.1"),
        price=Decimal("1.1"),
        profit=Decimal(profit),
        commission=Decimal("-0.7"),
        swap=Decimal(),
        magic=0,
        comment="",
        reason="expert",
        time=datetime(2026, 1, 1, tzinfo=UTC),
    )


def test_the_sum_of_several_deals_is_not_said_to_be_one_of_them() -> None:
    """The service counts what a named deal brought, and the others by the report of deals."""
    report = wire.found(job("close_position"), [deal("1", -5), deal("2", -7)])
    assert (report.output["pnl"], report.output["commission"]) == (-12, -1.4)
    assert report.output["deal_id"] is None
    assert wire.found(job("close_position"), [deal("1", -5)]).output["deal_id"] == "1"


def test_a_trade_that_closes_something_says_what_that_brought() -> None:
    """So it is on a netting account."""
    made = deal("1", -5)
    fill = Fill(
        order_id="1",
        deal_id="1",
        position_id="7",
        symbol="EURUSD",
        side="sell",
        volume=made.volume,
        price=made.price,
        pnl=made.profit,
        commission=made.commission,
        swap=made.swap,
        retcode=wire.DONE,
        retcode_name=wire.NAMES[wire.DONE],
    )
    assert wire.filled(job("trade"), fill, {}).output["pnl"] == -5
