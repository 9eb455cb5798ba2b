"""Claim, start, keep and report over HTTP: R4 to R12, C1 to C6, C33, C34."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest

from tests.api.world import Agent, Json, Service, User, problem, until

SHAPE = {
    "job_id", "job_type", "type", "payload", "input_data", "attempt", "lease_epoch",
    "lease_expires_at", "expires_at", "created_at",
}  # fmt: skip
ORDER = {"symbol": "EURUSD", "side": "buy", "volume": 0.1, "sl": None, "tp": None}


def trade(owner: User, agent: Agent, **more: Any) -> UUID:
    return owner.enqueue("trade", agent_id=str(agent.agent_id), input_data=ORDER, **more)


def test_c3_the_job_has_the_names_of_all_source_documents(owner: User, agent: Agent) -> None:
    job_id = trade(owner, agent)
    job = agent.next()
    assert job.keys() >= SHAPE
    assert (job["job_id"], job["job_type"], job["type"]) == (str(job_id), "trade", "trade")
    assert job["payload"] == job["input_data"] == ORDER
    assert (job["status"], job["lease_epoch"], job["attempt"]) == ("running", 1, 1)


def test_r6_a_claim_makes_the_job_running_and_names_agent_and_time(
    owner: User, agent: Agent
) -> None:
    job_id = trade(owner, agent)
    agent.next()
    job = owner.job(job_id)
    assert (job["status"], job["agent_id"]) == ("running", str(agent.agent_id))
    assert job["claimed_at"]


def test_r7_two_simultaneous_claims_never_get_the_same_job(owner: User, agent: Agent) -> None:
    other = owner.pair()
    jobs = {owner.enqueue() for _ in range(20)}

    async def drain() -> list[str]:
        taken = []
        async with httpx.AsyncClient(base_url=agent.service.address, timeout=60) as http:
            for _ in range(10):
                both = [http.get(f"{a.path}/jobs/next", headers=a.headers) for a in (agent, other)]
                taken += [answer.json()["job_id"] for answer in await asyncio.gather(*both)]
        return taken

    taken = asyncio.run(drain())
    assert len(taken) == len(set(taken))
    assert sorted(taken) == sorted(map(str, jobs))


def test_c2_jobs_of_other_users_and_other_agents_are_not_claimed(
    service: Service, owner: User, agent: Agent
) -> None:
    stranger = service.user()
    stranger.pair()
    stranger.enqueue()
    owner.enqueue(agent_id=str(owner.pair().agent_id))
    assert agent.next() == {"no_jobs": True}


def test_r9_a_result_is_acknowledged_and_kept(owner: User, agent: Agent) -> None:
    job_id = owner.enqueue(agent_id=str(agent.agent_id))
    agent.next()
    body: Any = {"status": "completed", "output_data": {"positions": []}, "error_message": None}
    answer = agent.post(f"{agent.path}/jobs/{job_id}/result", body)
    assert (answer.status_code, answer.json()) == (200, {"acknowledged": True})
    job = owner.job(job_id)
    assert (job["status"], job["output_data"]) == ("completed", {"positions": []})


def test_r9_failed_is_final(owner: User, agent: Agent) -> None:
    job_id = owner.enqueue(agent_id=str(agent.agent_id))
    agent.next()
    assert agent.result(job_id, status="failed", error_message="no terminal").status_code == 200
    job = owner.job(job_id)
    assert (job["status"], job["error_message"]) == ("failed", "no terminal")
    assert agent.next() == {"no_jobs": True}


@pytest.mark.parametrize(
    "result,status,error",
    [
        ({"output_data": {"artifact_path": "ea/1.ex5"}}, "compiled", None),
        ({"status": "failed", "error_message": "line 3: ';'"}, "failed", "line 3: ';'"),
    ],
)
def test_r10_a_compile_result_reaches_the_version(
    owner: User, agent: Agent, result: dict[str, Any], status: str, error: str | None
) -> None:
    version = new_version(owner)
    job_id = owner.enqueue(
        "compile", agent_id=str(agent.agent_id), parent_type="ea_version", parent_id=str(version)
    )
    agent.next()
    agent.result(job_id, **result)
    (row,) = owner.service.rows("select * from ea_versions where id = %s", version)
    assert (row["status"], row["compilation_error"]) == (status, error)


def test_r10_a_long_compiler_log_is_cut_and_not_refused(owner: User, agent: Agent) -> None:
    version = new_version(owner)
    job_id = owner.enqueue(
        "compile", agent_id=str(agent.agent_id), parent_type="ea_version", parent_id=str(version)
    )
    agent.next()
    log = "line 3: ';'\n" * 2000
    for _ in range(2):  # the same report again is the same, cut or not
        assert agent.result(job_id, status="failed", error_message=log).status_code == 200
    (row,) = owner.service.rows("select * from ea_versions where id = %s", version)
    assert row["compilation_error"] == owner.job(job_id)["error_message"] == log[:10_000]


def test_r12_a_trade_result_reaches_the_signal(owner: User, agent: Agent) -> None:
    signal = new_signal(owner)
    job_id = owner.enqueue(
        "trade",
        agent_id=str(agent.agent_id),
        input_data={**ORDER, "source": "tv_signal", "signal_id": str(signal)},
        parent_type="tv_signal",
        parent_id=str(signal),
    )
    agent.next()
    agent.result(job_id, output_data={"ticket": "123", "fill_price": 1.0845})
    (row,) = owner.service.rows("select * from tv_signals where id = %s", signal)
    assert (row["status"], row["broker_order_id"]) == ("executed", "123")
    assert float(row["fill_price"]) == 1.0845
    assert row["resolved_at"]


def test_c33_an_unknown_outcome_is_a_state_and_a_late_report_solves_it(
    owner: User, agent: Agent
) -> None:
    job_id = trade(owner, agent)
    agent.next()
    doubt = {"status": "failed", "output_data": {"outcome": "unknown"}}
    assert agent.result(job_id, **doubt).status_code == 200
    assert owner.job(job_id)["status"] == "unknown"
    assert agent.result(job_id, output_data={"ticket": "9"}).status_code == 200
    assert owner.job(job_id)["status"] == "completed"


def test_c34_the_same_result_again_is_acknowledged_another_is_a_conflict(
    owner: User, agent: Agent
) -> None:
    job_id = trade(owner, agent)
    epoch = agent.next()["lease_epoch"]
    assert agent.result(job_id, lease_epoch=epoch).status_code == 200
    assert agent.result(job_id, lease_epoch=epoch).json() == {"acknowledged": True}
    assert agent.result(job_id).json() == {"acknowledged": True}
    assert problem(agent.result(job_id, status="failed")) == (409, "conflict")


def test_c34_a_result_of_another_agent_or_of_no_job_is_not_found(
    service: Service, owner: User, agent: Agent
) -> None:
    job_id = trade(owner, agent)
    epoch = agent.next()["lease_epoch"]
    for other in (owner.pair(), service.user().pair()):
        assert problem(other.result(job_id, lease_epoch=epoch)) == (404, "not_found")
        assert problem(other.result(job_id)) == (404, "not_found")
    assert problem(agent.result(uuid4())) == (404, "not_found")
    assert owner.job(job_id)["status"] == "running"


def test_c34_a_stale_epoch_is_lease_lost(owner: User, agent: Agent) -> None:
    job_id = owner.enqueue()
    first = agent.next(ack=1)["lease_epoch"]
    run_out(owner.service, job_id)
    until(lambda: owner.job(job_id)["status"] == "pending")  # the service has taken it back
    second = agent.next(ack=1)["lease_epoch"]
    assert second == first + 1
    assert problem(agent.result(job_id, lease_epoch=first)) == (409, "lease_lost")
    assert problem(agent.post(f"{agent.path}/jobs/{job_id}/start", {"lease_epoch": first})) == (
        (409, "lease_lost")
    )
    assert agent.result(job_id, lease_epoch=second).status_code == 200


def test_c34_without_an_epoch_a_lost_job_is_lease_lost(owner: User, agent: Agent) -> None:
    job_id = owner.enqueue(agent_id=str(agent.agent_id))
    agent.next(ack=1)
    run_out(owner.service, job_id)
    until(lambda: owner.job(job_id)["status"] == "pending")
    assert problem(agent.result(job_id)) == (409, "lease_lost")


def test_c1_with_ack_the_job_is_claimed_until_it_is_started(owner: User, agent: Agent) -> None:
    job_id = trade(owner, agent)
    job = agent.next(ack=1)
    assert job["status"] == owner.job(job_id)["status"] == "claimed"
    path = f"{agent.path}/jobs/{job_id}/start"
    started = agent.post(path, {"lease_epoch": job["lease_epoch"]}).json()
    assert (started["status"], started["repeated"]) == ("running", False)
    assert agent.post(path).json()["repeated"] is True
    assert owner.job(job_id)["status"] == "running"


@pytest.mark.parametrize("ack", [0, 1], ids=["begun", "claimed"])
def test_a_job_that_is_given_back_waits_again_at_once(owner: User, agent: Agent, ack: int) -> None:
    job_id = owner.enqueue()
    first = agent.next(ack=ack)
    given_back = agent.post(f"{agent.path}/jobs/{job_id}/release", held(first))
    assert given_back.json() == {"acknowledged": True}
    assert owner.job(job_id)["status"] == "pending"
    second = agent.next(ack=1)
    assert (second["job_id"], second["attempt"]) == (str(job_id), first["attempt"])
    stale = agent.post(f"{agent.path}/jobs/{job_id}/release", held(first))
    assert problem(stale) == (409, "lease_lost")


def test_an_order_is_given_back_before_it_is_begun_only(owner: User, agent: Agent) -> None:
    job_id = trade(owner, agent)
    path = f"{agent.path}/jobs/{job_id}"
    assert agent.post(f"{path}/release", held(agent.next(ack=1))).status_code == 200
    again = agent.next()
    assert problem(agent.post(f"{path}/release", held(again))) == (409, "conflict")
    assert owner.job(job_id)["status"] == "running"
    other = owner.pair()
    foreign = other.post(f"{other.path}/jobs/{job_id}/release", held(again))
    assert problem(foreign) == (404, "not_found")


def held(job: Json) -> Json:
    return {"lease_epoch": job["lease_epoch"]}


def test_a_job_heartbeat_keeps_the_lease_and_brings_the_wish_to_stop(
    owner: User, agent: Agent
) -> None:
    job_id = trade(owner, agent)
    before = agent.next()["lease_expires_at"]
    path = f"{agent.path}/jobs/{job_id}/heartbeat"
    kept = agent.post(path, {"seconds": 600}).json()
    assert kept["lease_expires_at"] > before
    assert kept["cancel_requested"] is False
    asked = owner.post(f"/api/v1/jobs/{job_id}/cancel", {"reason": "changed my mind"}).json()
    assert (asked["status"], asked["verdict"]) == ("running", "ok")
    stop = agent.post(path).json()
    assert (stop["cancel_requested"], stop["cancel_reason"]) == (True, "changed my mind")


def test_c6_an_expired_order_is_not_handed_out(owner: User, agent: Agent) -> None:
    job_id = trade(owner, agent, expires_in=0.001)
    assert agent.next() == {"no_jobs": True}
    assert owner.job(job_id)["status"] == "expired"


def test_g6_jobs_are_listed_in_pages_and_cancelled_by_their_owner(
    service: Service, owner: User
) -> None:
    jobs = [owner.enqueue() for _ in range(3)]
    first = owner.get("/api/v1/jobs", limit=2, job_type="get_positions")
    rest = owner.get(first.headers["link"].split(">")[0].strip("<"))
    assert [job["id"] for job in first.json() + rest.json()] == [str(j) for j in jobs[::-1]]
    path = f"/api/v1/jobs/{jobs[0]}"
    assert problem(service.user().get(path)) == (404, "not_found")
    assert problem(service.user().post(f"{path}/cancel")) == (404, "not_found")
    assert owner.post(f"{path}/cancel").json()["status"] == "cancelled"
    assert owner.get("/api/v1/jobs", status="cancelled").json()[0]["id"] == str(jobs[0])


def test_r15_a_tenth_job_type_is_refused(owner: User) -> None:
    refused = owner.post("/api/v1/jobs", {"job_type": "format_disk"})
    assert problem(refused) == (422, "invalid")
    assert refused.json()["errors"][0]["field"] == "job_type"


def run_out(service: Service, job_id: UUID) -> None:
    """Let the lease end, as if its time had passed."""
    with psycopg.connect(service.database_url) as conn:
        conn.execute("set local role jobengine_owner")
        conn.execute(
            """update jobengine.lease set lease_expires_at = now() - interval '1 second'
            where job_id = %s""",
            (job_id,),
        )


def new_version(owner: User) -> UUID:
    (row,) = owner.service.rows(
        """with p as (insert into ea_projects (user_id, name) values (%s, 'ea') returning *)
        insert into ea_versions (project_id, user_id, version_number, source_code, status)
        select id, user_id, 1, 'int OnInit();', 'draft' from p returning id""",
        owner.user_id,
    )
    return UUID(str(row["id"]))


def new_signal(owner: User) -> UUID:
    (row,) = owner.service.rows(
        """with s as (
            insert into tv_strategies (user_id, name, webhook_secret)
            values (%s, 's', gen_random_uuid()::text) returning *)
        insert into tv_signals (user_id, strategy_id, symbol, action, raw_payload)
        select user_id, id, 'EURUSD', 'buy', '{}' from s returning id""",
        owner.user_id,
    )
    return UUID(str(row["id"]))
