"""Orders over HTTP: R36 to R43, G7, C6, C27, C28, C33 to C35, and the keys of section 5.4."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from api.embedded import EmbeddedValkey
from api.orders import WAIT_SECONDS
from jobengine.testing import Clock
from tests.api.desk import (
    ORDER,
    Desk,
    at_once,
    beat,
    closed,
    filled,
    new_desk,
    refused,
    take_one,
    working,
)
from tests.api.world import Service, problem, serving, until

TEN_MINUTES = 600


@pytest.fixture
def desk(service: Service) -> Desk:
    return new_desk(service)


def waiting_order(desk: Desk) -> Any:
    """Return the one order of the user, once it is there."""
    found: list[Any] = []

    def there() -> bool:
        found[:] = desk.user.get("/api/v1/orders").json()
        return bool(found)

    until(there)
    return found[0]


def requests_of(desk: Desk) -> int:
    """Count the user's orders, as the database knows them."""
    (row,) = desk.user.service.rows(
        "select count(*) as n from jobengine.job where tenant_id = %s and job_type = 'trade'",
        desk.user.user_id,
    )
    return int(row["n"])


def test_post_orders_waits_for_the_agent_and_returns_the_fill_price(desk: Desk) -> None:
    with working(desk, trade=filled):
        answer = desk.order(volume=0.1, sl=1.07, tp=1.1)
    assert answer.status_code == 200
    order = answer.json()
    assert (order["status"], order["fill_price"]) == ("filled", 1.08415)
    assert (order["kind"], order["source"]) == ("open", "manual")
    (job,) = desk.taken
    assert (order["order_id"], job["job_type"]) == (job["job_id"], "trade")
    assert job["input_data"].items() >= {**ORDER, "sl": 1.07, "tp": 1.1}.items()
    assert job["expires_at"]


def test_post_orders_answers_202_pending_when_the_agent_takes_longer(desk: Desk) -> None:
    began = time.monotonic()
    answer = desk.order()
    assert time.monotonic() - began >= WAIT_SECONDS
    assert answer.status_code == 202
    order = answer.json()
    assert (order["status"], order["fill_price"]) == ("pending", None)
    take_one(desk, {"trade": filled}, wait=5)
    followed = desk.user.get(answer.headers["location"]).json()
    assert (followed["order_id"], followed["status"]) == (order["order_id"], "filled")
    steps = [event["event"] for event in followed["events"]]
    assert steps == ["requested", "claimed", "sent", "filled"]


def test_orders_that_wait_are_answered_when_the_service_ends(
    platform_url: str, valkey: EmbeddedValkey
) -> None:
    """Before it expires, which it would while it is waited for."""
    with serving(platform_url, valkey.url) as service, ThreadPoolExecutor(1) as threads:
        desk = new_desk(service)
        answer = threads.submit(desk.order, expires_in=9)
        order_id = waiting_order(desk)["order_id"]
        assert "Traceback" not in service.stop()
    assert (answer.result().status_code, answer.result().json()["order_id"]) == (202, order_id)


def test_an_order_that_was_begun_and_not_ended_is_pending_to_its_maker(desk: Desk) -> None:
    released = threading.Event()

    def slow(job: Any) -> Any:
        released.wait(60)
        return filled(job)

    with working(desk, trade=slow):
        answer = desk.order()
        assert (answer.status_code, answer.json()["status"]) == (202, "pending")
        assert answer.json()["sent_at"]
        seen = desk.user.get(answer.headers["location"]).json()
        assert seen["status"] == "sent"
        released.set()


def test_post_orders_returns_503_when_no_heartbeat_in_10_minutes(service: Service) -> None:
    """Offline at ten minutes sharp, there until then. The clock of the database stands still."""
    desk = new_desk(service, alive=False)
    with psycopg.connect(service.database_url, autocommit=True) as conn, Clock(conn):
        silent_for(desk, TEN_MINUTES)
        offline = desk.order()
        assert problem(offline) == (503, "agent_offline")
        assert int(offline.headers["retry-after"]) > 0
        assert requests_of(desk) == 0
        silent_for(desk, TEN_MINUTES - 0.000001)
        with working(desk, trade=filled):
            assert desk.order().status_code == 200


