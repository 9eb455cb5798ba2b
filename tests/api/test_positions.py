"""Positions over HTTP: R44, R45, C5, C27, C28."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from api.embedded import EmbeddedValkey
from tests.api.desk import (
    Desk,
    at_once,
    closed,
    completed,
    filled,
    new_desk,
    refused,
    take_one,
    until_awaited,
    working,
)
from tests.api.world import Service, problem, serving, until

PATH = "/api/v1/positions"
POSITION = {
    "ticket": "7001",
    "symbol": "EURUSD",
    "side": "buy",
    "volume": 0.1,
    "open_price": 1.08415,
    "current_price": 1.0842,
    "sl": None,
    "tp": 1.1,
    "profit": 0.5,
    "swap": -0.02,
    "open_time": "2026-11-20T10:00:00Z",
    "magic": 0,
    "comment": "",
}


@pytest.fixture
def desk(service: Service) -> Desk:
    return new_desk(service)


def has(*positions: Any) -> Any:
    return completed({"positions": list(positions)})


def test_r44_positions_are_an_array_as_the_terminal_has_them(desk: Desk) -> None:
    with working(desk, get_positions=has(POSITION)):
        answer = desk.user.get(PATH)
    assert (answer.status_code, answer.json()) == (200, [POSITION])


def test_no_positions_are_an_empty_array(desk: Desk) -> None:
    with working(desk, get_positions=has()):
        assert desk.user.get(PATH).json() == []


def test_a_terminal_may_say_less_and_in_other_words(desk: Desk) -> None:
    """Tickets as numbers, quoted prices, the noise of floats, and only what there has to be."""
    position = {
        "ticket": 9007199254740993,
        "symbol": "EURUSD",
        "side": "sell",
        "volume": "0.10",
        "open_price": "1.08",
        "profit": 0.30000000000000004,
        "open_time": "2026-11-20T10:00:00",
        "unknown": [1],
    }
    with working(desk, get_positions=has(position)):
        answer = desk.user.get(PATH)
    (found,) = answer.json()
    assert (found["ticket"], found["volume"], found["profit"]) == ("9007199254740993", 0.1, 0.3)
    assert (found["open_time"], found["sl"]) == ("2026-11-20T10:00:00Z", None)
    assert found.keys() == POSITION.keys()


@pytest.mark.parametrize(
    "output,field",
    [
        (None, "output_data"),
        ({}, "positions"),
        ({"positions": {}}, "positions"),
        ({"positions": [7]}, "positions.0"),
        ({"positions": [{**POSITION, "volume": "NaN"}]}, "positions.0.volume"),
        ({"positions": [{**POSITION, "volume": 1e300}]}, "positions.0.volume"),
        ({"positions": [POSITION, {**POSITION, "side": "long"}]}, "positions.1.side"),
        ({"positions": [{**POSITION, "ticket": None}]}, "positions.0.ticket"),
        ({"positions": [{**POSITION, "open_time": "noon"}]}, "positions.0.open_time"),
        ({"positions": [{**POSITION, "magic": 1e30}]}, "positions.0.magic"),
    ],
)
def test_c27_nonsense_of_an_agent_is_502_and_named(desk: Desk, output: Any, field: str) -> None:
    with working(desk, get_positions=completed(output)):
        answer = desk.user.get(PATH)
    assert problem(answer) == (502, "agent_failed")
    assert answer.json()["errors"][0]["field"] == field


def test_c27_what_the_agent_failed_with_is_told(desk: Desk) -> None:
    with working(desk, get_positions=refused("disconnected", "no connection to the broker")):
        answer = desk.user.get(PATH)
    assert problem(answer) == (502, "agent_failed")
    assert answer.json()["error_code"] == "disconnected"
    assert answer.json()["errors"] == [
        {"field": "get_positions", "rule": "no connection to the broker"}
    ]


def test_c27_an_agent_that_does_not_answer_in_5_seconds_is_504(
    platform_url: str, valkey: EmbeddedValkey
) -> None:
    with serving(platform_url, valkey.url) as service:
        answer = new_desk(service).user.get(PATH)
    assert problem(answer) == (504, "agent_timeout")
    assert answer.headers["retry-after"]


def test_c27_positions_without_an_agent_are_503(service: Service) -> None:
    offline = new_desk(service, alive=False)
    assert problem(offline.user.get(PATH)) == (503, "agent_offline")


def test_c5_twenty_who_ask_at_once_share_one_job(desk: Desk) -> None:
    def slow(_: Any) -> Any:
        """Answer when all twenty wait for an answer, of one job or of another."""
        until_awaited(desk, 20)
        return has(POSITION)

    with working(desk, get_positions=slow):
        answers = at_once(20, lambda: desk.user.get(PATH))
    assert {answer.status_code for answer in answers} == {200}
    assert all(answer.json() == [POSITION] for answer in answers)
    assert len(desk.jobs("get_positions")) == 1


def test_positions_after_an_order_are_not_those_from_before_it(desk: Desk) -> None:
    """A read that began before the fill is not shared with somebody who knows of the fill."""
    book: list[Any] = []
    asked, traded = threading.Event(), threading.Event()

    def read(_: Any) -> Any:
        seen = list(book)
        asked.set()
        return has(*seen)

    def trade(job: Any) -> Any:
        book.append(POSITION)
        return filled(job)

    with working(desk, get_positions=read, trade=trade):
        early: list[Any] = []
        reader = threading.Thread(target=lambda: early.append(desk.user.get(PATH).json()))
        reader.start()
        asked.wait(30)
        assert desk.order().status_code == 200
        traded.set()
        assert desk.user.get(PATH).json() == [POSITION]
        reader.join()


def test_a_read_waits_on_after_a_word_that_was_none(desk: Desk) -> None:
    """Notifications are hints: all waiters get one when the listener has lost its connection."""
    service = desk.user.service
    asked = "select job_id from jobengine.ready where tenant_id = %s"
    listening = (
        "select {} from pg_stat_activity"
        " where datname = current_database() and query = 'listen jobengine'"
    )
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(desk.user.get, "/api/v1/positions")
        until(lambda: bool(service.rows(asked, desk.user.user_id)))
        (old,) = service.rows(listening.format("pid, pg_terminate_backend(pid)"))
        until(lambda: [old["pid"]] != [one["pid"] for one in service.rows(listening.format("pid"))])
        take_one(desk, {"get_positions": completed({"positions": []})}, wait=5)
        assert answer.result(60).status_code == 200


def test_two_users_never_see_each_others_positions(service: Service, desk: Desk) -> None:
    other = new_desk(service)
    theirs = {**POSITION, "ticket": "1"}
    with working(desk, get_positions=has(POSITION)), working(other, get_positions=has(theirs)):
        assert desk.user.get(PATH).json() == [POSITION]
        assert other.user.get(PATH).json() == [theirs]
    refusal = other.user.get(PATH, broker_connection_id=desk.account)
    assert problem(refusal) == (404, "not_found")
    assert problem(other.close("7001", broker_connection_id=desk.account)) == (404, "not_found")


# Closing


def test_r45_closing_a_position_waits_and_returns_price_and_profit(desk: Desk) -> None:
    with working(desk, close_position=closed):
        answer = desk.close("7001")
    assert answer.status_code == 200
    found = answer.json()
    assert (found["closed_price"], found["pnl"], found["ticket"]) == (1.0851, 9.5, "7001")
    assert (found["status"], found["kind"]) == ("closed", "close")
    assert desk.taken[0]["input_data"] == {"ticket": "7001"}


def test_a_part_of_a_position_can_be_closed(desk: Desk) -> None:
    with working(desk, close_position=closed):
        assert desk.close("7001", volume="0.03").status_code == 200
    assert desk.taken[0]["input_data"] == {"ticket": "7001", "volume": 0.03}


@pytest.mark.parametrize("volume", ["0", "-1", "NaN", "much", "1e-9"])
def test_a_part_that_is_none_is_refused(desk: Desk, volume: str) -> None:
    answer = desk.close("7001", volume=volume)
    assert problem(answer) == (422, "invalid")
    assert answer.json()["errors"][0]["field"] == "volume"


def test_a_position_that_the_terminal_does_not_have_is_404(desk: Desk) -> None:
    with working(desk, close_position=refused("position_not_found", "no position 7001")):
        answer = desk.close("7001")
    assert problem(answer) == (404, "position_not_found")
    assert answer.json()["message"] == "no position 7001"


def test_a_closing_that_the_broker_refuses_is_422(desk: Desk) -> None:
    said = refused("market_closed", "market closed", retcode=10018)
    with working(desk, close_position=said):
        answer = desk.close("7001")
    assert problem(answer) == (422, "order_rejected")
    assert (answer.json()["error_code"], answer.json()["retcode"]) == ("market_closed", 10018)


@pytest.mark.parametrize("ticket", ["x" * 65, "a b", "%00", "a:b"])
def test_what_is_no_ticket_names_nothing(desk: Desk, ticket: str) -> None:
    assert problem(desk.close(ticket)) == (404, "not_found")


def test_halted_trading_still_closes(desk: Desk) -> None:
    desk.user.patch("/api/v1/settings", {"trading_state": "halted"})
    with working(desk, close_position=closed):
        assert desk.close("7001").status_code == 200


def test_a_closing_of_a_key_is_done_once(desk: Desk) -> None:
    with working(desk, close_position=closed):
        answers = at_once(10, lambda: desk.close("7001", key="close-7001"))
        other = desk.close("7002", key="close-7001")
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["order_id"] for answer in answers}) == 1
    assert len(desk.taken) == 1
    assert problem(other) == (422, "idempotency_key_reused")


def test_a_key_of_an_order_closes_nothing(desk: Desk) -> None:
    with working(desk, trade=filled):
        desk.order(key="k")
    assert problem(desk.close("7001", key="k")) == (422, "idempotency_key_reused")
