"""Idle polls wait at their connection; everything else goes the ordinary way."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import orjson
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn import Config
from uvicorn.server import ServerState

from api import models, parking
from api.embedded import EmbeddedValkey
from api.keys import Agent as KnownAgent
from api.keys import digest_of
from api.longpoll import LongPoll
from api.metrics import Metrics
from api.middleware import AccessLog
from api.parking import LONGEST_HEAD, ROUTE, Parking, read
from tests.api.world import PATIENCE, Agent, Service, User, serving, until

AGENT_ID = UUID("0190b6a0-0000-7000-8000-000000000001")
KEY = "fxa_" + "k" * 43


def head(
    query: str = "wait=25",
    *more: str,
    key: str = KEY,
    method: str = "GET",
    agent: object = AGENT_ID,
) -> bytes:
    lines = [f"{method} /api/v1/agents/{agent}/jobs/next?{query} HTTP/1.1", "Host: x", *more]
    return "\r\n".join([*lines, f"X-Agent-Key: {key}", "", ""]).encode()


def test_a_plain_poll_is_read() -> None:
    request_id = uuid4()
    asked = read(head(f"wait=2.5&ack=1&request_id={request_id}", "Connection: keep-alive"))
    assert asked is not None
    assert (asked.agent_id, asked.digest) == (AGENT_ID, digest_of(KEY))
    assert (asked.wait, asked.request_id) == (2.5, request_id)
    assert (asked.begins, asked.most) == (False, None)


@pytest.mark.parametrize(
    "query,begins,most",
    [("wait=25", True, None), ("wait=25&ack=0", True, None), ("wait=25&ack=1&max=1", False, 1)],
)
def test_a_poll_says_what_its_answer_is(query: str, begins: bool, most: int | None) -> None:  # noqa: FBT001
    asked = read(head(query))
    assert asked is not None
    assert (asked.begins, asked.most) == (begins, most)


@pytest.mark.parametrize(
    "data",
    {
        "no wait": head("ack=1"),
        "no waiting": head("wait=0"),
        "too long": head("wait=31"),
        "in another order": head("ack=1&wait=5"),
        "something unknown": head("wait=5&most=3"),
        "a number that is none": head("wait=nan"),
        "another method": head(method="HEAD"),
        "no agent": head(agent="x"),
        "no key": head(key=""),
        "two keys": head("wait=25", "X-Agent-Key: other"),
        "a body": head("wait=25", "Content-Length: 2") + b"{}",
        "a body in pieces": head("wait=25", "Transfer-Encoding: chunked"),
        "a page's": head("wait=25", "Origin: https://example.org"),
        "with an id": head("wait=25", "X-Request-ID: mine"),
        "the last of its connection": head("wait=25", "Connection: close"),
        "not all of it": head()[:-2],
        "more than one": head() + head(),
        "without a host": head().replace(b"Host", b"Post"),
        "HTTP/1.0": head().replace(b"HTTP/1.1", b"HTTP/1.0"),
        "a line that goes on": head("wait=25", "A: b\r\n c"),
        "a long one": head("wait=25", "A: " + LONGEST_HEAD * "b"),
    }.items(),
    ids=lambda item: item[0],
)
def test_others_go_the_ordinary_way(data: tuple[str, bytes]) -> None:
    assert read(data[1]) is None


class Connection:
    """A kept connection that says exactly what it is told to."""

    def __init__(self, service: Service) -> None:
        address = urlsplit(service.address)
        self._socket = socket.create_connection((address.hostname, address.port), timeout=PATIENCE)
        self._came = b""

    def close(self) -> None:
        self._socket.close()

    def say(self, data: bytes) -> None:
        self._socket.sendall(data)

    def ended(self) -> bool:
        return not self._came and self._socket.recv(1) == b""

    def answer(self) -> tuple[int, dict[str, str], object]:
        """Return status, headers and body of the next answer."""
        lines = self._until(rb"\r\n\r\n").decode().split("\r\n")
        headers = {name.lower(): value for name, value in (x.split(": ", 1) for x in lines[1:-2])}
        length = int(headers["content-length"])
        body = self._until(rb"(?s).{%d}" % length)
        return int(lines[0].split()[1]), headers, orjson.loads(body)

    def _until(self, pattern: bytes) -> bytes:
        while not (found := re.search(pattern, self._came)):
            piece = self._socket.recv(4096)
            assert piece, self._came
            self._came += piece
        came, self._came = self._came[: found.end()], self._came[found.end() :]
        return came


@contextmanager
def connected(service: Service) -> Iterator[Connection]:
    connection = Connection(service)
    try:
        yield connection
    finally:
        connection.close()


def asks(agent: Agent, query: str = "wait=30", *more: str) -> bytes:
    return head(query, *more, key=agent.key, agent=agent.agent_id)


def waiting(service: Service) -> int:
    found = re.search(r"^api_polls_waiting (\d+)", service.http.get("/metrics").text, re.MULTILINE)
    assert found
    return int(found[1])


def test_one_connection_asks_again_and_again(owner: User, agent: Agent) -> None:
    with connected(agent.service) as connection:
        for _ in range(3):
            connection.say(asks(agent, "wait=0.1"))
            status, headers, body = connection.answer()
            assert (status, body) == (200, {"no_jobs": True})
            assert headers["content-type"] == "application/json"
            assert re.fullmatch("[0-9a-f]{32}", headers["x-request-id"])
            assert headers["date"]
        job_id = owner.enqueue(agent_id=str(agent.agent_id))
        connection.say(asks(agent))
        assert connection.answer()[2]["job_id"] == str(job_id)  # type: ignore[index]


def test_a_job_comes_to_one_who_waits_and_the_next_one_too(owner: User, agent: Agent) -> None:
    with connected(agent.service) as connection:
        for _ in range(3):
            connection.say(asks(agent))
            until(lambda: waiting(agent.service) > 0)
            job_id = owner.enqueue(agent_id=str(agent.agent_id))
            status, _, job = connection.answer()
            assert status == 200
            assert job["job_id"] == str(job_id)  # type: ignore[index]
            assert job["status"] == "running"  # type: ignore[index]
            assert agent.result(job_id).json() == {"acknowledged": True}


def test_what_a_poll_brings_is_answered_alike_where_it_waits_and_by_the_ordinary_way(
    owner: User, agent: Agent
) -> None:
    """With `wait=0`, and an order that is to be begun first, it is the endpoint that answers."""
    asked = [
        ("wait=30", "get_account", "running"),
        ("wait=0", "get_account", "running"),
        ("wait=30&ack=1", "get_account", "claimed"),
        ("wait=0&ack=1", "get_account", "claimed"),
        ("wait=30", "trade", "running"),
        ("wait=30&ack=1", "trade", "claimed"),
    ]
    with connected(agent.service) as connection:
        for query, job_type, status in asked:
            job_id = owner.enqueue(job_type, agent_id=str(agent.agent_id))
            connection.say(asks(agent, query))
            code, headers, job = connection.answer()
            assert isinstance(job, dict)
            assert (code, job["job_id"], job["status"]) == (200, str(job_id), status)
            assert job.keys() == models.AgentJob.model_fields.keys()
            assert {*headers} == {"date", "content-length", "content-type", "x-request-id"}
            assert owner.job(job_id)["status"] == status
            assert agent.result(job_id, lease_epoch=job["lease_epoch"]).status_code == 200


def test_a_list_is_answered_where_the_poll_waits(owner: User, agent: Agent) -> None:
    made = [str(owner.enqueue(agent_id=str(agent.agent_id))) for _ in range(3)]
    with connected(agent.service) as connection:
        got: list[str] = []
        while len(got) < len(made):
            connection.say(asks(agent, "wait=30&ack=1&max=2"))
            answer: Any = connection.answer()[2]
            got += [job["job_id"] for job in answer["jobs"]]
    assert got == made


def test_a_job_that_comes_leaves_a_line_in_the_log_and_an_idle_poll_none(
    platform_url: str, valkey: EmbeddedValkey
) -> None:
    with serving(platform_url, valkey.url) as service:
        owner = service.user()
        agent = owner.pair()
        owner.enqueue(agent_id=str(agent.agent_id))
        with connected(service) as connection:
            connection.say(asks(agent))
            _, headers, _ = connection.answer()
            connection.say(asks(agent, "wait=0.1"))
            assert connection.answer()[2] == {"no_jobs": True}
        log = service.stop()
    line = rf"GET {re.escape(ROUTE)} 200 [0-9.]+ms {headers['x-request-id']}"
    assert re.search(line, log)
    assert len(re.findall(re.escape(ROUTE), log)) == 1


def test_who_asks_for_two_things_at_once_gets_both_answers(owner: User, agent: Agent) -> None:
    with connected(agent.service) as connection:
        connection.say(asks(agent))
        until(lambda: waiting(agent.service) > 0)
        connection.say(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        job_id = owner.enqueue(agent_id=str(agent.agent_id))
        assert connection.answer()[2]["job_id"] == str(job_id)  # type: ignore[index]
        assert connection.answer()[0] == 200


def test_a_question_in_pieces_is_answered(agent: Agent) -> None:
    with connected(agent.service) as connection:
        for piece in re.findall(rb"(?s).{1,50}", asks(agent, "wait=0.1")):
            connection.say(piece)
        assert connection.answer()[2] == {"no_jobs": True}


def test_wrong_keys_are_refused_as_ever(agent: Agent) -> None:
    with connected(agent.service) as connection:
        for _ in range(2):
            connection.say(head("wait=5", agent=agent.agent_id))
            status, headers, body = connection.answer()
            assert (status, body["code"]) == (401, "agent_key_invalid")  # type: ignore[index]
            assert headers["content-type"] == "application/problem+json"
        connection.say(asks(agent, "wait=0.1"))
        assert connection.answer()[2] == {"no_jobs": True}


def test_a_revoked_agent_is_answered_and_then_refused(owner: User) -> None:
    agent = owner.pair()
    with connected(agent.service) as connection:
        connection.say(asks(agent))
        until(lambda: waiting(agent.service) > 0)
        assert owner.delete(agent.path).status_code == 200
        assert connection.answer()[2] == {"no_jobs": True}
        connection.say(asks(agent))
        status, _, body = connection.answer()
        assert (status, body["code"]) == (401, "agent_key_revoked")  # type: ignore[index]


def test_a_job_for_a_key_that_ended_while_it_waited_waits_again(owner: User, agent: Agent) -> None:
    ended = "select from mt5_agents where id = %s and previous_key_until < now()"
    agent.service.rows(
        "update mt5_agents set pairing_key_digest = %s, previous_key_digest = pairing_key_digest,"
        " previous_key_until = now() + interval '8 seconds' where id = %s returning id",
        digest_of(KEY),
        agent.agent_id,
    )
    with connected(agent.service) as connection:
        connection.say(asks(agent))
        until(lambda: waiting(agent.service) > 0)
        until(lambda: bool(agent.service.rows(ended, agent.agent_id)))
        job_id = owner.enqueue(agent_id=str(agent.agent_id))
        assert connection.answer()[0] == 401
    ready = "select lost from jobengine.ready where job_id = %s and lease_epoch = 1"
    until(lambda: bool(agent.service.rows(ready, job_id)))
    assert agent.service.rows(ready, job_id) == [{"lost": 0}]  # given back, not run out


class Transport(asyncio.Transport):
    """A client's end that nobody reads from."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Keep nothing."""

    def close(self) -> None:
        """Stay."""

    def is_closing(self) -> bool:
        return False


