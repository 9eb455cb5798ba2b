"""Polls that wait cost a connection and little else: uvicorn's HTTP, with a shortcut for them.

Of 10,000 agents that wait, 450 polls a second end without a job, and another 450 begin. By way of
HTTP parser, task, ASGI and endpoint each took the service 0.95 ms, a bare ASGI application 0.3.
Here a poll is recognised by its bytes, its key by what is known of its agent, and its answer is
written as it is, with a job or without, where nothing is to be done before. Everything else goes
the ordinary way, and so does a poll whose job is to be begun first: its bytes are handed to uvicorn
as if they had just come, and the endpoint finds what was begun (`BEGUN`). No idle poll leaves a
line in the access log; the counters have it.
"""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from api.endpoint import rendered
from api.handed import given_all
from api.keys import Agent, digest_of
from api.longpoll import LONGEST_WAIT, patience
from api.middleware import Record, new_id, note
from api.models.jobs import MOST_JOBS
from api.places import Waiter
from api.protocol import BEGAN, Http

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from api.service import Service

BEGUN = "begun"  # in the state of a request: the poll that was begun here; who takes it ends it
ROUTE = "/api/v1/agents/{agent_id}/jobs/next"
LONGEST_HEAD = 4096  # bytes; a longer one goes the ordinary way

_UUID = rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_HEAD = re.compile(
    rb"GET /api/v1/agents/(" + _UUID + rb")/jobs/next"
    rb"\?wait=(\d{1,4}(?:\.\d{1,6})?)(?:&ack=([01]))?(?:&request_id=(" + _UUID + rb"))?"
    rb"(?:&first=([01]))?(?:&max=(\d{1,3}))? HTTP/1\.1\r\n"
    rb"((?:[A-Za-z0-9-]+:[\t -~]*\r\n)+)\r\n"
)
# What changes how a request is read, or what its answer holds, is for the ordinary way.
_OTHERS = {
    *(b"content-length", b"transfer-encoding", b"expect", b"upgrade", b"x-request-id", b"origin"),
    *(b"access-control-request-method", b"access-control-request-headers", b"te", b"trailer"),
}
_OK = 200
_NO_JOBS = b'{"no_jobs":true}'
_leaving: set[asyncio.Task[None]] = set()


@dataclass(frozen=True, slots=True)
class Asked:
    """A poll as it came."""

    data: bytes
    agent_id: UUID
    digest: bytes
    wait: float
    request_id: UUID | None
    first: bool
    most: int | None  # a list of so many jobs, instead of one job
    begins: bool  # the answer is the word to begin


def read(data: bytes) -> Asked | None:
    """Read one whole poll and nothing else; None for what goes the ordinary way."""
    if len(data) > LONGEST_HEAD or (found := _HEAD.fullmatch(data)) is None:
        return None
    agent_id, wait, ack, request_id, first, most, lines = found.groups()
    key = _key(lines)
    if key is None or not 0 < (seconds := float(wait)) <= LONGEST_WAIT:
        return None
    if most is not None and not (ack == b"1" and 0 < int(most) <= MOST_JOBS):
        return None
    request = UUID(request_id.decode()) if request_id else None
    return Asked(
        data,
        UUID(agent_id.decode()),
        digest_of(key),
        seconds,
        request,
        first=first == b"1",
        most=int(most) if most else None,
        begins=ack != b"1",
    )


def _key(lines: bytes) -> str | None:
    """Return the key among the headers; None where one of them has a say in what follows."""
    headers: dict[bytes, bytes] = {}
    for line in lines.splitlines():
        name, _, value = line.partition(b":")
        name = name.lower()
        if name in headers or name in _OTHERS:
            return None
        headers[name] = value.strip()
    if b"host" not in headers or headers.get(b"connection", b"keep-alive").lower() != b"keep-alive":
        return None
    key = headers.get(b"x-agent-key")
    return key.decode() if key else None


