"""The short way to an endpoint: a look per part of the path.

Starlette's router asks its routes one after another, by regular expressions, and wraps the call in
handlers for what endpoints here never raise. It goes on answering for what is not found here: other
methods, unknown paths, paths whose names may hold a slash, WebSockets.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send


@dataclass(slots=True)
class _Place:
    """What may come next in a path, and what answers where nothing does."""

    parts: dict[str, _Place] = field(default_factory=dict)
    named: _Place | None = None
    route: Route | None = None


class Dispatch:
    """Calls the endpoint of a path; passes on what it does not know."""

    def __init__(self, app: ASGIApp, routes: Iterable[Route]) -> None:
        self._app = app
        self._root = _Place()
        for route in routes:
            if ":" not in route.path:
                self._add(route)

    def _add(self, route: Route) -> None:
        place = self._root
        for part in route.path.split("/"):
            if part.startswith("{"):
                place.named = place = place.named or _Place()
            else:
                place = place.parts.setdefault(part, _Place())
        place.route = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope.get("root_path"):
            route, values = self._find(scope["path"])
            if route is not None and scope["method"] in (route.methods or ()):
                scope["path_params"] = dict(zip(route.param_convertors, values, strict=True))
                answer: Callable[[Request], Awaitable[Response]] = route.endpoint
                response = await answer(Request(scope, receive, send))
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _find(self, path: str) -> tuple[Route | None, list[str]]:
        """Return the route, and what the names in its path stand for."""
        place, values = self._root, []
        for part in path.split("/"):
            if (known := place.parts.get(part)) is not None:
                place = known
            elif place.named is not None and part:
                place = place.named
                values.append(part)
            else:
                return None, []
        return place.route, values
