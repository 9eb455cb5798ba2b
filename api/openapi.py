"""`/openapi.json`, made from the list of endpoints and the models: there is no second text."""

from __future__ import annotations

import http
from collections.abc import Iterable, Iterator
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, TypeAdapter

from api.endpoint import LONGEST_KEY, Access, Endpoint
from api.errors import CODES, MEDIA_TYPE
from api.models import ProblemBody

REFERENCE = "#/components/schemas/{model}"
TOKEN: dict[str, list[str]] = {"userToken": []}
KEY: dict[str, list[str]] = {"agentKey": []}
SECURITY: dict[Access, list[dict[str, list[str]]]] = {
    Access.PUBLIC: [],
    Access.USER: [TOKEN],
    Access.AGENT: [KEY],
    Access.OWNER_OR_AGENT: [KEY, TOKEN],
}
_USER = ("token_invalid", "tokens_unavailable", "database_unavailable", "busy")
_AGENT = (
    "agent_key_invalid",
    "agent_key_revoked",
    "agent_mismatch",
    "not_found",
    "too_many_failed_keys",
    "overloaded",
    "database_unavailable",
    "busy",
)
_ALWAYS = ("body_too_large", "internal_error")
ACCESS_PROBLEMS: dict[Access, tuple[str, ...]] = {
    Access.PUBLIC: _ALWAYS,
    Access.USER: (*_ALWAYS, *_USER),
    Access.AGENT: (*_ALWAYS, *_AGENT),
    Access.OWNER_OR_AGENT: (*_ALWAYS, *_AGENT, *_USER),
}

_Key = tuple[int, Literal["body", "query", "answer"]]


def document(endpoints: Iterable[Endpoint], version: str) -> dict[str, Any]:
    """Return the description of these endpoints, OpenAPI 3.1."""
    known = list(endpoints)
    schemas, definitions = _schemas(known)
    paths: dict[str, dict[str, Any]] = {}
    for number, endpoint in enumerate(known):
        operation = _operation(number, endpoint, schemas)
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "Agents and jobs", "version": version},
        "paths": paths,
        "components": {
            "schemas": definitions,
            "securitySchemes": {
                "userToken": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "agentKey": {"type": "apiKey", "in": "header", "name": "X-Agent-Key"},
            },
        },
    }


def problem_codes(endpoint: Endpoint) -> list[str]:
    """Return the codes that an endpoint may answer with."""
    if not endpoint.refuses:
        return list(endpoint.problems)
    codes = [*endpoint.problems, *ACCESS_PROBLEMS[endpoint.access]]
    if endpoint.body or endpoint.query or endpoint.keyed:
        codes.append("invalid")
    if endpoint.body:
        codes += ["invalid_json", "broker_connection_required", "broker_connection_mismatch"]
    if endpoint.parameters:
        codes.append("not_found")
    return sorted(set(codes), key=lambda code: (CODES[code][0], code))


def _schemas(endpoints: list[Endpoint]) -> tuple[dict[_Key, Any], dict[str, Any]]:
    inputs: list[tuple[_Key, Any, TypeAdapter[Any]]] = [
        ((-1, "answer"), "serialization", TypeAdapter(ProblemBody))
    ]
    for number, endpoint in enumerate(endpoints):
        if endpoint.body:
            inputs.append(((number, "body"), "validation", TypeAdapter(endpoint.body)))
        if endpoint.query:
            inputs.append(((number, "query"), "validation", TypeAdapter(endpoint.query)))
        if endpoint.answer and not isinstance(endpoint.answer, str):
            inputs.append(((number, "answer"), "serialization", TypeAdapter(endpoint.answer)))
    found, rest = TypeAdapter.json_schemas(inputs, ref_template=REFERENCE)
    return {key: schema for (key, _), schema in found.items()}, rest["$defs"]


def _operation(number: int, endpoint: Endpoint, schemas: dict[_Key, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": f"{endpoint.handler.__module__.rpartition('.')[2]}_"
        f"{endpoint.handler.__name__}",
        "summary": endpoint.summary,
        "security": SECURITY[endpoint.access],
        "parameters": [
            *_path_parameters(endpoint),
            *_query_parameters(endpoint),
            *_header_parameters(endpoint),
        ],
        "responses": {
            str(status): _answer(status, schemas.get((number, "answer")), endpoint)
            for status in (endpoint.status, *endpoint.also)
        },
    }
    if endpoint.body:
        content = {"application/json": {"schema": schemas[number, "body"]}}
        operation["requestBody"] = {"required": True, "content": content}
    operation["responses"] |= _problems(endpoint, schemas)
    return operation


def _path_parameters(endpoint: Endpoint) -> Iterator[dict[str, Any]]:
    for name in endpoint.parameters:
        kind = endpoint.names.get(name, UUID)
        schema = TypeAdapter(kind).json_schema()
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameters(endpoint: Endpoint) -> Iterator[dict[str, Any]]:
    model: type[BaseModel] | None = endpoint.query
    if model is not None:
        for name, schema in model.model_json_schema()["properties"].items():
            yield {"name": name, "in": "query", "required": False, "schema": schema}


def _header_parameters(endpoint: Endpoint) -> Iterator[dict[str, Any]]:
    if endpoint.keyed:
        schema = {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY}
        yield {"name": "Idempotency-Key", "in": "header", "required": False, "schema": schema}


def _answer(status: int, schema: Any, endpoint: Endpoint) -> dict[str, Any]:
    described: dict[str, Any] = {"description": http.HTTPStatus(status).phrase}
    if isinstance(endpoint.answer, str):
        described["content"] = {endpoint.answer: {}}
    elif endpoint.answer:
        described["content"] = {"application/json": {"schema": schema}}
    return described


def _problems(endpoint: Endpoint, schemas: dict[_Key, Any]) -> dict[str, Any]:
    by_status: dict[str, list[str]] = {}
    for code in problem_codes(endpoint):
        by_status.setdefault(str(CODES[code][0]), []).append(code)
    content = {MEDIA_TYPE: {"schema": schemas[-1, "answer"]}}
    return {
        status: {"description": ", ".join(f"`{code}`" for code in codes), "content": content}
        for status, codes in by_status.items()
    }
