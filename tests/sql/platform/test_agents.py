"""Pairing, keys, heartbeats, signs of life, revocation."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from jobengine.testing import Clock
from tests.sql.platform.helpers import (
    DIGEST,
    HASH,
    PREFIX,
    Db,
    User,
    call,
    claim,
    finish,
    new_agent,
    new_job,
    new_trader,
    new_user,
    one,
    refused,
    row,
    value,
    wait_until_blocked,
)

KEY: dict[str, Any] = {"key_hash": HASH, "key_prefix": PREFIX, "key_digest": DIGEST}
OTHER: dict[str, Any] = {"key_hash": "other", "key_prefix": "hgfedcba", "key_digest": b"o" * 32}


def status(db: Db, user: User) -> tuple[str, bool]:
    found = one(db, "agent_status", user=user.id, agent_id=user.agent)
    return found["status"], found["is_connected"]


# -- pairing and keys


def test_a_new_agent_is_offline_and_shows_its_prefix(pdb: Db, anna: User) -> None:
    agent = one(
        pdb, "agent_pair", user=anna.id, name="vps", broker_connection_id=anna.account, **KEY
    )
    assert agent["user_id"] == anna.id
    assert (agent["name"], agent["broker_connection_id"]) == ("vps", anna.account)
    assert (agent["key_prefix"], agent["status"], agent["is_connected"]) == (
        *(PREFIX, "offline", False),
    )
    assert one(pdb, "agent_credentials", agent_id=agent["agent_id"]) == {
        "user_id": anna.id,
        "broker_connection_id": anna.account,
        "key_hash": HASH,
        "key_digest": DIGEST,
        "previous_key_hash": None,
        "previous_key_digest": None,
        "previous_key_until": None,
        "revoked_at": None,
    }


def test_an_agent_is_paired_only_after_onboarding(pdb: Db) -> None:
    user = new_user(pdb, onboarded=False)
    pair = {"name": "vps", "broker_connection_id": None, **KEY}
    assert refused(pdb, "agent_pair", user=user, **pair) == ("FX403", "onboarding_required", None)
    call(pdb, "onboarding_complete", user=user)
    assert one(pdb, "agent_pair", user=user, **pair)["name"] == "vps"


@pytest.mark.parametrize(
    "changed, field",
    [
        ({"name": ""}, "name"),
        ({"name": None}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"key_hash": ""}, "key_hash"),
        ({"key_hash": None}, "key_hash"),
        ({"key_prefix": "short"}, "key_prefix"),
        ({"key_digest": b"short"}, "key_digest"),
        ({"key_digest": None}, "key_digest"),
    ],
)
def test_pairing_refuses_what_is_no_agent(
    pdb: Db, anna: User, changed: dict[str, Any], field: str
) -> None:
    pair = {"name": "vps", "broker_connection_id": None, **KEY, **changed}
    assert refused(pdb, "agent_pair", user=anna.id, **pair) == ("FX422", "invalid", field)


def test_pairing_refuses_a_strangers_account(pdb: Db, anna: User, bert: User) -> None:
    for account in (bert.account, uuid4()):
        assert refused(
            pdb, "agent_pair", user=anna.id, name="vps", broker_connection_id=account, **KEY
        ) == ("FX404", "not_found", "broker_connection_id")


def test_the_old_key_is_good_for_ten_minutes(pdb: Db, anna: User, still: Clock) -> None:
    assert (
        one(pdb, "agent_rotate_key", user=anna.id, agent_id=anna.agent, **OTHER)["key_prefix"]
        == "hgfedcba"
    )
    found = one(pdb, "agent_credentials", agent_id=anna.agent)
    assert (found["key_hash"], found["key_digest"]) == ("other", b"o" * 32)
    assert (found["previous_key_hash"], found["previous_key_digest"]) == (HASH, DIGEST)
    now = row(pdb, "select jobengine._now() as now")["now"]
    assert (found["previous_key_until"] - now).total_seconds() == 600


def test_nobody_rotates_or_revokes_a_strangers_agent(pdb: Db, anna: User, bert: User) -> None:
    for function, key in (("agent_rotate_key", OTHER), ("agent_revoke", {}), ("agent_status", {})):
        for agent in (bert.agent, uuid4()):
            assert refused(pdb, function, user=anna.id, agent_id=agent, **key) == (
                *("FX404", "not_found", "agent_id"),
            )
    assert one(pdb, "agent_credentials", agent_id=bert.agent)["revoked_at"] is None


def test_a_revoked_agent_gets_no_new_key(pdb: Db, anna: User) -> None:
    call(pdb, "agent_revoke", user=anna.id, agent_id=anna.agent)
    assert refused(pdb, "agent_rotate_key", user=anna.id, agent_id=anna.agent, **OTHER) == (
        *("FX409", "agent_revoked", "agent_id"),
    )


def test_a_digest_is_remembered_only_for_the_key_that_it_is_of(pdb: Db, anna: User) -> None:
    digest = b"d" * 32
    arguments: dict[str, Any] = {"agent_id": anna.agent, "key_digest": digest}
    assert value(pdb, "agent_set_digest", key_hash="not it", **arguments) is False
    assert one(pdb, "agent_credentials", agent_id=anna.agent)["key_digest"] == DIGEST
    assert value(pdb, "agent_set_digest", key_hash=HASH, **arguments) is True
    assert one(pdb, "agent_credentials", agent_id=anna.agent)["key_digest"] == digest
    call(pdb, "agent_rotate_key", user=anna.id, agent_id=anna.agent, **OTHER)
    assert value(pdb, "agent_set_digest", key_hash=HASH, agent_id=anna.agent, key_digest=DIGEST)
    found = one(pdb, "agent_credentials", agent_id=anna.agent)
    assert (found["key_digest"], found["previous_key_digest"]) == (b"o" * 32, DIGEST)


def test_a_key_names_its_agent_as_long_as_it_is_good(pdb: Db, anna: User, still: Clock) -> None:
    def owner(digest: bytes) -> object:
        return value(pdb, "agent_of_key", key_digest=digest)

    first, second = (secrets.token_bytes(32) for _ in range(2))
    assert owner(first) is None
    paired = {**KEY, "key_digest": first}
    agent = one(pdb, "agent_pair", user=anna.id, name="vps", **paired)["agent_id"]
    assert owner(first) == agent
    rotated = {**KEY, "key_digest": second}
    call(pdb, "agent_rotate_key", user=anna.id, agent_id=agent, **rotated)
    assert (owner(first), owner(second)) == (agent, agent)
    still.advance(600)
    assert (owner(first), owner(second)) == (None, agent)
    call(pdb, "agent_revoke", user=anna.id, agent_id=agent)
    assert owner(second) is None


def test_an_unknown_agent_has_no_credentials(pdb: Db) -> None:
    assert call(pdb, "agent_credentials", agent_id=uuid4()) == []


# -- revocation


def test_revoking_cancels_what_waits_for_the_agent_and_nothing_else(
    pdb: Db, anna: User, bert: User
) -> None:
    begun = new_job(pdb, anna.id, "trade", agent_id=anna.agent)
    assert claim(pdb, anna.agent) is not None
    waiting = [new_job(pdb, anna.id, t, agent_id=anna.agent) for t in ("trade", "get_account")]
    others = [
        new_job(pdb, anna.id, "get_account", broker_connection_id=anna.account),
        new_job(pdb, bert.id, "trade", agent_id=bert.agent),
    ]
    agent = one(pdb, "agent_revoke", user=anna.id, agent_id=anna.agent)
    assert agent["revoked_at"] is not None

    def state(job_id: UUID) -> tuple[str, str | None, str | None]:
        found = row(pdb, "select * from public.jobs where id = %s", job_id)
        return found["status"], found["error_message"], found["cancel_reason"]

    assert [state(job_id) for job_id in waiting] == [("cancelled", "agent_revoked", None)] * 2
    assert [state(job_id) for job_id in others] == [("pending", None, None)] * 2
    assert state(begun) == ("running", None, None)
    assert claim(pdb, anna.agent) is None
    assert call(pdb, "agent_queues", agent_ids=[anna.agent]) == []
    assert one(pdb, "agent_revoke", user=anna.id, agent_id=anna.agent) == agent


def test_a_revoked_agents_order_in_flight_becomes_unknown(
    pdb: Db, anna: User, still: Clock
) -> None:
    """It may have been sent; `cancelled` would say that it was not."""
    job_id = new_job(pdb, anna.id, "trade", agent_id=anna.agent)
    assert claim(pdb, anna.agent) is not None
    call(pdb, "agent_revoke", user=anna.id, agent_id=anna.agent)
    still.advance(31)
    pdb.execute("select jobengine.sweep()")
    assert one(pdb, "job_get", user=anna.id, job_id=job_id)["status"] == "unknown"


def test_what_a_revoked_agent_holds_and_could_do_again_is_cancelled(
    pdb: Db, anna: User, still: Clock
) -> None:
    """Back in the agent's own queue it would wait for ever."""
    mine = new_job(pdb, anna.id, "get_account", agent_id=anna.agent)
    anybodys = new_job(pdb, anna.id, "get_account")
    for _ in range(2):
        assert claim(pdb, anna.agent) is not None
    call(pdb, "agent_revoke", user=anna.id, agent_id=anna.agent)
    still.advance(16)
    pdb.execute("select jobengine.sweep()")
    states = [one(pdb, "job_get", user=anna.id, job_id=job_id) for job_id in (mine, anybodys)]
    assert [(job["status"], job["error_message"]) for job in states] == [
        ("cancelled", "agent_revoked"),
        ("pending", None),
    ]


