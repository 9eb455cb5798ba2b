"""What an agent reports of its account: deals, also those that no order asked for, and balances."""

from __future__ import annotations

import base64
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from tests.api.desk import Desk, filled, new_desk, working
from tests.api.world import Service, problem

UNKNOWN = {"status": "failed", "output_data": {"outcome": "unknown"}}


@pytest.fixture
def desk(service: Service) -> Desk:
    return new_desk(service)


def deal(**more: Any) -> dict[str, Any]:
    return {
        "deal_id": str(uuid4().int >> 70),
        "broker_order_id": "501",
        "position_id": "501",
        "symbol": "EURUSD",
        "side": "buy",
        "entry": "in",
        "volume": 0.1,
        "price": 1.08415,
        "profit": 0,
        "commission": -0.7,
        "swap": 0,
        "magic": 0,
        "comment": "",
        "reason": "client",
        "time": "2026-11-21T10:00:00Z",
        **more,
    }


def comment_of(order_id: str) -> str:
    """The comment by which an order is found at the broker."""
    return base64.b32encode(UUID(order_id).bytes).decode().rstrip("=")


def report(desk: Desk, *deals: Any, **more: Any) -> httpx.Response:
    return desk.agent.post(f"{desk.agent.path}/deals", {"deals": list(deals), **more})


def taken(answer: httpx.Response) -> tuple[int, int, int]:
    assert answer.status_code == 200, answer.text
    found = answer.json()
    return found["received"], found["new"], found["resolved"]


def test_a_deal_is_new_once_however_often_it_is_reported(desk: Desk) -> None:
    first, second = deal(), deal()
    assert taken(report(desk, first)) == (1, 1, 0)
    assert taken(report(desk, first, second)) == (2, 1, 0)
    assert taken(report(desk, first, second)) == (2, 0, 0)
    assert taken(report(desk)) == (0, 0, 0)


def test_a_stop_loss_at_the_broker_is_seen(desk: Desk) -> None:
    """A deal that no order of ours asked for is among the account's events."""
    hit = deal(entry="out", side="sell", reason="sl", comment="[sl 1.07]", profit=-100.5)
    assert taken(report(desk, hit)) == (1, 1, 0)
    (event,) = desk.user.service.rows(
        "select event, realized_pnl, job_id from trade_events where deal_id = %s", hit["deal_id"]
    )
    assert (event["event"], float(event["realized_pnl"]), event["job_id"]) == (
        "closed",
        -100.5,
        None,
    )


def test_c33_a_deal_with_an_unknown_orders_comment_resolves_it(desk: Desk) -> None:
    with working(desk, trade=UNKNOWN):
        order_id = desk.order().json()["order_id"]
    found = deal(comment=comment_of(order_id), price=1.08421, position_id="777")
    assert taken(report(desk, found)) == (1, 1, 1)
    order = desk.user.get(f"/api/v1/orders/{order_id}").json()
    assert (order["status"], order["fill_price"], order["position_id"]) == (
        "filled",
        1.08421,
        "777",
    )
    assert taken(report(desk, found)) == (1, 0, 0)


def test_a_deal_of_an_order_that_is_filled_changes_nothing_of_it(desk: Desk) -> None:
    with working(desk, trade=filled):
        order = desk.order().json()
    known = deal(comment=comment_of(order["order_id"]), deal_id=order["deal_id"], price=1.5)
    assert report(desk, known).status_code == 200
    assert desk.user.get(f"/api/v1/orders/{order['order_id']}").json()["fill_price"] == 1.08415


def test_an_order_of_another_user_is_not_resolved(service: Service, desk: Desk) -> None:
    other = new_desk(service)
    with working(desk, trade=UNKNOWN):
        order_id = desk.order().json()["order_id"]
    assert taken(report(other, deal(comment=comment_of(order_id)))) == (1, 1, 0)
    assert desk.user.get(f"/api/v1/orders/{order_id}").json()["status"] == "unknown"


def test_the_same_deal_number_at_two_brokers_are_two_deals(service: Service, desk: Desk) -> None:
    same = deal()
    assert taken(report(desk, same)) == (1, 1, 0)
    assert taken(report(new_desk(service), same)) == (1, 1, 0)


def test_the_account_is_what_it_was_reported_last(desk: Desk) -> None:
    account = {"balance": 10000, "equity": 10009.5, "margin_used": 1, "currency": "USD"}
    assert report(desk, account=account, open_positions=2).status_code == 200
    assert report(desk, account={**account, "equity": "9990.25"}).status_code == 200
    (connection,) = desk.user.get("/api/v1/broker-connections").json()
    assert (connection["last_balance"], connection["last_equity"]) == (10000, 9990.25)
    assert connection["snapshot_at"]