def silent_for(desk: Desk, seconds: float) -> None:
    desk.user.service.rows(
        "update mt5_agents set last_heartbeat = jobengine._now() - make_interval(secs => %s)"
        " where id = %s returning id",
        *(seconds, desk.agent.agent_id),
    )


def test_an_agent_that_never_called_is_offline(service: Service) -> None:
    assert problem(new_desk(service, alive=False).order()) == (503, "agent_offline")


def test_a_refusal_of_the_broker_is_422_with_its_code(desk: Desk) -> None:
    said = refused("no_money", "not enough money", retcode=10019, retcode_name="NO_MONEY")
    with working(desk, trade=said):
        answer = desk.order()
    assert problem(answer) == (422, "order_rejected")
    body = answer.json()
    assert (body["error_code"], body["retcode"]) == ("no_money", 10019)
    assert (body["retcode_name"], body["message"]) == ("NO_MONEY", "not enough money")
    order = desk.user.get(f"/api/v1/orders/{body['order_id']}").json()
    assert order["status"] == "rejected"


def test_two_hard_refusals_of_the_broker_are_a_pause(service: Service) -> None:
    """Then 503 for thirty seconds, closes excepted. The clock of the database stands still."""
    desk = new_desk(service)
    no_money = refused("no_money", "not enough money", retcode=10019, retcode_name="NO_MONEY")
    with psycopg.connect(service.database_url, autocommit=True) as conn, Clock(conn) as clock:
        silent_for(desk, 0)
        with working(desk, trade=no_money):
            assert [problem(desk.order()) for _ in range(2)] == [(422, "order_rejected")] * 2
        paused = desk.order()
        assert problem(paused) == (503, "broker_errors")
        assert paused.headers["retry-after"] == "30"
        with working(desk, trade=filled, close_position=closed):
            assert desk.close("1").status_code == 200
            clock.advance(30)
            assert desk.order().status_code == 200


def test_c33_an_order_of_which_nobody_knows_is_202_unknown(desk: Desk) -> None:
    unknown = {"status": "failed", "output_data": {"outcome": "unknown"}}
    with working(desk, trade=unknown):
        answer = desk.order()
    assert answer.status_code == 202
    assert answer.json()["status"] == "unknown"
    assert answer.headers["location"].endswith(answer.json()["order_id"])


def test_a_partial_fill_names_the_volume_that_was_filled(desk: Desk) -> None:
    with working(desk, trade=lambda job: filled(job, volume=0.04, retcode=10010)):
        answer = desk.order(volume=0.1)
    assert answer.status_code == 200
    order = answer.json()
    assert (order["status"], order["volume"], order["filled_volume"]) == (
        "partially_filled",
        0.1,
        0.04,
    )


@pytest.mark.parametrize("status", ["completed", "failed"])
@pytest.mark.parametrize(
    "output",
    [
        {},
        {"fill_price": "x", "volume": [], "retcode": "10009", "symbol": {"a": 1}, "side": None},
        {"fill_price": 1e300, "volume": 1e300, "retcode": 10**18, "commission": "Infinity"},
        {"fill_price": -1, "volume": 0, "retcode": -(2**40), "deal_id": [], "error_code": {}},
        {"retcode": 1.5, "position_id": {"x": []}, "deal_id": 7, "ticket": True, "pnl": "NaN"},
    ],
)
def test_nonsense_of_an_agent_is_an_answer_and_never_a_failure(
    desk: Desk, status: str, output: Any
) -> None:
    """What it says of an order stands; what cannot be read of it is missing."""
    with working(desk, trade={"status": status, "output_data": output}):
        answer = desk.order()
    if status == "completed":
        assert (answer.status_code, answer.json()["status"]) == (200, "filled")
    else:
        assert problem(answer) == (422, "order_rejected")
    order = desk.user.get(f"/api/v1/orders/{answer.json()['order_id']}")
    assert order.status_code == 200


def test_c6_an_order_that_waited_too_long_is_422_and_never_sent(desk: Desk) -> None:
    answer = desk.order(expires_in=0.5)
    assert problem(answer) == (422, "order_expired")
    take_one(desk, {}, wait=0)
    assert desk.taken == []