def test_an_order_that_a_revoked_agent_has_not_begun_is_cancelled(pdb: Db, anna: User) -> None:
    job_id = new_job(pdb, anna.id, "trade", agent_id=anna.agent, expires_in=0)
    request = {
        "tenant_id": str(anna.id),
        "queues": [f"agent/{anna.agent}"],
        "limit": 1,
        "agent_id": str(anna.agent),
        "two_phase": "always",
    }
    pdb.execute("select jobengine.claim(%s)", (Jsonb([request]),))
    assert one(pdb, "job_get", user=anna.id, job_id=job_id)["status"] == "claimed"
    call(pdb, "agent_revoke", user=anna.id, agent_id=anna.agent)
    assert one(pdb, "job_get", user=anna.id, job_id=job_id)["status"] == "cancelled"


def test_a_job_that_is_put_in_while_its_agent_is_revoked_is_cancelled(
    pdb: Db, platform_url: str, anna: User
) -> None:
    """The revoking waits for whoever has seen the agent alive."""
    with (
        ThreadPoolExecutor(1) as threads,
        psycopg.connect(platform_url, row_factory=dict_row) as producer,
        psycopg.connect(platform_url, autocommit=True, row_factory=dict_row) as revoker,
    ):
        producer.execute("select 1")  # so that new_job leaves its transaction open
        job_id = new_job(producer, anna.id, "get_account", agent_id=anna.agent)
        revoked = threads.submit(call, revoker, "agent_revoke", user=anna.id, agent_id=anna.agent)
        wait_until_blocked(pdb, revoker.info.backend_pid)
        producer.commit()
        revoked.result()
    assert one(pdb, "job_get", user=anna.id, job_id=job_id)["status"] == "cancelled"


