"""Users' tokens: R73, C30; what is another user's is not found: R76."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import jwt
import pytest
from pydantic import BaseModel, ValidationError

from api.models import NewConnection, Pair, SettingsChanges
from tests.api.world import SECRET, Service, User, problem, until

SETTINGS = "/api/v1/settings"


def claims(**changes: Any) -> dict[str, Any]:
    valid = {
        "sub": str(uuid4()),
        "aud": "authenticated",
        "role": "authenticated",
        "exp": datetime.now(UTC) + timedelta(hours=1),
    }
    return {name: value for name, value in (valid | changes).items() if value is not None}


def asks(service: Service, token: str) -> int:
    return User(service, uuid4(), token).get("/api/v1/agents").status_code


def test_r73_a_valid_token_is_let_in(service: Service) -> None:
    assert asks(service, jwt.encode(claims(), SECRET, "HS256")) == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": datetime(2020, 1, 1, tzinfo=UTC)},
        {"exp": None},
        {"aud": "anon"},
        {"aud": None},
        {"sub": "root"},
        {"sub": None},
        {"role": None},
        {"role": "service_role"},
        {"role": "anon"},
    ],
)
def test_c30_a_claim_that_is_wrong_or_missing_is_refused(
    service: Service, changes: dict[str, Any]
) -> None:
    token = jwt.encode(claims(**changes), SECRET, "HS256")
    answer = User(service, uuid4(), token).get(SETTINGS)
    assert problem(answer) == (401, "token_invalid")
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer x", "Basic YTpi", "Bearer " + "x" * 9000])
def test_what_is_no_token_is_refused(service: Service, header: str) -> None:
    answer = service.http.get(SETTINGS, headers={"Authorization": header})
    assert problem(answer) == (401, "token_invalid")


@pytest.mark.parametrize("algorithm", ["none", "HS512"])
def test_c30_another_algorithm_is_refused(service: Service, algorithm: str) -> None:
    key = SECRET * 2 if algorithm == "HS512" else ""
    assert asks(service, jwt.encode(claims(), key, algorithm)) == 401
    assert asks(service, jwt.encode(claims(), "another secret of 32 bytes or more", "HS256")) == 401


def test_c30_a_token_that_was_verified_is_refused_when_its_time_is_over(service: Service) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=8)
    token = jwt.encode(claims(exp=soon), SECRET, "HS256")
    assert asks(service, token) == 200
    until(lambda: asks(service, token) == 401)
    assert datetime.now(UTC) >= soon.replace(microsecond=0)


@pytest.mark.parametrize(
    "field,taken,refused",
    [
        ("daily_loss_limit_pct", [0.01, 100], [0, 100.01]),
        ("max_volume", [0.00000001, 99_999_999_999], [0, 100_000_000_000]),
        ("max_open_positions", [1, 1_000_000], [0, 1_000_001]),
        ("display_name", ["x" * 100], ["x" * 101]),
    ],
)
def test_settings_have_the_bounds_that_are_described(
    owner: User, field: str, taken: list[Any], refused: list[Any]
) -> None:
    for value in taken:
        assert owner.patch(SETTINGS, {field: value}).status_code == 200
    for value in refused:
        answer = owner.patch(SETTINGS, {field: value})
        assert problem(answer) == (422, "invalid")
        assert answer.json()["errors"][0]["field"] == field
        with pytest.raises(ValidationError):  # refused before the database is asked
            SettingsChanges.model_validate({field: value})


def test_names_have_at_most_100_characters(owner: User) -> None:
    longest, longer = "n" * 100, "n" * 101
    connections = "/api/v1/broker-connections"
    bodies: dict[str, type[BaseModel]] = {"/api/v1/agents/pair": Pair, connections: NewConnection}
    for path, model in bodies.items():
        assert owner.post(path, {"name": longest}).status_code == 201
        assert problem(owner.post(path, {"name": longer})) == (422, "invalid")
        with pytest.raises(ValidationError):
            model.model_validate({"name": longer})


def test_g2_settings_are_read_and_changed(owner: User) -> None:
    changed = owner.patch(SETTINGS, {"daily_loss_limit_pct": 2.5, "default_volume": "0.01"})
    assert changed.status_code == 200
    assert owner.get(SETTINGS).json()["daily_loss_limit_pct"] == 2.5
    assert '"default_volume":0.01' in owner.get(SETTINGS).text
    assert owner.patch(SETTINGS, {"daily_loss_limit_pct": None}).status_code == 200
    assert owner.get(SETTINGS).json()["daily_loss_limit_pct"] is None
    refused = owner.patch(SETTINGS, {"is_admin": True})
    assert problem(refused) == (422, "invalid")
    assert problem(owner.patch(SETTINGS, {"timezone": "Mars/Base"})) == (422, "invalid")


def test_r37_g2_onboarding_is_completed(service: Service) -> None:
    new = service.user(onboarded=False)
    assert new.get(SETTINGS).json()["onboarding_completed_at"] is None
    done = new.post("/api/v1/onboarding/complete").json()
    assert done["disclaimer_accepted_at"] == done["onboarding_completed_at"]


def test_broker_connections_have_one_default(owner: User) -> None:
    path = "/api/v1/broker-connections"
    first, second = (owner.post(path, {"name": name}).json() for name in ("a", "b"))
    assert (first["is_default"], second["is_default"]) == (True, False)
    assert owner.patch(f"{path}/{second['id']}", {"is_default": True}).json()["is_default"]
    listed = {found["id"]: found["is_default"] for found in owner.get(path).json()}
    assert listed == {first["id"]: False, second["id"]: True}
    assert owner.delete(f"{path}/{first['id']}").status_code == 204
    assert problem(owner.delete(f"{path}/{first['id']}")) == (404, "not_found")
    owner.pair(broker_connection_id=second["id"])
    assert problem(owner.delete(f"{path}/{second['id']}")) == (409, "broker_connection_in_use")


def test_r76_connections_of_others_are_not_found(service: Service, owner: User) -> None:
    path = "/api/v1/broker-connections"
    mine = owner.post(path, {"name": "mine"}).json()["id"]
    other = service.user()
    assert other.get(path).json() == []
    assert problem(other.patch(f"{path}/{mine}", {"name": "his"})) == (404, "not_found")
    assert problem(other.delete(f"{path}/{mine}")) == (404, "not_found")