def test_an_order_that_its_user_cancels_is_422(desk: Desk) -> None:
    answers: list[httpx.Response] = []
    maker = threading.Thread(target=lambda: answers.append(desk.order()))
    maker.start()
    cancelled = desk.user.post(f"/api/v1/jobs/{waiting_order(desk)['order_id']}/cancel")
    assert cancelled.status_code == 200
    maker.join()
    assert problem(answers[0]) == (422, "order_cancelled")


@pytest.mark.parametrize(
    "field,value",
    [
        ("symbol", ""),
        ("symbol", "EUR USD"),
        ("symbol", None),
        ("side", "long"),
        ("side", "BUY "),
        ("volume", 0),
        ("volume", -0.1),
        ("volume", "NaN"),
        ("volume", "Infinity"),
        ("volume", "1e999999999"),
        ("volume", "1e-9"),
        ("volume", True),
        ("volume", "a lot"),
        ("volume", None),
        ("sl", 0),
        ("sl", -1),
        ("sl", "Infinity"),
        ("tp", 0),
        ("tp", "NaN"),
        ("deviation", -1),
        ("deviation", 1.5),
        ("expires_in", -1),
        ("broker_connection_id", "mine"),
        ("client_order_id", ""),
        ("client_order_id", "x" * 49),
        ("stop_loss", 1.07),
    ],
)
def test_a_value_out_of_bounds_is_422_and_named(desk: Desk, field: str, value: Any) -> None:
    answer = desk.order(**{field: value})
    assert problem(answer) == (422, "invalid")
    (error,) = answer.json()["errors"]
    assert error["field"] == field
    assert error["rule"]


def test_a_number_may_be_quoted_and_keeps_every_digit(desk: Desk) -> None:
    with working(desk, trade=lambda job: filled(job, price="1.08415678")):
        answer = desk.order(volume="0.12345678", sl="1.00000001")
    assert b'"volume":0.12345678,' in answer.content
    assert b'"sl":1.00000001,' in answer.content
    assert b'"fill_price":1.08415678,' in answer.content
    assert desk.taken[0]["input_data"]["volume"] == 0.12345678


# Which account, and who may


def test_a_user_without_a_default_account_has_to_name_one(service: Service) -> None:
    user = service.user()
    assert problem(Desk(user, user.pair(), "").order()) == (422, "broker_connection_required")


def test_an_order_goes_to_the_agent_of_the_account_that_is_named(desk: Desk) -> None:
    second = desk.user.post("/api/v1/broker-connections", {"name": "second"}).json()["id"]
    other = Desk(desk.user, desk.user.pair(broker_connection_id=second), second)
    beat(other.agent)
    with working(other, trade=filled):
        answer = other.order(broker_connection_id=second)
    assert answer.status_code == 200
    assert answer.json()["broker_connection_id"] == second
    assert answer.json()["agent_id"] == str(other.agent.agent_id)


def test_the_account_of_another_is_not_found(service: Service, desk: Desk) -> None:
    strangers = new_desk(service).account
    for account in (strangers, str(uuid4())):
        assert problem(desk.order(broker_connection_id=account)) == (404, "not_found")


def test_r37_an_order_needs_the_onboarding(service: Service) -> None:
    user = service.user(onboarded=False)
    refusal = user.post("/api/v1/orders", ORDER)
    assert problem(refusal) == (403, "onboarding_required")


def test_an_order_needs_a_token(service: Service) -> None:
    assert problem(service.http.post("/api/v1/orders", json=ORDER)) == (401, "token_invalid")


@pytest.mark.parametrize(
    "settings,code",
    [
        ({"trading_state": "halted"}, "trading_halted"),
        ({"trading_state": "reducing"}, "trading_reducing"),
        ({"max_volume": 0.05}, "volume_out_of_range"),
        ({"max_open_positions": 1}, "risk_data_unavailable"),
    ],
)
def test_the_users_own_limits_refuse_an_order(
    desk: Desk, settings: dict[str, Any], code: str
) -> None:
    assert desk.user.patch("/api/v1/settings", settings).status_code == 200
    assert problem(desk.order(volume=0.1)) == (422, code)
    assert requests_of(desk) == 0


def waits(desk: Desk) -> str:
    """Put a trade in without waiting for its end; return its path."""
    job_id = desk.user.enqueue("trade", agent_id=str(desk.agent.agent_id), input_data=ORDER)
    return f"/api/v1/orders/{job_id}"


