"""Calls of the service: kept connections, and which answers are worth another try.

CallError
├── Unreachable   no answer that means anything; nobody knows whether the call arrived
└── KeyRefused    401 or 403: this agent is not let in any more, nothing else will help
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

import aiohttp

from forex_agent import __version__
from forex_agent.backoff import Backoff
from forex_agent.clock import ServerClock, elapsed
from forex_agent.http import TRANSPORT_ERRORS, service_session

log = logging.getLogger("forex_agent.client")

CALL_SECONDS = 20.0  # a call without a wait of its own; slower is taken for lost
WAIT_MARGIN_SECONDS = 15.0  # on top of what a long-poll waits
SLOWEST_BYTES = 8_000  # a second; a report of 10,000 candles has a megabyte
LONGEST_RETRY_AFTER = 300.0
_TRY_AGAIN = frozenset({408, 425, 429})  # and all from 500 on


class CallError(Exception):
    """The call brought no answer to work with."""


class Unreachable(CallError):
    """Nobody knows whether the call arrived."""


class KeyRefused(CallError):
    """The service does not let this agent in."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer; `body` is the JSON of `text`, None where it is none.

    `retry_after` in seconds, where the service asked for it.
    """

    status: int
    text: str
    body: Any
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
        return isinstance(self.body, dict) and (self.ok or "code" in self.body)

    @property
    def code(self) -> str:
        """The short code of a refusal, for logs."""
        return str(self.body["code"] if self.from_service and not self.ok else self.status)


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
        self._headers = {**agent, **headers}
        self._http: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        self._http = service_session(self.url, self._headers)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.close()

    async def call(
        self, method: str, path: str, body: object = None, *, wait: float | None = None
    ) -> Answer:
        """Call once; raises `Unreachable` or `KeyRefused`, every other answer is returned.

        `wait` is how long the service may take on purpose. What a proxy answers in the service's
        place, such as a page, a redirect or a 404 of its own, is nobody's answer.
        """
        content = None if body is None else json.dumps(body, allow_nan=False).encode()
        asked = elapsed()
        answer, date = await self._ask(method, path, content, patience(wait, content))
        if not answer.passing and not answer.from_service:
            raise Unreachable(f"{method} {path} answered {answer.status}, and not by the service")
        if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise KeyRefused(f"{method} {path} answered {answer.status} {answer.code}")
        self.contact = elapsed()
        if not self.clock.known:
            _learn_coarsely(self.clock, date, asked)
        return answer

    async def _ask(
        self, method: str, path: str, content: bytes | None, seconds: float
    ) -> tuple[Answer, str | None]:
        """Return the answer, whosever it is, and its Date; raises `Unreachable`."""
        within = aiohttp.ClientTimeout(total=seconds)
        try:
            async with self._http.request(
                method, self.url + path, data=content, timeout=within, allow_redirects=False
            ) as response:
                text = (await response.read()).decode(errors="replace")
        except TRANSPORT_ERRORS as error:
            raise Unreachable(f"{type(error).__name__}: {error}") from error
        after = _seconds(response.headers.get("Retry-After"))
        return Answer(response.status, text, _json(text), after), response.headers.get("Date")

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


def patience(wait: float | None, content: bytes | None) -> float:
    """Return how many seconds a call may take from its beginning to the end of its answer."""
    seconds = CALL_SECONDS if wait is None else wait + WAIT_MARGIN_SECONDS
    return seconds + len(content or b"") / SLOWEST_BYTES


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _seconds(text: str | None) -> float | None:
    """Read a Retry-After; one that is a date says nothing."""
    try:
        return None if text is None else min(LONGEST_RETRY_AFTER, max(0.0, float(text)))
    except ValueError:
        return None


def _learn_coarsely(clock: ServerClock, date: str | None, asked: float) -> None:
    """Take the time from the header, to the second, until an answer tells it better."""
    if date is not None:
        with contextlib.suppress(ValueError):
            clock.learn(parsedate_to_datetime(date).timestamp(), asked=asked)
