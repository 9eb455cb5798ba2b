"""The short way to an endpoint and Starlette's router know the same paths."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from api.dispatch import Dispatch
from api.routes import routes

ROUTES = routes()
SHORT = [route for route in ROUTES if ":" not in route.path]


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer nothing."""


@pytest.mark.parametrize("route", SHORT, ids=lambda route: route.path)
def test_every_path_is_found_with_its_names(route: Route) -> None:
    values = {name: f"value-{n}" for n, name in enumerate(route.param_convertors)}
    path = route.path.format(**values)
    found, names = Dispatch(nothing, ROUTES)._find(path)
    assert found == route
    assert dict(zip(route.param_convertors, names, strict=True)) == values
    scope = {"type": "http", "method": next(iter(route.methods or ())), "path": path}
    first = next(r for r in ROUTES if r.matches(scope)[0] is Match.FULL)
    assert first is route


@pytest.mark.parametrize(
    "path",
    ["", "/", "/nothing", "/api/v1/jobs/", "/api/v1/jobs//cancel", "/healthz/more", "/api/v1"],
)
def test_what_is_no_path_is_left_to_the_router(path: str) -> None:
    passed_on: list[Scope] = []

    async def router(scope: Scope, receive: Receive, send: Send) -> None:
        passed_on.append(scope)

    async def run() -> None:
        scope = {"type": "http", "method": "GET", "path": path}
        await Dispatch(router, ROUTES)(scope, None, None)  # type: ignore[arg-type]
        assert passed_on == [scope]

    asyncio.run(run())


def test_another_method_is_left_to_the_router() -> None:
    passed_on: list[Scope] = []

    async def router(scope: Scope, receive: Receive, send: Send) -> None:
        passed_on.append(scope)

    scope = {"type": "http", "method": "PUT", "path": f"/api/v1/jobs/{uuid4()}"}
    asyncio.run(Dispatch(router, ROUTES)(scope, None, None))  # type: ignore[arg-type]
    assert passed_on == [scope]
