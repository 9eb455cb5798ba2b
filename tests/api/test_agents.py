"""What the source documents say of agents, with their own JSON: R1 to R4, R14, R20, R89, G1."""

from __future__ import annotations

from uuid import uuid4

import psycopg
import pytest

from tests.api.world import Agent, Service, User, problem

BEAT = {"status": "online", "metrics": {"cpu_percent": 12.5, "memory_percent": 40, "active_eas": 2}}


def test_r1_every_agent_endpoint_refuses_a_wrong_key(agent: Agent) -> None:
    stranger = Agent(agent.service, agent.agent_id, "fxa_" + "x" * 43)
    job = f"{agent.path}/jobs/{uuid4()}"
    answers = [
        stranger.post(f"{agent.path}/heartbeat", BEAT),
        stranger.get(f"{agent.path}/jobs/next"),
        stranger.post(f"{job}/result", {"status": "completed"}),
        stranger.post(f"{agent.path}/prices", {"EURUSD": {"bid": 1, "ask": 1}}),
        stranger.get(f"{agent.path}/status"),
        stranger.post(f"{job}/start"),
        stranger.post(f"{job}/heartbeat"),
        stranger.post(f"{job}/release"),
    ]
    assert {problem(answer) for answer in answers} == {(401, "agent_key_invalid")}
    assert all("X-Agent-Key" in answer.headers["www-authenticate"] for answer in answers)


def test_r2_heartbeat_acknowledges_and_connects(agent: Agent) -> None:
    answer = agent.post(f"{agent.path}/heartbeat", BEAT)
    assert answer.status_code == 200
    assert answer.json()["acknowledged"] is True
    (row,) = agent.service.rows(
        "select is_connected, last_heartbeat, metrics from mt5_agents where id = %s",
        agent.agent_id,
    )
    assert row["is_connected"]
    assert row["last_heartbeat"]
    assert row["metrics"] == BEAT["metrics"]


def test_r3_heartbeat_brings_a_changed_configuration_once(agent: Agent) -> None:
    before = agent.post(f"{agent.path}/heartbeat", BEAT).json()
    with psycopg.connect(agent.service.database_url) as conn:
        conn.execute(
            "update mt5_agents set config = %s, config_version = config_version + 1 where id = %s",
            ('{"symbols": ["EURUSD"]}', agent.agent_id),
        )
    changed = agent.post(f"{agent.path}/heartbeat", BEAT).json()
    assert before["config"] is None
    assert changed["config"] == {"symbols": ["EURUSD"]}
    assert changed["heartbeat_seconds"] > 0


def test_r4_nothing_to_do_is_no_jobs(agent: Agent) -> None:
    assert agent.next() == {"no_jobs": True}


@pytest.mark.parametrize(
    "minutes,status", [(0, "online"), (5.9, "online"), (6.1, "degraded"), (10.1, "offline")]
)
def test_r14_status_by_age_for_agent_and_owner(
    owner: User, agent: Agent, minutes: float, status: str
) -> None:
    # By no call of the agent's, of which the service would soon tell the database.
    with psycopg.connect(agent.service.database_url) as conn:
        conn.execute(
            """update mt5_agents set status = 'online', is_connected = true,
                last_heartbeat = now() - make_interval(secs => %s),
                last_seen_at = now() - make_interval(secs => %s) where id = %s""",
            (minutes * 60, minutes * 60, agent.agent_id),
        )
    seen = owner.get(f"{agent.path}/status").json()
    assert seen.keys() >= {"agent_id", "is_connected", "last_heartbeat", "status", "metrics"}
    assert (seen["agent_id"], seen["status"]) == (str(agent.agent_id), status)
    assert agent.get(f"{agent.path}/status").json()["agent_id"] == str(agent.agent_id)


def test_c8_status_is_not_found_for_other_users(service: Service, agent: Agent) -> None:
    assert problem(service.user().get(f"{agent.path}/status")) == (404, "not_found")
    assert problem(service.http.get(f"{agent.path}/status")) == (401, "token_invalid")


def test_c7_any_call_of_an_agent_is_a_sign_of_life(agent: Agent) -> None:
    agent.next()
    with psycopg.connect(agent.service.database_url, autocommit=True) as conn:
        while not conn.execute(
            "select last_seen_at from mt5_agents where id = %s and last_seen_at is not null",
            (agent.agent_id,),
        ).fetchone():
            conn.execute("select pg_sleep(0.05)")


def test_r20_g1_pairing_shows_the_key_once_and_stores_its_hash(owner: User) -> None:
    answer = owner.post("/api/v1/agents/pair", {"name": "vps 1"})
    assert answer.status_code == 201
    paired = answer.json()
    assert paired.keys() == {"agent_id", "agent_key", "key_prefix"}
    assert paired["agent_key"].startswith("fxa_" + paired["key_prefix"])
    assert (len(paired["agent_key"]), len(paired["key_prefix"])) == (47, 8)
    (row,) = owner.service.rows("select * from mt5_agents where id = %s", paired["agent_id"])
    assert row["pairing_key_prefix"] == paired["key_prefix"]
    assert row["pairing_key_hash"].startswith("$2")
    assert paired["agent_key"] not in str(row)


def test_r37_pairing_needs_the_onboarding(service: Service) -> None:
    new = service.user(onboarded=False)
    refused = new.post("/api/v1/agents/pair", {"name": "vps"})
    assert problem(refused) == (403, "onboarding_required")


def test_pairing_with_the_connection_of_another_is_not_found(service: Service, owner: User) -> None:
    mine = service.user().post("/api/v1/broker-connections", {"name": "x"}).json()["id"]
    refused = owner.post("/api/v1/agents/pair", {"name": "vps", "broker_connection_id": mine})
    assert problem(refused) == (404, "not_found")


def test_g1_agents_are_listed_in_pages_newest_first(service: Service, owner: User) -> None:
    paired = [str(owner.pair().agent_id) for _ in range(3)]
    service.user().pair()
    first = owner.get("/api/v1/agents", limit=2)
    rest = owner.get(first.headers["link"].split(">")[0].strip("<"))
    listed = [found["agent_id"] for found in first.json() + rest.json()]
    assert listed == paired[::-1]
    assert "link" not in rest.headers


def test_revoking_cancels_pending_jobs_and_shuts_the_agent_out(owner: User, agent: Agent) -> None:
    waiting = owner.enqueue(agent_id=str(agent.agent_id))
    revoked = owner.delete(agent.path)
    assert revoked.json()["revoked_at"]
    assert problem(agent.get(f"{agent.path}/jobs/next")) == (401, "agent_key_revoked")
    job = owner.job(waiting)
    assert (job["status"], job["error_message"]) == ("cancelled", "agent_revoked")


def test_agents_of_others_are_not_found(service: Service, agent: Agent) -> None:
    other = service.user()
    assert problem(other.delete(agent.path)) == (404, "not_found")
    assert problem(other.post(f"{agent.path}/rotate-key")) == (404, "not_found")