@pytest.mark.parametrize("state", ["halted", "reducing"])
def test_a_trade_that_an_agent_has_is_not_begun_after_the_kill_switch(
    desk: Desk, state: str
) -> None:
    """Though nobody has cancelled it, and the agent has heard of nothing."""
    order = waits(desk)
    job = desk.agent.next(wait=20, ack=1)
    switch = {"state": state, "cancel_pending": False}
    assert desk.user.post("/api/v1/kill-switch", switch).json()["cancelled"] == 0
    start = desk.agent.post(
        f"{desk.agent.path}/jobs/{job['job_id']}/start", {"lease_epoch": job["lease_epoch"]}
    )
    assert problem(start) == (409, "lease_lost")
    found = desk.user.get(order).json()
    assert (found["status"], found["message"]) == ("cancelled", f"trading_{state}")


def test_a_trade_that_waits_is_not_handed_out_begun_after_the_kill_switch(desk: Desk) -> None:
    order = waits(desk)
    assert desk.user.patch("/api/v1/settings", {"trading_state": "halted"}).status_code == 200
    assert desk.agent.next(wait=0.5, ack=0) == {"no_jobs": True}
    assert desk.user.get(order).json()["status"] == "cancelled"


def test_orders_above_the_users_rate_are_refused(desk: Desk) -> None:
    desk.user.patch("/api/v1/settings", {"max_orders_per_minute": 2})
    with working(desk, trade=filled):
        answers = [desk.order() for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 422]
    assert problem(answers[2]) == (422, "rate_limited")


def test_positions_above_the_users_limit_are_refused(desk: Desk) -> None:
    desk.user.patch("/api/v1/settings", {"max_open_positions": 3})
    report = {"deals": [], "open_positions": 3, "account": {"balance": 100, "equity": 100}}
    assert desk.agent.post(f"{desk.agent.path}/deals", report).status_code == 200
    assert problem(desk.order()) == (422, "max_positions")


def test_two_users_never_see_each_others_orders(service: Service, desk: Desk) -> None:
    other = new_desk(service)
    with working(desk, trade=filled):
        order_id = desk.order(client_order_id="mine").json()["order_id"]
    assert problem(other.user.get(f"/api/v1/orders/{order_id}")) == (404, "not_found")
    assert other.user.get("/api/v1/orders").json() == []
    assert other.user.get("/api/v1/orders", client_order_id="mine").json() == []
    assert problem(other.user.post(f"/api/v1/jobs/{order_id}/cancel")) == (404, "not_found")


# Keys


def test_a_repeat_with_the_key_returns_the_same_order(desk: Desk) -> None:
    with working(desk, trade=filled):
        first, again = desk.order(key="k1"), desk.order(key="k1")
    assert first.json() == again.json()
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert len(desk.taken) == 1


def test_a_client_order_id_is_a_key_and_finds_the_order(desk: Desk) -> None:
    with working(desk, trade=filled):
        first = desk.order(client_order_id="o-1").json()
        again = desk.order(client_order_id="o-1", key="o-1")
    assert again.json()["order_id"] == first["order_id"]
    assert again.headers["idempotent-replayed"] == "true"
    (found,) = desk.user.get("/api/v1/orders", client_order_id="o-1").json()
    assert (found["order_id"], found["client_order_id"]) == (first["order_id"], "o-1")


def test_the_same_number_in_other_words_is_the_same_order(desk: Desk) -> None:
    with working(desk, trade=filled):
        first = desk.order(key="k", volume=0.1).json()
        again = desk.order(key="k", volume="0.10").json()
    assert first["order_id"] == again["order_id"]


@pytest.mark.parametrize(
    "change", [{"volume": 0.2}, {"side": "sell"}, {"symbol": "GBPUSD"}, {"sl": 1.05}]
)
def test_a_key_of_another_order_is_refused(desk: Desk, change: Any) -> None:
    with working(desk, trade=filled):
        desk.order(key="k")
        answer = desk.order(key="k", **change)
    assert problem(answer) == (422, "idempotency_key_reused")
    assert len(desk.taken) == 1


def test_a_key_and_another_client_order_id_contradict_each_other(desk: Desk) -> None:
    answer = desk.order(key="a", client_order_id="b")
    assert problem(answer) == (422, "invalid")
    assert answer.json()["errors"][0]["field"] == "client_order_id"


