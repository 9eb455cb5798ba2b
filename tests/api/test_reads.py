"""The account over HTTP: R46, C27."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import models
from api.endpoint import respond
from api.errors import Problem
from api.reads import understood
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


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
ODD = JSON | st.sampled_from(["1e999999", "1e-999999", "-0", " 1 ", "1_0", 10**400, -(2**63), ""])
POSITION = {"ticket": 1, "symbol": "EURUSD", "side": "buy", "volume": 1, "open_price": 1}
CANDLE = {"time": 0, "open": 1, "high": 1, "low": 1, "close": 1, "volume": 1}


def nearly(model: type[models.Answer], sound: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Generate what an agent might say instead of a sound answer: another value here or there."""
    changes = st.dictionaries(st.sampled_from(sorted(model.model_fields)), ODD, max_size=2)
    return st.builds(lambda changed: {**sound, **changed}, changes)


def many(name: str, model: type[models.Answer], sound: dict[str, Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({name: st.lists(nearly(model, sound), max_size=3)})


@pytest.mark.parametrize(
    "model,outputs",
    [
        (models.Balance, nearly(models.Balance, BALANCE)),
        (models.Positions, many("positions", models.Position, POSITION)),
        (models.Candles, many("candles", models.Candle, CANDLE)),
        (models.Positions, JSON),
    ],
)
def test_whatever_an_agent_says_is_told_or_refused(
    model: Any, outputs: st.SearchStrategy[Any]
) -> None:
    @given(outputs)
    def check(output: Any) -> None:
        assert said_of(model, output) in {"told", "agent_failed"}

    check()


def said_of(model: Any, output: Any) -> str:
    """Do as the service does with an agent's output; return what comes of it."""
    try:
        respond(understood(model, output))
    except Problem as refusal:
        return refusal.code if all(e["field"] and e["rule"] for e in refusal.errors) else "unnamed"
    return "told"