# -- lists


def test_agents_come_newest_first_in_pages(pdb: Db, bert: User) -> None:
    user = new_user(pdb)
    agents = [new_agent(pdb, user) for _ in range(5)]
    call(pdb, "agent_revoke", user=user, agent_id=agents[0])
    seen: list[UUID] = []
    page: dict[str, Any] = {}
    while found := call(pdb, "agent_list", user=user, limit=2, **page):
        seen += [agent["agent_id"] for agent in found]
        page = {"before": found[-1]["created_at"], "before_id": found[-1]["agent_id"]}
    assert seen == agents[::-1]


@pytest.mark.parametrize("limit", [0, 201, None])
def test_a_page_has_a_size(pdb: Db, anna: User, limit: int | None) -> None:
    for function in ("agent_list", "job_list"):
        assert refused(pdb, function, user=anna.id, limit=limit) == ("FX422", "invalid", "limit")


def test_a_page_begins_after_an_agent(pdb: Db, anna: User) -> None:
    assert refused(pdb, "agent_list", user=anna.id, before_id=anna.agent) == (
        *("FX422", "invalid", "before_id"),
    )


# -- signs of life


@pytest.mark.parametrize("sign", ["agent_heartbeat", "agent_seen"])
def test_an_agent_is_online_degraded_offline(pdb: Db, anna: User, still: Clock, sign: str) -> None:
    """6 and 10 minutes: the edge belongs to the worse side."""
    assert status(pdb, anna) == ("offline", False)
    if sign == "agent_heartbeat":
        call(pdb, sign, agent_id=anna.agent)
    else:
        assert value(pdb, sign, agent_ids=[anna.agent, uuid4()]) == 1
    assert status(pdb, anna) == ("online", True)
    still.advance(6 * 60 - 1)
    assert status(pdb, anna) == ("online", True)
    still.advance(1)
    assert status(pdb, anna) == ("degraded", True)
    still.advance(4 * 60 - 1)
    assert status(pdb, anna) == ("degraded", True)
    still.advance(1)
    assert status(pdb, anna) == ("offline", False)
    assert one(pdb, "agent_status", agent_id=anna.agent)["status"] == "offline"  # the service


