"""Calls of the service as a user's program makes them; those that may be repeated, as it should."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httpx

from api import commands

TIMEOUT = 40.0  # seconds; an order waits for ten
PATIENCE = 60.0
AGAIN_SECONDS = 0.1
TRY_AGAIN = {HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT}


class Unreachable(Exception):
    """Nobody knows whether the service saw the call."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The status, the body as Python has JSON, and the headers."""

    status: int
    body: Any
    headers: Mapping[str, str]


class Client:
    """Calls one service with these headers, for any number of threads."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        """`headers` may carry a token."""
        self.headers = headers
        self._http = httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT, trust_env=False)

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def call(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Call once; raises `Unreachable`, and repeats nothing."""
        try:
            response = self._http.request(method, path, json=body, headers=headers)
            told = response.json() if response.content else None
            return Answer(response.status_code, told, response.headers)
        except (httpx.HTTPError, ValueError) as error:
            raise Unreachable(str(error)) from error

    def insist(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[Answer, int]:
        """Repeat a call that may be repeated until somebody answers; returns how often it went."""
        deadline = time.monotonic() + PATIENCE
        tries = 0
        while True:
            tries += 1
            try:
                answer = self.call(method, path, body, headers)
                if answer.status not in TRY_AGAIN:
                    return answer, tries
                problem = str(answer.body)
            except Unreachable as error:
                problem = str(error)
            if time.monotonic() > deadline:
                raise commands.Refused(f"{method} {path}: no answer in {PATIENCE:g} s: {problem}")
            time.sleep(AGAIN_SECONDS)

    def get(self, path: str) -> Any:
        """Return what the service says; `Refused` with its words where it does not."""
        answer, _ = self.insist("GET", path)
        return _good("GET", path, answer)

    def made(self, path: str, body: Mapping[str, Any]) -> Any:
        """Return what the service has made; `Refused` with its words where it did not."""
        return _good("POST", path, self.call("POST", path, body))


def _good(method: str, path: str, answer: Answer) -> Any:
    if answer.status >= HTTPStatus.MULTIPLE_CHOICES:
        raise commands.Refused(f"{method} {path} answered {answer.status}: {answer.body}")
    return answer.body