def test_a_loss_of_the_day_stops_orders(desk: Desk) -> None:
    """The limit is in per cent of what the day began with; the deals of today count."""
    desk.user.patch("/api/v1/settings", {"daily_loss_limit_pct": 1})
    assert report(desk, account={"balance": 10000, "equity": 10000}).status_code == 200
    (row,) = desk.user.service.rows("select to_json(now()) #>> '{}' as now")
    lost = deal(entry="out", side="sell", profit=-100, commission=0, time=row["now"])
    with working(desk, trade=filled):
        assert desk.order().status_code == 200
        assert taken(report(desk, lost)) == (1, 1, 0)
        assert problem(desk.order()) == (422, "daily_loss_limit_reached")


def test_tickets_may_be_numbers_and_numbers_quoted(desk: Desk) -> None:
    odd = deal(deal_id=9007199254740993, volume="0.10", price="1.08", profit=0.1 + 0.2)
    assert taken(report(desk, odd)) == (1, 1, 0)
    assert desk.user.service.rows(
        "select from trade_events where broker_connection_id = %s and deal_id = %s",
        *(desk.account, "9007199254740993"),
    )


def test_no_deal_is_lost_to_its_symbols_name_or_to_the_noise_of_a_float(desk: Desk) -> None:
    names = ("#US30", "[DJI30]", "_BTC", "US Tech 100")
    noisy = {"volume": 0.1 + 0.2, "price": 1.1 + 2.2, "profit": -0.1 - 0.2}
    deals = [deal(symbol=name, **noisy) for name in names]
    assert taken(report(desk, *deals)) == (4, 4, 0)
    (noted, *_) = desk.user.service.rows(
        "select volume, price, realized_pnl from trade_events where deal_id = %s",
        deals[0]["deal_id"],
    )
    assert [float(value) for value in noted.values()] == [0.3, 3.3, -0.3]


def test_a_deal_at_a_price_below_zero_counts(desk: Desk) -> None:
    """An agent leaves out what is refused, and its loss with it."""
    assert taken(report(desk, deal(symbol="USOIL", price=-37.63, profit=-500))) == (1, 1, 0)


@pytest.mark.parametrize(
    "body,field",
    [
        ({}, "deals"),
        ({"deals": 7}, "deals"),
        ({"deals": [deal()] * 501}, "deals"),
        ({"deals": [deal(), deal(entry="sideways")]}, "deals.1.entry"),
        ({"deals": [deal(volume=0)]}, "deals.0.volume"),
        ({"deals": [deal(price="NaN")]}, "deals.0.price"),
        ({"deals": [deal(profit=1e300)]}, "deals.0.profit"),
        ({"deals": [deal(deal_id="")]}, "deals.0.deal_id"),
        ({"deals": [deal(time="2026-11-21T10:00:00")]}, "deals.0.time"),
        ({"deals": [deal(magic=2**63)]}, "deals.0.magic"),
        ({"deals": [], "open_positions": -1}, "open_positions"),
        ({"deals": [], "account": {"balance": 1}}, "account.equity"),
    ],
)
def test_a_report_that_breaks_a_rule_is_refused_whole(desk: Desk, body: Any, field: str) -> None:
    answer = desk.agent.post(f"{desk.agent.path}/deals", body)
    assert problem(answer) == (422, "invalid")
    assert answer.json()["errors"][0]["field"] == field
    assert not desk.user.service.rows(
        "select from trade_events where broker_connection_id = %s", desk.account
    )


def test_five_hundred_deals_go_in_one_report(desk: Desk) -> None:
    deals = [deal(deal_id=str(number)) for number in range(500)]
    assert taken(report(desk, *deals)) == (500, 500, 0)


def test_an_agent_without_an_account_has_no_deals(service: Service) -> None:
    agent = service.user().pair()
    answer = agent.post(f"{agent.path}/deals", {"deals": [deal()]})
    assert problem(answer) == (409, "agent_without_account")


def test_only_the_agent_itself_reports(service: Service, desk: Desk) -> None:
    stranger = new_desk(service).agent
    path = f"{desk.agent.path}/deals"
    assert problem(stranger.post(path, {"deals": []})) == (403, "agent_mismatch")
    assert problem(desk.user.post(path, {"deals": []})) == (401, "agent_key_invalid")
