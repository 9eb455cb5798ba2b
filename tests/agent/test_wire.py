"""What the deals of an order make together."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from forex_agent import wire
from forex_agent.job import Job, Malformed, read_job, split_jobs
from forex_agent.terminal import Deal, Fill

AT = datetime(2026, 5, 4, 12, tzinfo=UTC)


def test_a_list_of_jobs_is_cut_as_it_stands() -> None:
    jobs = ['{"input_data": {"volume": 0.10}, "job_type": "]"}', '{"job_id":[1,{}]}']
    for gap in ("", " ", "\n  "):
        listed = f'{{"jobs":{gap}[{gap}{jobs[0]}{gap},{gap}{jobs[1]}{gap}]{gap}}}'
        assert split_jobs(listed) == jobs
    assert split_jobs('{"jobs": []}') == []


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"jobs": 1}', '{"jobs": [', '{"jobs": [{}'])
def test_what_is_no_list_of_jobs_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        split_jobs(text)


def a_job(job_type: str = "trade", **given: Any) -> Job:
    body = {
        "job_id": str(UUID(int=7)),
        "job_type": job_type,
        "input_data": given,
        "lease_epoch": 1,
        "lease_seconds": 30,
        "expires_at": None,
        "status": "claimed",
    }
    return read_job(json.dumps(body))


def a_deal(  # noqa: PLR0917 - as a line of a statement
    number: int, side: Any, entry: Any, volume: str, price: str, profit: str = "0"
) -> Deal:
    return Deal(
        deal_id=str(number),
        order_id=str(number),
        position_id="1",
        symbol="EURUSD",
        side=side,
        entry=entry,
        volume=Decimal(volume),
        price=Decimal(price),
        profit=Decimal(profit),
        commission=Decimal("-0.5"),
        swap=Decimal(),
        magic=0,
        comment="",
        reason="expert",
        time=AT,
    )


BOUGHT = a_deal(1, "buy", "in", "0.1", "1.1")
MORE = a_deal(2, "buy", "in", "0.3", "1.2")
SOLD = a_deal(3, "sell", "out", "0.2", "1.3", "10")
REST = a_deal(4, "sell", "out", "0.2", "1.5", "30")


def test_a_trade_is_what_opened_and_not_what_closed_under_its_comment() -> None:
    """Some brokers hand a position's comment on to the deal that closes it."""
    report = wire.found(a_job(side="buy", volume=0.1), [BOUGHT, SOLD])
    assert report is not None
    assert (report.output["deal_id"], report.output["volume"]) == ("1", 0.1)
    assert report.output["fill_price"] == 1.1


def test_what_only_closed_is_no_fill_of_the_trade() -> None:
    assert wire.found(a_job(side="buy", volume=0.1), [SOLD]) is None


def test_a_close_is_what_closed() -> None:
    report = wire.found(a_job("close_position", ticket="1"), [BOUGHT, SOLD])
    assert report is not None
    assert (report.output["closed_price"], report.output["pnl"]) == (1.3, 10)


@pytest.mark.parametrize("wanted,retcode", [(0.4, 10009), (0.5, 10010)])
def test_deals_in_parts_are_one_fill(wanted: float, retcode: int) -> None:
    report = wire.found(a_job(side="buy", volume=wanted), [BOUGHT, MORE])
    assert report is not None
    assert (report.output["volume"], report.output["fill_price"]) == (0.4, 1.175)
    assert report.output["retcode"] == retcode


def test_the_sum_of_several_deals_is_not_said_to_be_one_of_them() -> None:
    """The service counts what a named deal brought, and the others by the report of deals."""
    report = wire.found(a_job("close_position", ticket="1"), [SOLD, REST])
    assert report is not None
    assert (report.output["pnl"], report.output["commission"]) == (40, -1)
    assert report.output["closed_price"] == 1.4
    assert report.output["deal_id"] is None


def test_a_trade_that_closes_something_says_what_that_brought() -> None:
    """So it is on a netting account."""
    fill = Fill(
        order_id="1",
        deal_id="1",
        position_id="7",
        symbol="EURUSD",
        side="sell",
        volume=Decimal("0.1"),
        price=Decimal("1.1"),
        pnl=Decimal(-5),
        commission=Decimal(0),
        swap=Decimal(0),
        retcode=wire.DONE,
        retcode_name=wire.NAMES[wire.DONE],
    )
    assert wire.filled(a_job(side="sell"), fill, {}).output["pnl"] == -5
