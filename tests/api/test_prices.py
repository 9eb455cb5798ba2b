"""R13 and C9: prices go to Redis, under the shared key and under the agent's own."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import pytest
import redis

from api.embedded import EmbeddedValkey
from api.instruments import PRICE_SECONDS
from tests.api.world import Agent, Service, User, problem, server_folder, serving, until

PRICES = {"EURUSD": {"bid": 1.0841, "ask": 1.0843}, "XAUUSD.m": {"bid": 2650.1, "ask": 2650.4}}


@pytest.fixture
def store(valkey: EmbeddedValkey) -> redis.Redis:
    return redis.Redis.from_url(valkey.url)


def push(agent: Agent, prices: Any) -> httpx.Response:
    return agent.post(f"{agent.path}/prices", prices)


def test_r13_prices_are_set_and_published(agent: Agent, store: redis.Redis) -> None:
    with store.pubsub() as heard:  # type: ignore[no-untyped-call]
        heard.psubscribe("prices:*")
        heard.get_message(timeout=10)
        answer = push(agent, PRICES)
        assert (answer.status_code, answer.json()) == (200, {"received": 2, "subscriptions": []})
        messages = [heard.get_message(timeout=10) for _ in range(4)]
    keys = {f"prices:{place}{name}" for name in PRICES for place in ("", f"{agent.agent_id}:")}
    assert {message["channel"].decode() for message in messages} == keys
    for message in messages:
        assert message["data"] == store.get(message["channel"])
        assert 0 < store.ttl(message["channel"]) <= PRICE_SECONDS
        found = json.loads(message["data"])
        assert found.keys() == {"bid", "ask", "ts"}
        assert isinstance(found["ts"], int)
        assert found["bid"] == PRICES[message["channel"].decode().split(":")[-1]]["bid"]


@pytest.mark.parametrize(
    "prices",
    [
        [],
        {"EURUSD": {"bid": 1}},
        {"EURUSD": {"bid": 0, "ask": 1}},
        {"EURUSD": {"bid": -1, "ask": 1}},
        {"EURUSD": {"bid": 2, "ask": 1}},
        {"EURUSD": {"bid": "NaN", "ask": 1}},
        {"EURUSD": {"bid": 1, "ask": "Infinity"}},
        {"": {"bid": 1, "ask": 1}},
        {"EUR USD": {"bid": 1, "ask": 1}},
        {"E" * 33: {"bid": 1, "ask": 1}},
        {"00000000-0000-0000-0000-000000000000:EURUSD": {"bid": 1, "ask": 1}},
        {f"S{n}": {"bid": 1, "ask": 1} for n in range(501)},
    ],
)
def test_prices_out_of_bounds_are_refused_whole(agent: Agent, prices: Any) -> None:
    assert problem(push(agent, prices)) == (422, "invalid")


def test_an_agents_instruments_are_bounded_whatever_they_are_called(
    platform_url: str, valkey: EmbeddedValkey, store: redis.Redis
) -> None:
    """In every process, and one that is refused leaves nothing; another agent has its own."""
    quote = {"bid": 1, "ask": 2}

    def pushed(agent: Agent, *names: str) -> tuple[int, Any]:
        answer = push(agent, dict.fromkeys(names, quote))
        return answer.status_code, answer.json().get("errors")

    rule = "instruments of an agent within seven days: 3 at most"
    refused = (422, [{"field": "body", "rule": rule}])
    with (
        serving(platform_url, valkey.url, PRICE_INSTRUMENTS="3") as one,
        serving(platform_url, valkey.url, PRICE_INSTRUMENTS="3") as two,
    ):
        agent = one.user().pair()
        assert pushed(agent, "A1", "A2") == (200, None)
        assert pushed(agent, "A2", "A3", "A4") == refused
        assert store.get(f"prices:{agent.agent_id}:A3") is None
        elsewhere = Agent(two, agent.agent_id, agent.key)
        assert pushed(elsewhere, "A3") == (200, None)
        assert pushed(elsewhere, "A4") == refused
        assert pushed(agent, "A1", "A2", "A3") == (200, None)
        assert pushed(one.user().pair(), "A4", "A5", "A6") == (200, None)
        forgotten = time.time() - PRICE_SECONDS - 1  # A3 was pushed last so long ago
        store.zadd(f"instruments:{agent.agent_id}", {"A3": forgotten})
        assert pushed(agent, "A4") == (200, None)


def test_quoted_numbers_and_five_hundred_instruments_are_taken(agent: Agent) -> None:
    prices = {f"S{n}": {"bid": "1.5", "ask": 1.5} for n in range(500)}
    assert push(agent, prices).json() == {"received": 500, "subscriptions": []}


def test_the_answer_names_what_is_watched_now(agent: Agent, store: redis.Redis) -> None:
    """An agent without prices of its own hears of the first one, too."""
    now = time.time() * 1000
    watched = {"GBPUSD": now + 60_000, "XAUUSD.m": now + 60_000, "EURUSD": now - 1}
    store.zadd(f"interest:{agent.agent_id}", watched)
    assert push(agent, PRICES).json()["subscriptions"] == ["GBPUSD", "XAUUSD.m"]
    assert push(agent, {}).json() == {"received": 0, "subscriptions": ["GBPUSD", "XAUUSD.m"]}


def test_without_redis_prices_are_refused_and_agents_work_on(platform_url: str) -> None:
    with (
        server_folder() as folder,
        EmbeddedValkey(folder) as own,
        serving(platform_url, own.url) as service,
    ):
        owner = service.user()
        agent = owner.pair()
        assert push(agent, PRICES).status_code == 200
        own.kill()
        refused = push(agent, PRICES)
        assert problem(refused) == (503, "prices_unavailable")
        assert refused.headers["retry-after"]
        lives(service, owner, agent)
        own.restart()
        until(lambda: push(agent, PRICES).status_code == 200)
        assert service.http.get("/readyz").json() == {"status": "ok", "redis": "ok"}


def lives(service: Service, owner: User, agent: Agent) -> None:
    """Claim, report, revoke: nothing of it needs Redis."""
    job_id = owner.enqueue(agent_id=str(agent.agent_id))
    assert agent.next()["job_id"] == str(job_id)
    assert agent.result(job_id).status_code == 200
    assert service.http.get("/readyz").json() == {"status": "ok", "redis": "unavailable"}
    gone = owner.pair()
    assert gone.next() == {"no_jobs": True}
    owner.delete(gone.path)
    assert problem(gone.get(f"{gone.path}/jobs/next")) == (401, "agent_key_revoked")
