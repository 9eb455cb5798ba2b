"""`/openapi.json` is what the service does: compared with the routes, and fuzzed against them."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.endpoint import Access
from api.errors import CODES
from api.openapi import document
from api.routes import ENDPOINTS, routes
from api.settings import SHORTEST_SECRET, Settings
from tests.api.desk import Desk, closed, completed, filled, new_desk, working
from tests.api.world import Service

EXAMPLES = 40


def no_failure_of_ours(_: Any, response: Any, __: Any) -> None:
    """Whatever an input is, it is not what the database fails of; an agent may."""
    if response.status_code >= 500:
        assert response.json()["code"] in {"agent_failed", "agent_timeout", "agent_offline"}


# A status that a load balancer or another process causes is no answer to an input.
CHECKS: list[Any] = [
    no_failure_of_ours,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
DOCUMENT = document(ENDPOINTS, "0")
OPERATIONS = [(e.method, e.path) for e in ENDPOINTS if e.path.startswith("/api/")]


def test_the_description_has_the_routes_and_no_others() -> None:
    described = {
        (method.upper(), path) for path, found in DOCUMENT["paths"].items() for method in found
    }
    served = {
        (method, route.path_format)
        for route in routes()
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert described == served


def test_every_endpoint_of_v1_wants_somebody_known() -> None:
    public = {e.path for e in ENDPOINTS if e.access is Access.PUBLIC}
    webhook = "/api/v1/webhooks/tv/{webhook_secret}"  # its secret says whose it is
    assert public == {"/healthz", "/readyz", "/metrics", "/openapi.json", webhook}


def test_every_code_is_described_somewhere() -> None:
    described = str(DOCUMENT)
    elsewhere = {"method_not_allowed", "email_taken", "users_elsewhere"}
    assert {code for code in CODES if f"`{code}`" not in described} == elsewhere


def test_served_as_it_is_made(service: Service) -> None:
    served = service.http.get("/openapi.json").json()
    assert served["paths"] == DOCUMENT["paths"]


def test_settings_have_no_weak_secret() -> None:
    assert SHORTEST_SECRET == 32
    with pytest.raises(Exception, match="at least 32"):
        Settings(database_url="x", redis_url="x", jwt_secret="x" * 31)


@pytest.fixture
def desk(service: Service) -> Desk:
    return new_desk(service)


BALANCE = {
    "balance": 1,
    "equity": 1,
    "margin_used": 0,
    "margin_available": 1,
    "currency": "USD",
    "leverage": 100,
}
TERMINAL: dict[str, Any] = {
    "trade": filled,
    "close_position": closed,
    "get_positions": completed({"positions": []}),
    "get_account": completed(BALANCE),
    "get_candles": completed({"candles": []}),
}


@pytest.mark.parametrize("method,path", OPERATIONS)
def test_fuzzed_inputs_get_described_answers(
    service: Service, desk: Desk, method: str, path: str
) -> None:
    """Nothing fails, whatever comes; the ids of the path are real ones half of the time."""
    schema = schemathesis.openapi.from_dict(DOCUMENT)
    operation = schema[path][method]
    headers = {**desk.user.headers, **desk.agent.headers}

    @settings(
        max_examples=EXAMPLES,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        database=None,
        derandomize=True,
    )
    @given(case=operation.as_strategy())
    def fuzz(case: schemathesis.Case[Any]) -> None:
        real: dict[str, Any] = {"agent_id": str(desk.agent.agent_id)}
        if path != "/api/v1/agents/{agent_id}":  # nobody revokes the one agent
            case.path_parameters = {**(case.path_parameters or {}), **_only(case, real)}
        if case.query and "wait" in case.query:
            case.query["wait"] = 0
        case.call_and_validate(base_url=service.address, headers=headers, checks=CHECKS)

    with nullcontext() if "/agents/" in path else working(desk, **TERMINAL):
        fuzz()


def _only(case: schemathesis.Case[Any], real: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in real.items() if name in (case.path_parameters or {})}
