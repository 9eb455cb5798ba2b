"""Waiting for jobs: all of a process's agents share one claimer, and no job is lost or doubled."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import httpx
import pytest

from api.embedded import EmbeddedValkey
from api.keys import Agent as KnownAgent
from api.longpoll import LongPoll
from api.models.jobs import MOST_JOBS
from tests.api.world import PATIENCE, Agent, User, serving, until

CROWD = 200


def test_one_job_goes_to_the_right_one_of_200_who_wait(owner: User) -> None:
    agents = [owner.pair() for _ in range(CROWD)]
    chosen = agents[137]

    async def wait() -> tuple[str, UUID]:
        limits = httpx.Limits(max_connections=CROWD + 5)
        address = owner.service.address
        async with httpx.AsyncClient(base_url=address, timeout=60, limits=limits) as http:
            polls = [
                asyncio.create_task(
                    http.get(f"{a.path}/jobs/next", headers=a.headers, params={"wait": 30})
                )
                for a in agents
            ]
            await until_waiting(http, CROWD)
            body = {"job_type": "get_account", "agent_id": str(chosen.agent_id)}
            created = await http.post("/api/v1/jobs", headers=owner.headers, json=body)
            assert created.status_code == 201
            answer = await polls[137]
            for poll in polls:
                poll.cancel()
            others = sum(poll.done() and not poll.cancelled() for poll in polls)
            assert others == 1
            return answer.json()["job_id"], UUID(created.json()["job_id"])

    got, made = asyncio.run(wait())
    assert got == str(made)
    assert owner.job(made)["agent_id"] == str(chosen.agent_id)


async def until_waiting(http: httpx.AsyncClient, polls: int) -> None:
    """Return when so many polls wait."""
    async with asyncio.timeout(PATIENCE):
        while f"api_polls_waiting {polls}" not in (await http.get("/metrics")).text:
            pass


def test_a_claim_does_not_bring_all_the_jobs_that_all_who_wait_would_take() -> None:
    async def batches() -> list[int]:
        polls = LongPoll(None)  # type: ignore[arg-type]
        for _ in range(CROWD):
            known = KnownAgent(uuid4(), uuid4(), ("any",))
            polls.poll(known, seconds=30, request_id=None, most=MOST_JOBS)
        return [sum(w.most for w in polls._batch()) for _ in range(CROWD * MOST_JOBS // 1000)]

    assert asyncio.run(batches()) == [1000] * 20


def test_a_job_for_anybody_goes_to_one_of_those_who_wait(owner: User) -> None:
    agents = [owner.pair() for _ in range(5)]

    async def wait() -> list[str]:
        async with httpx.AsyncClient(base_url=owner.service.address, timeout=60) as http:

            async def asked(agent: Agent, seconds: float) -> httpx.Response:
                query = {"wait": seconds}
                return await http.get(
                    f"{agent.path}/jobs/next", headers=agent.headers, params=query
                )

            polls = [asyncio.create_task(asked(agent, 30)) for agent in agents]
            await http.post("/api/v1/jobs", headers=owner.headers, json={"job_type": "get_account"})
            await asyncio.wait(polls, return_when=asyncio.FIRST_COMPLETED)
            # A newer poll of an agent ends its older one.
            again = [
                asked(agent, 0)
                for agent, poll in zip(agents, polls, strict=True)
                if not poll.done()
            ]
            answers = [*await asyncio.gather(*again), *await asyncio.gather(*polls)]
        return [a.json()["job_id"] for a in answers if "job_id" in a.json()]

    assert len(asyncio.run(wait())) == 1


@contextmanager
def poll(agent: Agent, query: str = "wait=30") -> Iterator[socket.socket]:
    """A poll on a bare socket, which can leave as real clients do."""
    address = urlsplit(agent.service.address)
    with socket.create_connection((address.hostname, address.port), timeout=60) as client:
        client.sendall(
            f"GET {agent.path}/jobs/next?{query} HTTP/1.1\r\nHost: x\r\n"
            f"X-Agent-Key: {agent.key}\r\n\r\n".encode()
        )
        yield client


def until_answered_without_a_job(client: socket.socket) -> None:
    """Read on till the body is there: it may come behind the headers."""
    came = b""
    while b'{"no_jobs":true}' not in came:
        piece = client.recv(4096)
        assert piece, came
        came += piece


def polls_waiting(agent: Agent) -> int:
    (line,) = [
        line
        for line in agent.service.http.get("/metrics").text.splitlines()
        if line.startswith("api_polls_waiting ")
    ]
    return int(line.split()[1])


def test_a_client_that_leaves_loses_no_job(owner: User) -> None:
    for _ in range(10):
        agent = owner.pair()
        comes_and_leaves(agent)
        job_id = owner.enqueue(agent_id=str(agent.agent_id))
        assert agent.next(wait=10)["job_id"] == str(job_id)


def comes_and_leaves(agent: Agent) -> None:
    with poll(agent):
        until(lambda: polls_waiting(agent) > 0)


def test_claimed_jobs_are_counted_by_the_kind_of_their_queue(owner: User, agent: Agent) -> None:
    def claimed() -> int:
        text = agent.service.http.get("/metrics").text
        assert str(agent.agent_id) not in text
        found = re.search(r'^jobengine_claimed_total{queue="agent"} (\d+)', text, re.MULTILINE)
        return int(found[1]) if found else 0

    before = claimed()
    for _ in range(3):
        owner.enqueue(agent_id=str(agent.agent_id))
        agent.next()
    assert claimed() == before + 3


def test_a_newer_poll_of_the_agent_answers_the_older(agent: Agent) -> None:
    with poll(agent) as older:
        until(lambda: polls_waiting(agent) > 0)
        assert agent.next() == {"no_jobs": True}
        until_answered_without_a_job(older)


def test_the_same_request_id_gets_the_same_job_again(owner: User, agent: Agent) -> None:
    for _ in range(2):
        owner.enqueue(agent_id=str(agent.agent_id))
    request_id = str(uuid4())
    first = agent.next(ack=1, request_id=request_id)
    again = agent.next(ack=1, request_id=request_id)
    plain = agent.next(request_id=request_id)
    assert first["job_id"] == again["job_id"] == plain["job_id"]
    assert first["lease_epoch"] == again["lease_epoch"] == plain["lease_epoch"]
    assert agent.next(ack=1, request_id=str(uuid4()))["job_id"] != first["job_id"]


def test_one_question_brings_several_jobs(owner: User, agent: Agent) -> None:
    made = [str(owner.enqueue(agent_id=str(agent.agent_id))) for _ in range(4)]
    asked: dict[str, str | float] = {"ack": 1, "request_id": str(uuid4()), "max": 3}
    jobs = agent.next(**asked)["jobs"]
    assert [job["job_id"] for job in jobs] == made[:3]
    assert {job["status"] for job in jobs} == {"claimed"}
    again = agent.next(first=1, **asked)["jobs"]  # the service knows better
    leases = {(job["job_id"], job["lease_epoch"]) for job in jobs}
    assert {(job["job_id"], job["lease_epoch"]) for job in again} == leases
    rest = agent.next(ack=1, request_id=str(uuid4()), first=1, max=3)
    assert [job["job_id"] for job in rest["jobs"]] == made[3:]
    assert agent.next(ack=1, max=3) == {"no_jobs": True}


def test_several_jobs_that_nobody_reads_go_back(owner: User, agent: Agent) -> None:
    with poll(agent, "wait=30&ack=1&max=2"):
        until(lambda: polls_waiting(agent) > 0)
    made = {str(owner.enqueue(agent_id=str(agent.agent_id))) for _ in range(2)}
    got: set[str] = set()
    while got != made:
        got |= {job["job_id"] for job in agent.next(wait=10, ack=1, max=2)["jobs"]}


@pytest.mark.parametrize("query", [{"max": 2}, {"ack": 1, "max": 0}, {"ack": 1, "max": 101}])
def test_too_many_jobs_cannot_be_asked_for(agent: Agent, query: dict[str, int]) -> None:
    """Nor more than one where the answer itself begins it."""
    answer = agent.get(f"{agent.path}/jobs/next", wait=5, **query)
    assert answer.status_code == 422
    assert "max" in answer.text


def test_a_lost_answer_is_given_again(owner: User, agent: Agent) -> None:
    job_id = owner.enqueue("trade", agent_id=str(agent.agent_id), input_data={"symbol": "EURUSD"})
    request_id = str(uuid4())
    with poll(agent, f"ack=1&request_id={request_id}"):
        # Claimed, and the answer is never read.
        until(lambda: owner.job(job_id)["status"] == "claimed")
    assert agent.next(ack=1, request_id=request_id)["job_id"] == str(job_id)


def test_waiting_polls_are_answered_when_the_service_ends(
    platform_url: str, valkey: EmbeddedValkey
) -> None:
    with serving(platform_url, valkey.url) as service:
        agent = service.user().pair()
        with poll(agent) as waiting:
            until(lambda: polls_waiting(agent) > 0)
            log = service.stop()
            until_answered_without_a_job(waiting)
    assert "Application shutdown complete" in log
    assert "Traceback" not in log
