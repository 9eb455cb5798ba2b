"""Calls of the service over HTTP, with nothing but Python's own library."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

TIMEOUT = 40.0  # seconds; a long-poll takes up to 30


class Unreachable(Exception):
    """Nobody knows whether the service saw the call."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The status, and the body as Python has JSON."""

    status: int
    body: Any


@dataclass(frozen=True, slots=True)
class Client:
    """Calls one service with these headers; for any number of threads."""

    url: str
    headers: Mapping[str, str] = field(repr=False)  # a key or a token is among them

    def get(self, path: str) -> Answer:
        return self.call("GET", path)

    def post(self, path: str, body: Mapping[str, Any]) -> Answer:
        return self.call("POST", path, body)

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        """Call once, on a connection of its own; raises `Unreachable`, and repeats nothing."""
        payload = None if body is None else json.dumps(body).encode()
        try:
            with closing(HTTPConnection(urlsplit(self.url).netloc, timeout=TIMEOUT)) as connection:
                connection.request(method, path, payload, dict(self.headers))
                response = connection.getresponse()
                return Answer(response.status, json.loads(response.read() or b"null"))
        except (OSError, HTTPException, ValueError) as error:
            raise Unreachable(str(error)) from error