def test_a_revoked_agent_is_not_connected(pdb: Db, anna: User) -> None:
    call(pdb, "agent_heartbeat", agent_id=anna.agent)
    call(pdb, "agent_revoke", user=anna.id, agent_id=anna.agent)
    assert status(pdb, anna)[1] is False
    assert value(pdb, "agent_seen", agent_ids=[anna.agent]) == 0
    assert refused(pdb, "agent_heartbeat", agent_id=anna.agent) == (
        *("FX404", "not_found", "agent_id"),
    )


def test_a_heartbeat_is_kept(pdb: Db, anna: User) -> None:
    metrics = {"cpu_percent": 12.5, "memory_percent": 40, "active_eas": 2}
    answer = one(
        pdb,
        "agent_heartbeat",
        agent_id=anna.agent,
        status="ok",
        metrics=metrics,
        agent_version="1.2",
    )
    assert answer == {
        "acknowledged": True,
        "config": None,
        "config_version": 0,
        "heartbeat_seconds": 30,
        "trading_state": "active",
    }
    found = one(pdb, "agent_status", user=anna.id, agent_id=anna.agent)
    assert found["metrics"] == metrics
    assert found["last_heartbeat"] == found["last_seen_at"] is not None
    call(pdb, "agent_heartbeat", agent_id=anna.agent)  # says nothing of itself: nothing changes
    kept = row(
        pdb,
        "select status, metrics, agent_version from public.mt5_agents where id = %s",
        anna.agent,
    )
    assert tuple(kept.values()) == ("ok", metrics, "1.2")


def test_a_heartbeat_brings_a_configuration_until_the_agent_has_it(pdb: Db, anna: User) -> None:
    call(pdb, "settings_update", user=anna.id, changes={"trading_state": "halted"})
    pdb.execute(
        "update public.mt5_agents set config = '{\"a\": 1}', config_version = 3 where id = %s",
        (anna.agent,),
    )

    def beat(**metrics: int) -> tuple[Any, int, str]:
        found = one(pdb, "agent_heartbeat", agent_id=anna.agent, metrics=metrics)
        return found["config"], found["config_version"], found["trading_state"]

    assert beat(config_version=2) == ({"a": 1}, 3, "halted")
    assert beat(config_version=2) == ({"a": 1}, 3, "halted")  # the answer was lost
    assert beat(config_version=3) == (None, 3, "halted")
    assert beat() == (None, 3, "halted")  # sent before, as far as we know
    pdb.execute("update public.mt5_agents set config_version = 4 where id = %s", (anna.agent,))
    assert beat() == ({"a": 1}, 4, "halted")
    assert beat() == (None, 4, "halted")


