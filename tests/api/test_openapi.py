"""`/openapi.json` is what the service does: compared with the routes, and fuzzed against them."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
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
from tests.api.world import Agent, Service, User

EXAMPLES = 40
# A status that a load balancer or another process causes is no answer to an input.
CHECKS = [
    not_a_server_error,
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
        (method, route.path) for route in routes() for method in (route.methods or set()) - {"HEAD"}
    }
    assert described == served


def test_every_endpoint_of_v1_wants_somebody_known() -> None:
    public = {e.path for e in ENDPOINTS if e.access is Access.PUBLIC}
    webhook = "/api/v1/webhooks/tv/{secret}"  # its secret says whose it is
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


@pytest.fixture(scope="module")
def fuzzed(service: Service) -> User:
    return service.user()


@pytest.fixture(scope="module")
def worker(fuzzed: User) -> Agent:
    return fuzzed.pair()


@pytest.mark.parametrize("method,path", OPERATIONS)
def test_fuzzed_inputs_get_described_answers(
    service: Service, fuzzed: User, worker: Agent, method: str, path: str
) -> None:
    """Nothing fails, whatever comes; the ids of the path are real ones half of the time."""
    schema = schemathesis.openapi.from_dict(DOCUMENT)
    operation = schema[path][method]
    headers = {**fuzzed.headers, **worker.headers}

    @settings(
        max_examples=EXAMPLES,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        database=None,
        derandomize=True,
    )
    @given(case=operation.as_strategy())
    def fuzz(case: schemathesis.Case[Any]) -> None:
        real: dict[str, Any] = {"agent_id": str(worker.agent_id)}
        if path != "/api/v1/agents/{agent_id}":  # nobody revokes the one agent
            case.path_parameters = {**(case.path_parameters or {}), **_only(case, real)}
        if case.query and "wait" in case.query:
            case.query["wait"] = 0
        case.call_and_validate(base_url=service.address, headers=headers, checks=CHECKS)

    fuzz()


def _only(case: schemathesis.Case[Any], real: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in real.items() if name in (case.path_parameters or {})}
