"""Calls of the service: kept connections, and which answers are worth another try.

CallError
├── Unreachable   no answer that means anything; nobody knows whether the call arrived
└── KeyRefused    401 or 403: this agent is not let in any more, nothing else will help
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Self

import httpx

from forex_agent import __version__
from forex_agent.backoff import Backoff
from forex_agent.clock import ServerClock, elapsed

log = logging.getLogger("forex_agent.client")

if find_spec("sniffio") is None:
    # httpcore tries to import it several times a call, and a module that is missing is looked for
    # on the disk each time: a tenth of the agent's time at work on orders. This says it is missing.
    sys.modules["sniffio"] = None  # type: ignore[assignment]

CALL_SECONDS = 20.0  # a call without a wait of its own; slower is taken for lost
WAIT_MARGIN_SECONDS = 15.0  # on top of what a long-poll waits
LONGEST_RETRY_AFTER = 300.0
KEPT_SECONDS = 60.0  # the service closes idle connections on its own; httpx notices
_TRY_AGAIN = frozenset({408, 425, 429})  # and all from 500 on


class CallError(Exception):
    """The call brought no answer to work with."""


class Unreachable(CallError):
    """Nobody knows whether the call arrived."""


class KeyRefused(CallError):
    """The service does not let this agent in."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer: its text is JSON; `retry_after` in seconds, where the service asked for it."""

    status: int
    text: str
    retry_after: float | None = None

    @property
    def ok(self) -> bool:
        """Whether the call was taken."""
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES

    @property
    def passing(self) -> bool:
        """Whether the same call may be answered otherwise later."""
        return self.status >= HTTPStatus.INTERNAL_SERVER_ERROR or self.status in _TRY_AGAIN

    @property
    def from_service(self) -> bool:
        """Whether the service said it, and not a proxy: each of its answers is a JSON object."""
        try:
            body = self.body
        except ValueError:
            return False
        return isinstance(body, dict) and (self.ok or "code" in body)

    @property
    def body(self) -> Any:
        """The JSON of it."""
        return json.loads(self.text)

    @property
    def code(self) -> str:
        """The short code of a refusal, for logs."""
        try:
            return str(self.body["code"])
        except (ValueError, TypeError, KeyError):
            return str(self.status)


class Client:
    """One service with one key; use it as `async with`."""

    def __init__(
        self, url: str, headers: Mapping[str, str], clock: ServerClock | None = None
    ) -> None:
        """`headers` carry the key or token; they are never logged."""
        self.url = url
        self.clock = clock or ServerClock()
        self.contact = elapsed()
        """When the service last answered."""
        agent = {"User-Agent": f"forex-agent/{__version__}", "Content-Type": "application/json"}
        limits = httpx.Limits(max_keepalive_connections=8, keepalive_expiry=KEPT_SECONDS)
        self._http = httpx.AsyncClient(
            base_url=url, headers={**agent, **headers}, limits=limits, timeout=CALL_SECONDS
        )

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.__aexit__(kind, error, trace)

    async def call(
        self, method: str, path: str, body: object = None, *, wait: float | None = None
    ) -> Answer:
        """Call once; raises `Unreachable` or `KeyRefused`, every other answer is returned.

        `wait` is how long the service may take on purpose. What a proxy answers in the service's
        place, such as a page, a redirect or a 404 of its own, is nobody's answer.
        """
        timeout = CALL_SECONDS if wait is None else wait + WAIT_MARGIN_SECONDS
        content = None if body is None else json.dumps(body, allow_nan=False).encode()
        asked = elapsed()
        try:
            response = await self._http.request(method, path, content=content, timeout=timeout)
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise Unreachable(f"{type(error).__name__}: {error}") from error
        answer = Answer(response.status_code, response.text, _retry_after(response))
        if not answer.passing and not answer.from_service:
            raise Unreachable(f"{method} {path} answered {answer.status}, and not by the service")
        if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise KeyRefused(f"{method} {path} answered {answer.status} {answer.code}")
        self.contact = elapsed()
        if not self.clock.known:
            _learn_coarsely(self.clock, response, asked)
        return answer

    async def insist(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        wait: float | None = None,
        again: Callable[[], bool] = lambda: True,
        longest: float = 60.0,
    ) -> Answer:
        """Call until an answer comes that no repetition would change; raises `KeyRefused`.

        Pauses are up to `longest` seconds. Gives up, with `Unreachable`, once `again` says no.
        """
        backoff = Backoff(longest)
        while True:
            try:
                answer = await self.call(method, path, body, wait=wait)
                if not answer.passing:
                    return answer
                told, asked_for = f"{answer.status} {answer.code}", answer.retry_after
            except Unreachable as error:
                told, asked_for = str(error), None
            if not again():
                raise Unreachable(told)
            pause = backoff.next(asked_for)
            log.log(
                logging.WARNING if pause else logging.DEBUG,
                "%s %s: %s; again in %.1f s",
                method,
                path.partition("?")[0],
                told,
                pause,
            )
            await asyncio.sleep(pause)


def _retry_after(response: httpx.Response) -> float | None:
    try:
        return min(LONGEST_RETRY_AFTER, max(0.0, float(response.headers["Retry-After"])))
    except (KeyError, ValueError):
        return None


def _learn_coarsely(clock: ServerClock, response: httpx.Response, asked: float) -> None:
    """Take the time from the header, to the second, until an answer tells it better."""
    try:
        moment = parsedate_to_datetime(response.headers["Date"])
    except (KeyError, ValueError):
        return
    clock.learn(moment.timestamp(), asked=asked)