@pytest.mark.parametrize(
    "beat, field",
    [
        ({"status": "x" * 101}, "status"),
        ({"agent_version": "x" * 101}, "agent_version"),
        ({"metrics": {"x": "x" * 16384}}, "metrics"),
    ],
)
def test_a_heartbeat_is_bounded(pdb: Db, anna: User, beat: dict[str, Any], field: str) -> None:
    assert refused(pdb, "agent_heartbeat", agent_id=anna.agent, **beat) == (
        *("FX422", "invalid", field),
    )


def test_a_sign_of_life_is_written_once_in_15_seconds(
    pdb: Db, anna: User, bert: User, still: Clock
) -> None:
    agents = [anna.agent, bert.agent]
    assert value(pdb, "agent_seen", agent_ids=agents) == 2
    still.advance(14)
    assert value(pdb, "agent_seen", agent_ids=agents) == 0
    still.advance(1)
    assert value(pdb, "agent_seen", agent_ids=agents) == 2


# -- what an agent may claim


def test_an_agents_queues(pdb: Db, anna: User) -> None:
    homeless = new_agent(pdb, anna.id)
    found = call(pdb, "agent_queues", agent_ids=[anna.agent, homeless, uuid4()])
    queues = {agent["agent_id"]: (agent["user_id"], agent["queues"]) for agent in found}
    assert queues == {
        anna.agent: (anna.id, [f"agent/{anna.agent}", f"broker/{anna.account}", "any"]),
        homeless: (anna.id, [f"agent/{homeless}", "any"]),
    }


def test_a_claim_gives_the_job_with_the_names_of_the_source_documents(pdb: Db, anna: User) -> None:
    job_id = new_job(pdb, anna.id, "trade", input={"symbol": "EURUSD"}, agent_id=anna.agent)
    job = claim(pdb, anna.agent)
    assert job is not None
    assert job["claimed_at"] is not None
    told = {name: job[name] for name in ("id", "user_id", "agent_id", "job_type", "status")}
    assert told == {
        "id": job_id,
        "user_id": anna.id,
        "agent_id": anna.agent,
        "job_type": "trade",
        "status": "running",
    }
    assert (job["input_data"], job["broker_connection_id"], job["priority"]) == (
        *({"symbol": "EURUSD"}, anna.account, 0),
    )
    assert claim(pdb, anna.agent) is None
    assert finish(pdb, job, "completed") == "ok"
    assert one(pdb, "job_get", user=anna.id, job_id=job_id)["agent_id"] == anna.agent


def test_an_unknown_agent_claims_nothing(pdb: Db) -> None:
    assert claim(pdb, uuid4()) is None


def test_no_agent_claims_what_is_not_its(pdb: Db) -> None:
    """Neither another user's job, nor one for another agent or account of the same user."""
    anna, bert = new_trader(pdb), new_trader(pdb)
    account = one(pdb, "broker_connection_create", user=anna.id, name="second")["id"]
    second, homeless = new_agent(pdb, anna.id, account), new_agent(pdb, anna.id)
    mine = {
        new_job(pdb, anna.id, "trade", agent_id=anna.agent),
        new_job(pdb, anna.id, "trade", broker_connection_id=anna.account),
    }
    assert claim(pdb, bert.agent) is None
    assert claim(pdb, second) is None
    assert claim(pdb, homeless) is None
    new_job(pdb, anna.id, "get_account")
    assert claim(pdb, bert.agent) is None
    taken = [claim(pdb, anna.agent) for _ in range(2)]
    assert {job["id"] for job in taken if job} == mine
    assert claim(pdb, homeless) is not None  # what is for anybody
    assert claim(pdb, anna.agent) is None


def test_r75_a_webhooks_secret_names_its_strategy_and_user(pdb: Db, anna: User) -> None:
    secret = uuid4().hex
    made = row(
        pdb,
        "insert into public.tv_strategies (user_id, name, webhook_secret, is_enabled)"
        " values (%s, 'breakout', %s, false) returning id",
        anna.id,
        secret,
    )
    assert call(pdb, "strategy_by_secret", webhook_secret=secret) == [
        {"strategy_id": made["id"], "user_id": anna.id, "is_enabled": False}
    ]
    for other in (secret[:-1], "", None):
        assert call(pdb, "strategy_by_secret", webhook_secret=other) == []