class Parking(Http):
    """One connection; of its polls at most one waits here."""

    def __init__(self, *args: Any, **options: Any) -> None:
        """Nothing waits yet."""
        super().__init__(*args, **options)
        self._inside = False  # a request has begun and not ended
        self._last: Asked | None = None  # mostly the same bytes come again
        self._asked: Asked | None = None  # what waits here
        self._waiter: Waiter | None = None
        self._began = 0.0

    @property
    def _service(self) -> Service:
        service: Service = self.app_state["service"]
        return service

    # What asyncio and uvicorn call

    def data_received(self, data: bytes) -> None:
        if self._asked is not None:  # it speaks before it was answered
            self._go_on()
        elif self._between() and not self.flow.write_paused:  # else its answers would heap up
            asked = self._last if self._last and self._last.data == data else read(data)
            if asked is not None:
                self._park(asked)
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        self._inside = True
        super().on_message_begin()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._inside = False

    def connection_lost(self, exc: Exception | None) -> None:
        waiter = self._end()
        if waiter is not None:
            leaving = self.loop.create_task(self._service.longpoll.leave(waiter))
            _leaving.add(leaving)
            leaving.add_done_callback(_leaving.discard)
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Let whoever is only being looked up be answered before the connection ends."""
        if self._asked is not None:
            self._go_on()
        super().shutdown()

    # A poll that waits

    def _between(self) -> bool:
        """Tell whether the next byte begins a request."""
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request
        return not self._inside and (cycle is None or cycle.response_complete)

    def _park(self, asked: Asked) -> None:
        self._unset_keepalive_if_required()
        self._asked = self._last = asked
        self._began = time.monotonic()
        agent = self._service.keys.known(asked.agent_id, asked.digest)
        if agent is not None:
            self._wait(asked, agent)
            return
        if self.client and self._service.keys.barred(asked.agent_id, self.client[0]):
            self._go_on()
            return
        learned = self._service.keys.learn(asked.agent_id)
        learned.add_done_callback(lambda _: self._learned(asked))

    def _learned(self, asked: Asked) -> None:
        if self._asked is not asked or self._waiter is not None:
            return
        agent = self._service.keys.known(asked.agent_id, asked.digest)
        if agent is None:
            self._go_on()
        else:
            self._wait(asked, agent)

    def _wait(self, asked: Asked, agent: Agent) -> None:
        self._service.presence.seen(agent.agent_id)
        self._waiter = self._service.longpoll.poll(
            agent,
            seconds=patience(asked.wait),
            request_id=asked.request_id,
            first=asked.first,
            most=asked.most or 1,
            begins=asked.begins,
            told=self._answered,
        )
        if self._waiter.answer.done():
            self._answered()

    def _answered(self) -> None:
        """The poll is over: answer it here, unless a job is to be begun or a key looked up."""
        asked, waiter = self._asked, self._waiter
        if asked is None or waiter is None:
            return
        if self._came() is None:
            self._say(_NO_JOBS, logged=False)
        elif self._is_ready(asked, waiter) and (body := self._jobs(asked, waiter)):
            self._say(body, logged=True)
        else:
            self._go_on()

    def _is_ready(self, asked: Asked, waiter: Waiter) -> bool:
        """Tell whether what came can be given at once: begun where it is to be, the key certain."""
        if waiter.answer.exception() or self.transport.is_closing():
            return False
        if asked.begins and not all(job.started_at for job in waiter.answer.result()):
            return False
        return self._service.keys.holds(asked.agent_id, asked.digest)

    def _jobs(self, asked: Asked, waiter: Waiter) -> bytes | None:
        """Return the jobs as they are sent; None where that fails, and the endpoint is to say so.

        Raised here, it would fail everybody whose jobs came by the same claim.
        """
        jobs, listed = waiter.answer.result(), asked.most is not None
        try:
            return rendered(given_all(self._service, waiter.agent, jobs, listed=listed))
        except Exception:  # noqa: BLE001 - whatever it is
            return None

    def _came(self) -> object:
        """Return what the poll brought, if it is over: None for no job, its job or its error."""
        if self._waiter is None or not self._waiter.answer.done():
            return None
        return self._waiter.answer.exception() or self._waiter.answer.result() or None

    def _end(self) -> Waiter | None:
        """Let nothing wait here any more; return what did."""
        waiter, self._waiter, self._asked = self._waiter, None, None
        if waiter is not None:
            waiter.told = None
        return waiter

    def _go_on(self) -> None:
        """Go the ordinary way, with what was begun; after a failure begin anew."""
        asked = self._asked
        assert asked is not None
        waiter = self._end()
        state, app = self.app_state, self.app
        if waiter is not None and not (waiter.answer.done() and waiter.answer.exception()):
            self.app_state = {**state, BEGUN: waiter, BEGAN: self._began}
            self.app = partial(self._handed_over, app, waiter)
        super().data_received(asked.data)
        self.app_state, self.app = state, app

    async def _handed_over(
        self, app: ASGIApp, waiter: Waiter, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answer; a poll that no endpoint took, its key being refused, gives its jobs back."""
        try:
            await app(scope, receive, send)
        finally:
            if BEGUN in scope["state"]:
                await self._service.longpoll.leave(waiter)

    def _say(self, body: bytes, *, logged: bool) -> None:
        """Write the answer, and count it."""
        self._end()
        record = Record(new_id(), ROUTE, _OK)
        seconds = time.monotonic() - self._began
        if logged:
            note(self._service.metrics, "GET", record, seconds)
        else:
            self._service.metrics.request("GET", ROUTE, _OK, seconds)
        if not self.transport.is_closing():
            self._write(body, record.request_id)

    def _write(self, body: bytes, request_id: str) -> None:
        headers = [
            *self.server_state.default_headers,
            (b"content-length", b"%d" % len(body)),
            (b"content-type", b"application/json"),
            (b"x-request-id", request_id.encode()),
        ]
        if self._service.longpoll.closed:  # and soon this connection
            headers.append((b"connection", b"close"))
        lines = b"".join(b"%s: %s\r\n" % header for header in headers)
        self.transport.write(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n" + body)
        self.server_state.total_requests += 1
        self.timeout_keep_alive_task = self._service.longpoll.wheel.later(  # type: ignore[assignment]
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )
