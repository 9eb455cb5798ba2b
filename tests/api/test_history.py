"""Eight agents over HTTP lose and double nothing, also when PostgreSQL dies in between.

Judged by what they saw, and by what the tables say.
HISTORY_JOBS says how many jobs there are per agent.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from api.commands import migrate
from api.embedded import EmbeddedValkey
from jobengine import JobEngine, NewJob
from jobengine.embedded import EmbeddedPostgres
from tests.api.world import PATIENCE, Agent, Service, User, server_folder, serving
from tests.history import Claimed, Enqueued, Final, History, Reported
from tests.invariants import violations

AGENTS = 8
JOBS = int(os.environ.get("HISTORY_JOBS", "125"))
FINALS = """
select e.job_id::text as job, j.dedup_key as key, e.status, e.lease_epoch as epoch, e.attempt,
    j.max_attempts, e.output ->> 'by' as token,
    1 + (select count(*) from jobengine.ready r where r.job_id = e.job_id)
      + (select count(*) from jobengine.lease l where l.job_id = e.job_id) as places
from jobengine.ended e join jobengine.jobs j using (job_id)
where e.tenant_id = %s
"""


class Worker:
    """An agent that repeats a call until it is answered, as agents do, and writes down both."""

    def __init__(self, http: httpx.AsyncClient, agent: Agent, history: History) -> None:
        self.http = http
        self.agent = agent
        self.history = history
        self.calls = 0

    async def run(self, all_done: asyncio.Event, total: int) -> None:
        while not all_done.is_set():
            if await self.one():
                continue
            if sum(report.status == "completed" for report in self.history.reported) >= total:
                all_done.set()

    async def one(self) -> bool:
        """Take a job and do it; False where there is none."""
        asked, call = time.monotonic(), self.name()
        query = {"ack": 1, "wait": 0.5, "request_id": str(uuid4())}
        answer = await self.persistently("GET", "jobs/next", params=query)
        job = answer.json()
        if "job_id" not in job:
            return False
        self.history.claimed.append(
            Claimed(
                call,
                job["job_id"],
                job["lease_epoch"],
                job["attempt"],
                job["lease_seconds"],
                asked,
                time.monotonic(),
            )
        )
        if await self.report(job, "start", "start", {}):
            await self.report(job, "completed", "result", {"status": "completed"})
        return True

    async def report(self, job: Any, outcome: str, path: str, body: dict[str, Any]) -> bool:
        asked, token = time.monotonic(), f"{self.name()}/0"
        said = {**body, "lease_epoch": job["lease_epoch"]}
        if outcome == "completed":
            said["output_data"] = {"by": token}
        answer = await self.persistently("POST", f"jobs/{job['job_id']}/{path}", json=said)
        good = answer.status_code == 200
        status = "completed" if good and outcome == "completed" else None
        verdict = "ok" if good else "stale_lease"
        self.history.reported.append(
            Reported(token, job["job_id"], job["lease_epoch"], outcome, asked, verdict, status)
        )
        return good

    async def persistently(self, method: str, path: str, **more: Any) -> httpx.Response:
        url = f"{self.agent.path}/{path}"
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    answer = await self.http.request(
                        method, url, headers=self.agent.headers, **more
                    )
                except httpx.TransportError:
                    continue
                if answer.status_code in {200, 404, 409}:
                    return answer
                assert answer.status_code == 503, answer.text

    def name(self) -> str:
        self.calls += 1
        return f"{self.agent.agent_id}/{self.calls}"


async def enqueue(url: str, tenant_id: UUID, history: History) -> None:
    keys = [f"job {n}" for n in range(AGENTS * JOBS)]
    new = [
        NewJob(job_type="get_positions", queue="any", tenant_id=tenant_id, dedup_key=key)
        for key in keys
    ]
    async with JobEngine(url) as engine:
        put = await engine.enqueue_many(new)
    history.enqueued += [Enqueued(key, str(job.job_id)) for key, job in zip(keys, put, strict=True)]


async def work(owner: User, history: History, url: str, *faults: Any) -> None:
    await enqueue(url, owner.user_id, history)
    agents = [owner.pair() for _ in range(AGENTS)]
    async with httpx.AsyncClient(base_url=owner.service.address, timeout=PATIENCE) as http:
        done = asyncio.Event()
        workers = [Worker(http, agent, history) for agent in agents]
        tasks = [asyncio.create_task(w.run(done, AGENTS * JOBS)) for w in workers]
        for number, fault in enumerate(faults, 1):
            share = AGENTS * JOBS * number // (len(faults) + 1)
            while len(history.claimed) < share:  # noqa: ASYNC110 - nobody sets an event for it
                await asyncio.sleep(0.01)
            await asyncio.to_thread(fault)
        await asyncio.gather(*tasks)


def judged(owner: User, history: History) -> list[str]:
    rows = owner.service.rows(FINALS, owner.user_id)
    # Reads have no parents, so there is nothing to settle.
    return violations(history, [Final(**row, unsettled=True) for row in rows])


def test_eight_agents_lose_and_double_nothing(service: Service, owner: User) -> None:
    history = History()
    asyncio.run(work(owner, history, service.database_url))
    assert judged(owner, history) == []
    assert len(history.claimed) == AGENTS * JOBS


@pytest.fixture
def postgres() -> Iterator[EmbeddedPostgres]:
    with (
        server_folder() as folder,
        EmbeddedPostgres(folder / "postgres", durable=False) as server,
    ):
        yield server


def test_a_postgresql_that_restarts_under_load_loses_and_doubles_nothing(
    postgres: EmbeddedPostgres, valkey: EmbeddedValkey
) -> None:
    history = History()
    asyncio.run(migrate(postgres.url))
    with serving(postgres.url, valkey.url) as service:
        owner = service.user()
        restarts = [lambda: postgres.restart("fast"), lambda: postgres.restart("immediate")]
        asyncio.run(work(owner, history, postgres.url, *restarts))
        assert judged(owner, history) == []
