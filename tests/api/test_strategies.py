"""Strategies, signals and the kill switch over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.alerts import Strategy, fields, new_strategy
from tests.api.world import Service, User, problem, until

ALERT = {"symbol": "EURUSD", "action": "buy", "volume": 0.1}


@pytest.fixture
def strategy(owner: User) -> Strategy:
    return new_strategy(owner)


def test_a_strategy_is_made_listed_changed_and_removed(owner: User, strategy: Strategy) -> None:
    path = f"/api/v1/strategies/{strategy.strategy_id}"
    strategy.alert(ALERT)
    strategy.signal()
    [listed] = owner.get("/api/v1/strategies").json()
    assert listed == owner.get(path).json()
    assert fields(listed, "id", "is_enabled", "signals", "pending", "expires_in") == (
        *(str(strategy.strategy_id), True, 1, 1),
        300,
    )
    changed = strategy.change(
        name="other", allowed_pairs=["EURUSD"], risk_override_pct=1.5, is_enabled=False
    )
    assert fields(changed, "name", "allowed_pairs", "risk_override_pct", "is_enabled") == (
        *("other", ["EURUSD"], 1.5),
        False,
    )
    assert owner.delete(path).status_code == 204
    assert owner.get("/api/v1/strategies").json() == []
    assert owner.get("/api/v1/signals").json() == []


def test_no_answer_but_the_first_has_the_secret(owner: User, strategy: Strategy) -> None:
    listed = owner.get("/api/v1/strategies").text
    assert strategy.secret not in listed
    assert strategy.secret[:4] in listed


WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "name"),
    ({"name": "s", "risk_override_pct": 0}, "risk_override_pct"),
    ({"name": "s", "default_volume": "NaN"}, "default_volume"),
    ({"name": "s", "dedup_seconds": 0}, "dedup_seconds"),
    ({"name": "s", "webhook_secret": "mine"}, "webhook_secret"),
    ({"name": "s", "allowed_sources": ["nowhere"]}, "allowed_sources"),
]


@pytest.mark.parametrize("body, field", WRONG, ids=[str(body) for body, _ in WRONG])
def test_a_strategy_that_cannot_be_is_refused(
    owner: User, body: dict[str, Any], field: str
) -> None:
    answer = owner.post("/api/v1/strategies", body)
    assert problem(answer) == (422, "invalid")
    assert answer.json()["errors"][0]["field"].startswith(field)


def test_a_strangers_strategy_and_signal_are_not_found(
    service: Service, owner: User, strategy: Strategy
) -> None:
    strategy.alert(ALERT)
    stranger = service.user()
    path = f"/api/v1/strategies/{strategy.strategy_id}"
    answers = [
        stranger.get(path),
        stranger.patch(path, {"name": "mine"}),
        stranger.delete(path),
        stranger.post(f"{path}/rotate-secret"),
        stranger.post(f"{path}/test", {"message": ALERT}),
        stranger.get(f"/api/v1/signals/{strategy.signal()['id']}"),
    ]
    assert {problem(answer) for answer in answers} == {(404, "not_found")}
    assert stranger.get("/api/v1/signals").json() == []


# -- the test button


def test_a_dry_run_decides_and_leaves_nothing(owner: User, strategy: Strategy) -> None:
    path = f"/api/v1/strategies/{strategy.strategy_id}/test"
    found = owner.post(path, {"message": ALERT}).json()
    assert fields(found, "signal_id", "status", "error_message") == (None, "pending", None)
    assert fields(found["job_input"], "symbol", "side", "volume") == ("EURUSD", "buy", 0.1)
    refused = owner.post(path, {"message": "buy it"}).json()
    assert fields(refused, "status", "error_message") == ("discarded", "invalid_payload")
    assert strategy.signals() == []
    assert owner.get("/api/v1/jobs").json() == []


def test_a_real_run_goes_to_the_agent(owner: User, strategy: Strategy) -> None:
    path = f"/api/v1/strategies/{strategy.strategy_id}/test"
    found = owner.post(path, {"message": ALERT, "dry_run": False}).json()
    job = strategy.agent.next(wait=20)
    assert job["input_data"]["signal_id"] == found["signal_id"] == strategy.signal()["id"]


# -- signals


def test_signals_come_in_pages_with_their_number(owner: User, strategy: Strategy) -> None:
    for number in range(5):
        strategy.alert({**ALERT, "id": number})
        until(lambda: len(strategy.signals()) == number + 1)  # noqa: B023 - called at once
    everything = [signal["id"] for signal in strategy.signals()]
    page = owner.get("/api/v1/signals", limit=2, offset=1)
    assert [signal["id"] for signal in page.json()] == everything[1:3]
    assert page.headers["x-total-count"] == "5"
    assert "offset=3" in page.headers["link"]
    last = owner.get("/api/v1/signals", limit=2, offset=4)
    assert [signal["id"] for signal in last.json()] == everything[4:]
    assert "link" not in last.headers
    assert owner.get("/api/v1/signals", status="executed").headers["x-total-count"] == "0"


def test_a_signal_tells_its_way(owner: User, strategy: Strategy) -> None:
    strategy.alert(ALERT)
    job = strategy.agent.next(wait=20)
    strategy.agent.result(job["job_id"], output_data={"fill_price": 1.1, "ticket": "1"})
    signal = owner.get(f"/api/v1/signals/{strategy.signal()['id']}").json()
    assert signal["decided_ms"] >= 0
    assert signal["total_ms"] >= signal["decided_ms"]


# -- the kill switch


def test_the_kill_switch_stops_and_lets_go(owner: User, strategy: Strategy) -> None:
    strategy.alert({**ALERT, "id": 1})
    strategy.signal()
    killed = owner.post("/api/v1/kill-switch").json()
    assert killed == {"trading_state": "halted", "cancelled": 1, "closing": 0}
    assert owner.get("/api/v1/settings").json()["trading_state"] == "halted"
    strategy.alert({**ALERT, "id": 2})
    until(lambda: len(strategy.signals()) == 2)
    assert strategy.signals()[0]["error_message"] == "trading_halted"
    owner.post("/api/v1/kill-switch", {"state": "active"})
    strategy.alert({**ALERT, "id": 3})
    until(lambda: len(strategy.signals()) == 3)
    assert strategy.signals()[0]["status"] == "pending"


def test_a_state_that_is_none_is_refused(owner: User) -> None:
    assert problem(owner.post("/api/v1/kill-switch", {"state": "panic"})) == (422, "invalid")


def test_the_list_of_strategies_says_how_many_there_are(owner: User) -> None:
    for name in "abc":
        assert owner.post("/api/v1/strategies", {"name": name}).status_code == 201
    first = owner.get("/api/v1/strategies", limit=2)
    assert first.headers["X-Total-Count"] == "3"
    assert first.headers["Link"] == '</api/v1/strategies?limit=2&offset=2>; rel="next"'
    last = owner.get("/api/v1/strategies", limit=2, offset=2)
    assert ([s["name"] for s in last.json()], "Link" in last.headers) == (["a"], False)