async def nobody(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer nothing."""


async def connection_of_agents(app: ASGIApp = nobody) -> Parking:
    """Return a connection to a service that knows every key."""
    agent = KnownAgent(AGENT_ID, uuid4(), ("any",))
    service = SimpleNamespace(
        keys=SimpleNamespace(known=lambda *_: agent, holds=lambda *_: True),
        presence=SimpleNamespace(seen=lambda _: None),
        longpoll=LongPoll(None),  # type: ignore[arg-type]
    )
    made = Parking(Config(app, proxy_headers=False), ServerState(), {"service": service})
    made.connection_made(Transport())
    return made


def test_who_does_not_read_gets_no_answers_that_heap_up() -> None:
    async def run() -> None:
        connection = await connection_of_agents()
        connection.pause_writing()
        connection.data_received(head())
        assert connection.cycle is not None  # the ordinary way, which waits for the client
        other = await connection_of_agents()
        other.data_received(head())
        assert other.cycle is None

    asyncio.run(run())


def test_the_time_that_a_poll_waited_counts_when_a_job_comes() -> None:
    async def run() -> None:
        metrics = Metrics()
        connection = await connection_of_agents(AccessLog(nobody, metrics))
        connection.data_received(head())
        connection._began -= 1000
        connection.shutdown()  # so it goes on
        await asyncio.gather(*connection.tasks)
        assert metrics.seconds["-"] >= 1000

    asyncio.run(run())


def test_a_job_that_cannot_be_told_is_left_to_the_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is raised at the connection would fail all whose jobs came by the same claim."""

    def fails(*_: object, **__: object) -> None:
        raise ValueError("too deep")

    async def run() -> None:
        connection = await connection_of_agents()
        connection.data_received(head())
        waiter = connection._waiter
        assert waiter is not None
        monkeypatch.setattr(parking, "given_all", fails)
        job = SimpleNamespace(started_at=datetime.now(UTC), run_at=None)
        assert waiter.resolve([job])  # type: ignore[list-item]
        assert connection.cycle is not None  # the ordinary way
        await asyncio.gather(*connection.tasks)

    asyncio.run(run())


def test_an_older_poll_on_another_connection_is_answered(owner: User, agent: Agent) -> None:
    with connected(agent.service) as older, connected(agent.service) as newer:
        older.say(asks(agent))
        until(lambda: waiting(agent.service) > 0)
        newer.say(asks(agent))
        assert older.answer()[2] == {"no_jobs": True}
        job_id = owner.enqueue(agent_id=str(agent.agent_id))
        assert newer.answer()[2]["job_id"] == str(job_id)  # type: ignore[index]


def test_who_leaves_waits_no_more(agent: Agent) -> None:
    with connected(agent.service) as connection:
        connection.say(asks(agent))
        until(lambda: waiting(agent.service) > 0)
    until(lambda: waiting(agent.service) == 0)


def test_idle_polls_are_counted_and_silence_ends_the_connection(agent: Agent) -> None:
    def counted() -> int:
        text = agent.service.http.get("/metrics").text
        found = re.search(r'route="[^"]*/jobs/next",status="200"} (\d+)', text)
        return int(found[1]) if found else 0

    before = counted()
    with connected(agent.service) as connection:
        connection.say(asks(agent, "wait=0.1"))
        connection.answer()
        assert counted() == before + 1
        assert connection.ended()  # uvicorn keeps one five seconds


def test_the_end_of_the_service_answers_who_waits(
    platform_url: str, valkey: EmbeddedValkey
) -> None:
    with serving(platform_url, valkey.url) as service:
        agent = service.user().pair()
        with connected(service) as connection:
            connection.say(asks(agent))
            until(lambda: waiting(service) > 0)
            service.stop()
            status, headers, body = connection.answer()
            assert (status, headers["connection"]) == (200, "close")
            assert body == {"no_jobs": True}
            assert connection.ended()