def test_a_key_has_255_characters_at_most(desk: Desk) -> None:
    answer = desk.order(key="k" * 256)
    assert problem(answer) == (422, "invalid")
    assert answer.json()["errors"][0]["field"] == "Idempotency-Key"
    with working(desk, trade=filled):
        assert desk.order(key="k" * 255).status_code == 200


def test_a_repeat_joins_the_order_that_is_in_flight(desk: Desk) -> None:
    """Twenty at once with the same key: one job, one fill, twenty times the same answer."""
    with working(desk, trade=filled):
        answers = at_once(20, lambda: desk.order(key="same"))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["order_id"] for answer in answers}) == 1
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == 19
    assert (requests_of(desk), len(desk.taken)) == (1, 1)


def test_without_a_key_every_request_is_an_order(desk: Desk) -> None:
    with working(desk, trade=filled):
        answers = at_once(5, desk.order)
    assert len({answer.json()["order_id"] for answer in answers}) == 5


def test_a_key_belongs_to_its_user(service: Service, desk: Desk) -> None:
    other = new_desk(service)
    with working(desk, trade=filled), working(other, trade=filled):
        mine, theirs = desk.order(key="k"), other.order(key="k", volume=0.5)
    assert (mine.status_code, theirs.status_code) == (200, 200)
    assert mine.json()["order_id"] != theirs.json()["order_id"]


def test_a_refusal_leaves_the_key_free(desk: Desk) -> None:
    desk.user.patch("/api/v1/settings", {"trading_state": "halted"})
    assert problem(desk.order(key="k")) == (422, "trading_halted")
    desk.user.patch("/api/v1/settings", {"trading_state": "active"})
    with working(desk, trade=filled):
        answer = desk.order(key="k")
    assert answer.status_code == 200
    assert "idempotent-replayed" not in answer.headers


def test_a_rejected_order_is_rejected_again_by_its_key(desk: Desk) -> None:
    with working(desk, trade=refused("no_money", "not enough money")):
        first, again = desk.order(key="k"), desk.order(key="k")
    assert problem(again) == problem(first) == (422, "order_rejected")
    assert again.json()["order_id"] == first.json()["order_id"]
    assert again.headers["idempotent-replayed"] == "true"


def test_an_order_put_in_before_a_crash_of_the_service_is_found_by_its_key(desk: Desk) -> None:
    """The client whose connection broke asks again, while the order waits for its agent."""
    with pytest.raises(httpx.ReadTimeout):
        desk.user.service.http.post(
            "/api/v1/orders",
            headers={**desk.user.headers, "Idempotency-Key": "k"},
            json=ORDER,
            timeout=httpx.Timeout(60, read=0.5),
        )
    order_id = waiting_order(desk)["order_id"]
    with working(desk, trade=filled):
        again = desk.order(key="k")
    assert (again.status_code, again.json()["order_id"]) == (200, order_id)


# Lists


def test_g7_orders_are_listed_in_pages_newest_first(desk: Desk) -> None:
    with working(desk, trade=filled):
        made = [desk.order().json()["order_id"] for _ in range(3)]
    first = desk.user.get("/api/v1/orders", limit=2, status="filled")
    rest = desk.user.get(first.headers["link"].split(">")[0].strip("<"))
    assert [order["order_id"] for order in first.json() + rest.json()] == made[::-1]
    assert "link" not in rest.headers
    assert desk.user.get("/api/v1/orders", status="rejected").json() == []


def test_the_closing_of_a_position_is_an_order_of_its_own(desk: Desk) -> None:
    with working(desk, trade=filled, close_position=closed):
        opened = desk.order().json()
        ended = desk.close(opened["position_id"]).json()
    kinds = [(order["order_id"], order["kind"]) for order in desk.user.get("/api/v1/orders").json()]
    assert kinds == [(ended["order_id"], "close"), (opened["order_id"], "open")]


def test_an_order_that_does_not_exist_is_not_found(desk: Desk) -> None:
    assert problem(desk.user.get(f"/api/v1/orders/{uuid4()}")) == (404, "not_found")
    assert problem(desk.user.get("/api/v1/orders/7")) == (404, "not_found")
    job_id = desk.user.enqueue(agent_id=str(desk.agent.agent_id))
    assert problem(desk.user.get(f"/api/v1/orders/{job_id}")) == (404, "not_found")
