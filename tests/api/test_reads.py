"""The account over HTTP: R46, C27."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.desk import Desk, beat, completed, new_desk, working
from tests.api.world import Service, problem

PATH = "/api/v1/account"
BALANCE = {
    "balance": 10000.0,
    "equity": 10009.5,
    "margin_used": 108.42,
    "margin_available": 9901.08,
    "currency": "USD",
    "leverage": 100,
}


@pytest.fixture
def desk(service: Service) -> Desk:
    return new_desk(service)


def test_r46_the_account_is_what_the_terminal_says(desk: Desk) -> None:
    with working(desk, get_account=completed({**BALANCE, "login": 42})):
        answer = desk.user.get(PATH)
    assert (answer.status_code, answer.json()) == (200, BALANCE)


@pytest.mark.parametrize("field", BALANCE)
def test_c27_an_account_that_cannot_be_read_is_502(desk: Desk, field: str) -> None:
    nonsense: dict[str, Any] = {**BALANCE, field: [1]}
    with working(desk, get_account=completed(nonsense)):
        answer = desk.user.get(PATH)
    assert problem(answer) == (502, "agent_failed")
    assert {error["field"] for error in answer.json()["errors"]} == {field}


def test_the_account_that_is_named_is_asked(desk: Desk) -> None:
    made = desk.user.post("/api/v1/broker-connections", {"name": "second"}).json()
    second = Desk(desk.user, desk.user.pair(broker_connection_id=made["id"]), made["id"])
    beat(second.agent)
    rich = {**BALANCE, "balance": 1_000_000_000_000.01}
    with working(second, get_account=completed(rich)):
        answer = desk.user.get(PATH, broker_connection_id=second.account)
    assert answer.json() == rich
    assert b'"balance":1000000000000.01,' in answer.content


def test_reads_need_no_onboarding_but_a_token(service: Service) -> None:
    user = service.user(onboarded=False)
    assert problem(user.get(PATH)) == (422, "broker_connection_required")
    for path in (PATH, "/api/v1/positions", "/api/v1/candles/EURUSD"):
        assert problem(service.http.get(path)) == (401, "token_invalid")
