"""What an endpoint is: one value that says path, who may call, what goes in and what comes out.

The router, the authorisation, the checks of the input and `/openapi.json` are all read from it.
"""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeAlias
from urllib.parse import parse_qsl
from uuid import UUID

import orjson
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from api.errors import Problem, field_errors, from_error, invalid
from api.keys import Agent
from api.middleware import RECORD, header
from api.models import plain
from api.service import Service
from api.tokens import User
from jobengine._db import holds_nul

log = logging.getLogger("api")

V1 = "/api/v1"
LONGEST_KEY = 255  # characters of an Idempotency-Key


class Access(Enum):
    """Who may call."""

    PUBLIC = "anybody"
    USER = "a user, by token"
    AGENT = "the agent of the path, by key"
    OWNER_OR_AGENT = "the agent of the path, by key, or a user, by token"


@dataclass(frozen=True, slots=True)
class Call:
    """One request, checked and authorised; `names` are what the path has besides ids."""

    request: Request
    service: Service
    path: Mapping[str, UUID]
    names: Mapping[str, str]
    query: Any
    body: Any
    user: User | None
    agent: Agent | None

    @property
    def caller(self) -> User:
        """The user; for endpoints that only users may call."""
        assert self.user is not None
        return self.user

    @property
    def holder(self) -> Agent:
        """The agent; for endpoints that only agents may call."""
        assert self.agent is not None
        return self.agent

    @property
    def key(self) -> str | None:
        """The header Idempotency-Key, for endpoints that take one."""
        key = self.request.headers.get("idempotency-key")
        if key is not None and not 1 <= len(key) <= LONGEST_KEY:
            raise invalid("Idempotency-Key", f"1 to {LONGEST_KEY} characters")
        return key


Handler: TypeAlias = Callable[[Call], Awaitable[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One method of one path.

    `query` and `body` are checked before the handler sees them; `answer` is the model of what it
    returns, with `status` or one of `also`; `problems` are the codes that it may answer with,
    besides those that all endpoints of its kind have.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    access: Access
    answer: Any
    status: int = 200
    also: tuple[int, ...] = ()
    query: type[BaseModel] | None = None
    body: Any = None
    problems: tuple[str, ...] = ()
    refuses: bool = True  # False: whatever comes, it answers as if all were well
    head: bool = True  # a GET is served as HEAD too, unless it changes something
    keyed: bool = False  # a repeat with the same Idempotency-Key does nothing again
    names: Mapping[str, Any] = field(default_factory=dict)  # in the path, and no UUIDs: their types
    parameters: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Read the names in the path once."""
        object.__setattr__(self, "parameters", tuple(re.findall(r"{(\w+)}", self.path)))


def serves(by_method: Mapping[str, Endpoint]) -> Callable[[Request], Awaitable[Response]]:
    """Return the endpoints of one path as Starlette calls them."""

    async def answer(request: Request) -> Response:
        endpoint = by_method["GET" if request.method == "HEAD" else request.method]
        record = request.scope[RECORD]
        record.route = endpoint.path
        try:
            call = await _call(endpoint, request)
            return respond(await endpoint.handler(call), endpoint.status)
        except Exception as error:
            found = from_error(error)
            if found is None:
                log.exception("request %s failed", record.request_id)
            elif found.status >= 500:  # noqa: PLR2004
                log.warning("request %s: %s: %r", record.request_id, found.code, error)
            return (found or Problem("internal_error")).response(record.request_id)

    return answer


def respond(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return the answer that the value is; a response is one already."""
    if isinstance(value, Response):
        return value
    return Response(rendered(value), status, headers, media_type="application/json")


def rendered(value: Any) -> bytes:
    """Return the JSON of an answer."""
    return orjson.dumps(dumped(value), default=plain, option=orjson.OPT_UTC_Z)


def dumped(value: Any) -> Any:
    """Return models as what JSON can hold."""
    if isinstance(value, list):
        return [dumped(item) for item in value]
    return value.model_dump() if isinstance(value, BaseModel) else value


async def _call(endpoint: Endpoint, request: Request) -> Call:
    path = {
        name: _uuid(request, name) for name in endpoint.parameters if name not in endpoint.names
    }
    names = {name: _name(request, name, kind) for name, kind in endpoint.names.items()}
    service: Service = request.state.service
    user, agent = await _authorised(endpoint.access, request, service, path)
    query = _query(endpoint.query, request) if endpoint.query else None
    body = await _body(endpoint.body, request) if endpoint.body else None
    return Call(request, service, path, names, query, body, user, agent)


def _uuid(request: Request, name: str) -> UUID:
    """Read an id of the path; what is none names nothing."""
    try:
        return UUID(request.path_params[name])
    except ValueError as error:
        raise Problem("not_found") from error


def _name(request: Request, name: str, kind: Any) -> str:
    """Read another name of the path; what breaks its rule names nothing."""
    try:
        return str(adapter(kind).validate_python(request.path_params[name]))
    except ValidationError as error:
        raise Problem("not_found") from error


async def _authorised(
    access: Access, request: Request, service: Service, path: Mapping[str, UUID]
) -> tuple[User | None, Agent | None]:
    if access is Access.PUBLIC:
        return None, None
    by_key = access is Access.OWNER_OR_AGENT and "x-agent-key" in request.headers
    if access is Access.AGENT or by_key:
        return None, await _agent(request, service, path["agent_id"])
    return await _user(request, service), None


async def _user(request: Request, service: Service) -> User:
    scheme, _, token = header(request.scope, b"authorization").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Problem("token_invalid")
    return await service.tokens.user(token.strip())


async def _agent(request: Request, service: Service, agent_id: UUID) -> Agent:
    client = request.scope["client"]
    address = client[0] if client else "-"
    key = header(request.scope, b"x-agent-key")
    agent = await service.keys.agent(agent_id, key, address)
    service.presence.seen(agent_id)
    return agent


def _query(model: type[BaseModel], request: Request) -> Any:
    text = request.scope["query_string"].decode("latin-1")
    values = dict(parse_qsl(text, keep_blank_values=True))
    if any("\x00" in text for text in values.values()):
        raise invalid("query", "text without NUL characters")
    return _checked(model, values)


async def _body(model: Any, request: Request) -> Any:
    """Read the body, whatever its media type says; an empty one counts as `{}`."""
    text = await request.body()
    try:
        value = orjson.loads(text or b"{}")
    except orjson.JSONDecodeError as error:
        raise Problem("invalid_json") from error
    if holds_nul(text):
        raise invalid("body", "text without the character U+0000")
    return _checked(model, value)


def _checked(model: Any, value: Any) -> Any:
    try:
        return adapter(model).validate_python(value)
    except ValidationError as error:
        raise Problem("invalid", errors=field_errors(error, "body")) from error


@functools.cache
def adapter(model: Any) -> TypeAdapter[Any]:
    """Return what checks values by the model; built once."""
    return TypeAdapter(model)
