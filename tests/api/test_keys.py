"""Agents' keys: C19 to C21, C24, R74; rotation, revocation in every process, limits."""

from __future__ import annotations

import hashlib
from uuid import uuid4

import bcrypt
import httpx
import psycopg
import pytest

from api.embedded import EmbeddedValkey
from api.limits import Failures
from tests.api.world import Agent, Service, User, problem, serving, until

GOOD = "fxa_" + "k" * 43
HASHED = "fxa_" + "h" * 43  # of one test alone, as the agents of all share a database


def stored(agent: Agent, **columns: object) -> None:
    """Change what the database holds of the agent's key."""
    with psycopg.connect(agent.service.database_url) as conn:
        for column, value in columns.items():
            query = f"update mt5_agents set {column} = %s where id = %s"
            conn.execute(query.encode(), (value, agent.agent_id))


def beat(agent: Agent) -> int:
    return agent.post(f"{agent.path}/heartbeat", {"status": "online", "metrics": {}}).status_code


@pytest.mark.parametrize("key", ["", "x", "fxa_", "k" * 72, "k" * 73, "é" * 40, "k" * 5000])
def test_c19_a_key_of_any_length_is_refused_and_never_fails(owner: User, key: str) -> None:
    agent = owner.pair()
    wrong = httpx.Headers({"X-Agent-Key": key}, encoding="utf-8")
    answer = agent.service.http.get(f"{agent.path}/jobs/next", headers=wrong)
    assert problem(answer) == (401, "agent_key_invalid")


def test_c19_an_unknown_agent_is_refused_as_a_wrong_key_is(service: Service) -> None:
    nobody = Agent(service, uuid4(), GOOD)
    answer = nobody.get(f"{nobody.path}/jobs/next")
    assert problem(answer) == (401, "agent_key_invalid")


def test_c19_a_key_with_a_bcrypt_hash_alone_is_checked_once_and_remembered(owner: User) -> None:
    agent = owner.pair()
    hashed = bcrypt.hashpw(HASHED.encode(), bcrypt.gensalt(4)).decode()
    stored(agent, pairing_key_digest=None, pairing_key_hash=hashed)
    assert beat(Agent(agent.service, agent.agent_id, HASHED)) == 200
    (row,) = owner.service.rows("select * from mt5_agents where id = %s", agent.agent_id)
    assert bytes(row["pairing_key_digest"]) == hashlib.sha256(HASHED.encode()).digest()


@pytest.mark.parametrize("hashed", ["", "nonsense", None])
def test_c24_what_is_no_hash_verifies_nothing(owner: User, hashed: str | None) -> None:
    agent = owner.pair()
    stored(agent, pairing_key_digest=None, pairing_key_hash=hashed)
    for key in ("", "nonsense", GOOD):
        answer = Agent(agent.service, agent.agent_id, key).get(f"{agent.path}/jobs/next")
        assert problem(answer) == (401, "agent_key_invalid")


@pytest.mark.parametrize("seen", [True, False], ids=["seen before", "never seen"])
def test_c21_the_key_of_another_agent_is_a_mismatch(
    owner: User, agent: Agent, *, seen: bool
) -> None:
    other = owner.pair()
    if seen:
        assert beat(other) == 200
    for whose in (agent.agent_id, uuid4()):
        wrong = Agent(agent.service, whose, other.key)
        assert problem(wrong.get(f"{wrong.path}/jobs/next")) == (403, "agent_mismatch")


def test_c21_a_key_that_is_good_no_more_is_nobodys(owner: User, agent: Agent) -> None:
    revoked, rotated = owner.pair(), owner.pair()
    owner.delete(revoked.path)
    owner.post(f"{rotated.path}/rotate-key")
    before = Agent(agent.service, agent.agent_id, rotated.key)
    assert problem(before.get(f"{agent.path}/jobs/next")) == (403, "agent_mismatch")
    stored(rotated, previous_key_until="2020-01-01")
    for key in (revoked.key, rotated.key):
        wrong = Agent(agent.service, agent.agent_id, key)
        assert problem(wrong.get(f"{agent.path}/jobs/next")) == (401, "agent_key_invalid")


def test_g1_after_a_rotation_both_keys_work_until_the_old_one_ends(
    owner: User, agent: Agent
) -> None:
    rotated = owner.post(f"{agent.path}/rotate-key").json()
    new = Agent(agent.service, agent.agent_id, rotated["agent_key"])
    assert new.key != agent.key
    assert (beat(agent), beat(new)) == (200, 200)
    stored(agent, previous_key_until="2020-01-01")
    last = Agent(
        agent.service, agent.agent_id, owner.post(f"{agent.path}/rotate-key").json()["agent_key"]
    )
    assert (beat(agent), beat(new), beat(last)) == (401, 200, 200)


def test_a_revocation_reaches_other_processes(
    platform_url: str, valkey: EmbeddedValkey, owner: User, agent: Agent
) -> None:
    with serving(platform_url, valkey.url) as second:
        there = Agent(second, agent.agent_id, agent.key)
        assert (beat(agent), beat(there)) == (200, 200)
        owner.delete(agent.path)
        assert beat(agent) == 401
        until(lambda: beat(there) == 401)


def test_wrong_keys_are_limited_and_a_right_one_is_not(
    platform_url: str, valkey: EmbeddedValkey
) -> None:
    with serving(platform_url, valkey.url, AGENT_KEY_FAILURES="3") as service:
        agent = service.user().pair()
        wrong = Agent(service, agent.agent_id, GOOD)
        answers = [wrong.get(f"{agent.path}/jobs/next") for _ in range(4)]
        assert problem(answers[2]) == (401, "agent_key_invalid")
        assert problem(answers[3]) == (429, "too_many_failed_keys")
        assert 1 <= int(answers[3].headers["retry-after"]) <= 60
        assert beat(agent) == 200


def test_unknown_agents_are_not_looked_up_for_an_address_of_many_wrong_keys(
    platform_url: str, valkey: EmbeddedValkey
) -> None:
    with serving(platform_url, valkey.url, AGENT_KEY_FAILURES="3") as service:
        owner = service.user()
        known, unknown = owner.pair(), owner.pair()
        assert beat(known) == 200
        for _ in range(3):
            nobody = Agent(service, uuid4(), GOOD)
            assert problem(nobody.get(f"{nobody.path}/jobs/next")) == (401, "agent_key_invalid")
        for query in ({}, {"wait": 5}):  # one that would wait at its connection, too
            answer = unknown.get(f"{unknown.path}/jobs/next", **query)
            assert problem(answer) == (429, "too_many_failed_keys")
            assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert beat(known) == 200


def test_failures_are_counted_per_name() -> None:
    failures = Failures(2)
    assert [failures.add("a") > 0 for _ in range(4)] == [False, False, True, True]
    assert failures.add("b") == 0
    assert [failures.wait(name) > 0 for name in "abc"] == [True, False, False]
