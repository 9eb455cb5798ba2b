"""Jobs of users: what may be put in, where it goes, who sees and stops it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import dict_row

from jobengine.testing import Clock
from tests.sql.platform.helpers import (
    Db,
    User,
    acting,
    call,
    claim,
    finish,
    new_agent,
    new_deployment,
    new_job,
    new_signal,
    new_trader,
    new_user,
    new_version,
    one,
    refused,
    row,
)

# Type: priority, lease in seconds, delivery, attempts, parent.
TYPES = {
    "trade": (0, 30, "at_most_once", 1, None),
    "close_position": (0, 30, "at_most_once", 1, None),
    "get_positions": (3, 15, "at_least_once", 3, None),
    "get_account": (3, 15, "at_least_once", 3, None),
    "get_candles": (3, 15, "at_least_once", 3, None),
    "compile": (6, 300, "at_least_once", 3, "ea_version"),
    "deploy": (6, 60, "at_least_once", 3, "ea_deployment"),
    "run": (6, 60, "at_least_once", 3, "ea_deployment"),
    "stop": (6, 60, "at_least_once", 3, "ea_deployment"),
}


def parent(db: Db, user: UUID, job_type: str) -> dict[str, Any]:
    """The arguments that name a parent of this type of job."""
    kind = TYPES[job_type][4]
    if kind is None:
        return {}
    make = new_version if kind == "ea_version" else new_deployment
    return {"parent_type": kind, "parent_id": make(db, user)}


@pytest.mark.parametrize("job_type", TYPES)
def test_the_nine_types(pdb: Db, anna: User, job_type: str) -> None:
    arguments = parent(pdb, anna.id, job_type)
    created = one(
        pdb, "job_create", user=anna.id, job_type=job_type, agent_id=anna.agent, **arguments
    )
    assert created["verdict"] == "ok"
    assert created["queue"] == f"agent/{anna.agent}"
    stored = row(
        pdb,
        "select priority, lease_seconds, delivery, max_attempts from jobengine.job"
        " where job_id = %s",
        created["job_id"],
    )
    assert tuple(stored.values()) == TYPES[job_type][:4]
    job = one(pdb, "job_get", user=anna.id, job_id=created["job_id"])
    assert job["status"] == "pending"
    assert (job["agent_id"], job["broker_connection_id"]) == (anna.agent, anna.account)
    assert (job["parent_type"], job["parent_id"]) == (
        *(arguments.get("parent_type"), arguments.get("parent_id")),
    )


def test_there_is_no_tenth_type(pdb: Db, anna: User) -> None:
    types = pdb.execute("select job_type from jobengine.job_type").fetchall()
    assert {found["job_type"] for found in types} == set(TYPES)
    assert refused(pdb, "job_create", user=anna.id, job_type="withdraw")[0] == "JE001"


@pytest.mark.parametrize(
    "target, queue", [("agent", "agent/{agent}"), ("account", "broker/{account}"), (None, "any")]
)
def test_the_queue_is_the_target(pdb: Db, anna: User, target: str | None, queue: str) -> None:
    chosen = {"agent": {"agent_id": anna.agent}, "account": {"broker_connection_id": anna.account}}
    arguments = chosen.get(target or "", {})
    created = one(pdb, "job_create", user=anna.id, job_type="get_account", **arguments)
    assert created["queue"] == queue.format(agent=anna.agent, account=anna.account)


def test_an_order_without_a_target_takes_the_default_account(pdb: Db, anna: User) -> None:
    for job_type in ("trade", "close_position"):
        created = one(pdb, "job_create", user=anna.id, job_type=job_type)
        assert created["queue"] == f"broker/{anna.account}"
    user = new_user(pdb)
    assert refused(pdb, "job_create", user=user, job_type="trade") == (
        *("FX422", "broker_connection_required", "broker_connection_id"),
    )


def test_a_target_is_the_users_own(pdb: Db, anna: User, bert: User) -> None:
    second = one(pdb, "broker_connection_create", user=anna.id, name="second")["id"]
    refusals: list[tuple[dict[str, UUID], tuple[str, str, str]]] = [
        ({"agent_id": bert.agent}, ("FX404", "not_found", "agent_id")),
        ({"agent_id": uuid4()}, ("FX404", "not_found", "agent_id")),
        (
            {"broker_connection_id": bert.account},
            ("FX404", "not_found", "broker_connection_id"),
        ),
        (
            {"agent_id": anna.agent, "broker_connection_id": second},
            ("FX422", "broker_connection_mismatch", "broker_connection_id"),
        ),
    ]
    for target, refusal in refusals:
        assert refused(pdb, "job_create", user=anna.id, job_type="trade", **target) == refusal
    call(pdb, "agent_revoke", user=anna.id, agent_id=anna.agent)
    assert refused(
        pdb, "job_create", user=anna.id, job_type="get_account", agent_id=anna.agent
    ) == ("FX409", "agent_revoked", "agent_id")


def test_a_parent_is_of_the_type_and_the_users_own(pdb: Db, anna: User, bert: User) -> None:
    strangers: list[tuple[str, str, UUID]] = [
        ("compile", "ea_version", new_version(pdb, bert.id)),
        ("deploy", "ea_deployment", new_deployment(pdb, bert.id)),
        ("trade", "tv_signal", new_signal(pdb, bert.id)),
        ("compile", "ea_version", new_deployment(pdb, anna.id)),
    ]
    for job_type, kind, parent_id in strangers:
        arguments = {"job_type": job_type, "parent_type": kind, "parent_id": parent_id}
        assert refused(pdb, "job_create", user=anna.id, **arguments) == (
            *("FX404", "not_found", "parent_id"),
        )
    version = new_version(pdb, anna.id)
    invalid: list[tuple[dict[str, Any], str]] = [
        ({"job_type": "compile"}, "parent_type"),
        ({"job_type": "stop"}, "parent_type"),
        ({"job_type": "compile", "parent_type": "ea_version"}, "parent_id"),
        ({"job_type": "compile", "parent_id": version}, "parent_id"),
        (
            {"job_type": "deploy", "parent_type": "ea_version", "parent_id": version},
            "parent_type",
        ),
        (
            {"job_type": "get_account", "parent_type": "ea_version", "parent_id": version},
            "parent_type",
        ),
    ]
    for arguments, field in invalid:
        assert refused(pdb, "job_create", user=anna.id, **arguments) == (
            *("FX422", "invalid", field),
        )


def test_an_input_is_an_object(pdb: Db, anna: User) -> None:
    with pytest.raises(psycopg.Error) as refusal, acting(pdb, "authenticated", anna.id):
        pdb.execute("select * from public.job_create('get_account', '[]')")
    assert refusal.value.sqlstate == "FX422"


def test_an_order_of_a_user_needs_the_onboarding(pdb: Db) -> None:
    user = new_user(pdb, onboarded=False)
    account = one(pdb, "broker_connection_create", user=user, name="demo")["id"]
    for job_type in ("trade", "close_position"):
        for named in (None, user):  # naming oneself is no way around it
            assert refused(pdb, "job_create", user=user, job_type=job_type, user_id=named) == (
                *("FX403", "onboarding_required", None),
            )
        assert one(pdb, "job_create", job_type=job_type, user_id=user)["verdict"] == "ok"
    created = one(
        pdb, "job_create", user=user, job_type="get_account", broker_connection_id=account
    )
    assert created["verdict"] == "ok"


@pytest.mark.parametrize(
    "job_type, source, given, seconds",
    [
        ("trade", None, None, 60),
        ("close_position", None, None, 60),
        ("trade", "tv_signal", None, 300),
        ("trade", None, 5, 5),
        ("trade", None, 0, None),
        ("get_account", None, None, None),
        ("get_account", None, 7, 7),
    ],
)
def test_an_order_expires(  # noqa: PLR0917 - the columns of a table
    pdb: Db,
    anna: User,
    still: Clock,
    job_type: str,
    source: str | None,
    given: float | None,
    seconds: float | None,
) -> None:
    created = one(
        pdb,
        "job_create",
        user=anna.id,
        job_type=job_type,
        expires_in=given,
        input={"source": source},
    )
    job = one(pdb, "job_get", user=anna.id, job_id=created["job_id"])
    left = job["expires_at"] and (job["expires_at"] - job["created_at"]).total_seconds()
    assert left == seconds


def test_keys(pdb: Db, anna: User) -> None:
    for key in ("dedup_key", "live_key"):
        arguments: dict[str, Any] = {"job_type": "get_account", key: "same"}
        first, second = (one(pdb, "job_create", user=anna.id, **arguments) for _ in range(2))
        assert (first["verdict"], second["verdict"]) == ("ok", "duplicate")
        assert first["job_id"] == second["job_id"]


def test_a_repeated_order_is_noted_once(pdb: Db, anna: User) -> None:
    jobs = {
        one(pdb, "job_create", user=anna.id, job_type="trade", dedup_key="k")["job_id"]
        for _ in range(3)
    }
    [job_id] = jobs
    count = row(pdb, "select count(*) from public.trade_events where job_id = %s", job_id)
    assert count == {"count": 1}


def test_only_the_service_acts_for_another(pdb: Db, anna: User, bert: User) -> None:
    as_bert: dict[str, Any] = {"job_type": "get_account", "user_id": bert.id}
    assert refused(pdb, "job_create", user=anna.id, **as_bert) == ("FX404", "not_found", "user")
    assert refused(pdb, "job_create", job_type="get_account") == ("FX404", "not_found", "user")
    assert one(pdb, "job_create", **as_bert)["verdict"] == "ok"
    assert one(pdb, "job_create", user=bert.id, **as_bert)["verdict"] == "ok"


def test_a_user_without_claims_is_nobody(pdb: Db, bert: User) -> None:
    """A request whose claims were lost must not act for whom it names."""
    with pytest.raises(psycopg.Error) as refusal, acting(pdb, "authenticated"):
        pdb.execute("select * from public.job_create('get_account', p_user_id => %s)", (bert.id,))
    assert refusal.value.sqlstate == "FX404"
    with acting(pdb, "authenticated"):
        assert pdb.execute("select * from public.jobs").fetchall() == []


# -- look and stop


def test_a_user_sees_and_stops_own_jobs_only(pdb: Db, anna: User, bert: User) -> None:
    job_id = new_job(pdb, bert.id, "get_account")
    for function in ("job_get", "job_cancel"):
        for unseen in (job_id, uuid4()):
            assert refused(pdb, function, user=anna.id, job_id=unseen) == (
                *("FX404", "not_found", "job_id"),
            )
    assert one(pdb, "job_get", user=bert.id, job_id=job_id)["status"] == "pending"


def test_the_verdicts_of_a_cancel(pdb: Db, anna: User) -> None:
    def cancelled(job_id: UUID) -> tuple[str, str]:
        found = one(pdb, "job_cancel", user=anna.id, job_id=job_id, reason="no more")
        return found["verdict"], found["status"]

    job_id = new_job(pdb, anna.id, "get_account")
    assert cancelled(job_id) == ("ok", "cancelled")
    assert cancelled(job_id) == ("duplicate", "cancelled")
    job = one(pdb, "job_get", user=anna.id, job_id=job_id)
    assert (job["status"], job["error_message"]) == ("cancelled", "no more")
    running = new_job(pdb, anna.id, "get_account", agent_id=anna.agent)
    taken = claim(pdb, anna.agent)
    assert cancelled(running) == ("ok", "running")
    assert one(pdb, "job_get", user=anna.id, job_id=running)["cancel_reason"] == "no more"
    assert taken is not None
    assert finish(pdb, taken, "completed") == "ok"
    assert cancelled(running) == ("conflict", "completed")


def test_jobs_come_newest_first_in_pages(pdb: Db, anna: User, bert: User) -> None:
    jobs = []
    for number in range(5):
        jobs.append(new_job(pdb, anna.id, "get_account"))
        new_job(pdb, bert.id, "get_account", input={"number": number})
    call(pdb, "job_cancel", user=anna.id, job_id=jobs[2])
    seen: list[UUID] = []
    while found := call(pdb, "job_list", user=anna.id, limit=2, before=seen[-1] if seen else None):
        seen += [job["id"] for job in found]
    assert seen == sorted(jobs, reverse=True)
    cancelled = call(pdb, "job_list", user=anna.id, status="cancelled")
    assert [job["id"] for job in cancelled] == [jobs[2]]
    assert len(call(pdb, "job_list", user=anna.id, status="pending")) == 4
    assert call(pdb, "job_list", user=anna.id, job_type="trade") == []
    assert len(call(pdb, "job_list", user=anna.id, job_type="get_account")) == 5


def test_a_job_with_strange_meta_does_not_hide_the_others(pdb: Db, anna: User) -> None:
    """A program may put jobs in past job_create."""
    pdb.execute(
        "select jobengine.enqueue(array['get_account'], p_tenant_ids => array[%s::uuid],"
        " p_queues => array['agent/me'],"
        ' p_metas => array[\'{"parent_id": "x", "broker_connection_id": 5}\'::jsonb])',
        (anna.id,),
    )
    [job] = call(pdb, "job_list", user=anna.id)
    assert (job["agent_id"], job["parent_id"], job["broker_connection_id"]) == (None, None, None)


def test_of_whom_jobs_wait(pdb: Db, anna: User, bert: User, still: Clock) -> None:
    carl = new_trader(pdb)
    everybody = [anna.id, bert.id, carl.id]

    def waiting(users: list[UUID]) -> list[tuple[UUID, str]]:
        found = call(pdb, "users_waiting", user_ids=users)
        return sorted((user["user_id"], user["queue"]) for user in found)

    assert waiting(everybody) == []
    for _ in range(3):
        new_job(pdb, anna.id, "get_account", agent_id=anna.agent)
    new_job(pdb, bert.id, "get_account")
    assert waiting(everybody) == sorted([(anna.id, f"agent/{anna.agent}"), (bert.id, "any")])
    assert waiting([bert.id, carl.id]) == [(bert.id, "any")]
    assert waiting([]) == []
    assert claim(pdb, bert.agent) is not None
    assert waiting(everybody) == [(anna.id, f"agent/{anna.agent}")]


# -- claims against each other


def test_agents_that_claim_at_once_never_get_the_same_job(
    pdb: Db, platform_url: str, anna: User
) -> None:
    agents = [new_agent(pdb, anna.id, anna.account) for _ in range(4)]
    jobs = {new_job(pdb, anna.id, "get_account") for _ in range(100)}

    def drain(agent: UUID) -> list[UUID]:
        with psycopg.connect(platform_url, autocommit=True, row_factory=dict_row) as conn:
            taken: list[UUID] = []
            while job := claim(conn, agent):
                taken.append(job["id"])
            return taken

    with ThreadPoolExecutor(len(agents)) as threads:
        taken = [job_id for some in threads.map(drain, agents) for job_id in some]
    assert len(taken) == len(jobs)
    assert set(taken) == jobs


def test_a_claim_that_is_not_committed_is_passed_by(pdb: Db, platform_url: str, anna: User) -> None:
    other = new_agent(pdb, anna.id, anna.account)
    jobs = {new_job(pdb, anna.id, "get_account") for _ in range(2)}
    with psycopg.connect(platform_url, row_factory=dict_row) as first:
        held = first.execute("select id from public.claim_next_job(%s)", (anna.agent,)).fetchall()
        taken = claim(pdb, other)
        assert taken is not None
        assert {held[0]["id"], taken["id"]} == jobs
        assert claim(pdb, other) is None
        first.rollback()
    again = claim(pdb, other)
    assert again is not None
    assert again["id"] == held[0]["id"]
