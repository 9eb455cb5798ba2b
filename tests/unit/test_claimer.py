"""What a claimer remembers: marks, tenants and turns, on a real database."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest

from jobengine import Job, JobEngine, NewJob, Report
from jobengine.claimer import LOOK_PAUSE_MAX, LOOK_SHARE, Claimer
from tests.acceptance.world import ANNA, BERT, Db, as_owner, in_loop, site

NOISY = UUID(int=1)


def claimer(engine: JobEngine, **options: Any) -> Claimer:
    return Claimer(engine.connection, **{"queues": ["default"], "agent_id": "a", **options})


async def enqueue(engine: JobEngine, count: int, **fields: Any) -> list[UUID]:
    jobs = [NewJob(**{"job_type": "work", **fields}) for _ in range(count)]
    return [job.id for job in await engine.enqueue_many(jobs)]


def ids(jobs: Sequence[Job]) -> list[UUID]:
    return [job.id for job in jobs]


def forbid_looks(claimer: Claimer) -> None:
    claimer._look_due = math.inf


def allow_looks(claimer: Claimer) -> None:
    claimer._look_due = 0.0


async def put_back(engine: JobEngine, jobs: Sequence[Job]) -> None:
    """Let the attempts fail: they wait again, behind the marks."""
    if jobs:
        await engine.finish(Report(**_lease(job), outcome="failed", delay=0) for job in jobs)


def _lease(job: Job) -> dict[str, Any]:
    return {"job_id": job.id, "lease_epoch": job.lease_epoch}


@in_loop
async def test_claims_go_on_where_the_last_one_came_to(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        job_ids = await enqueue(engine, 7)
        mine = claimer(engine)
        first = await mine.claim(3)
        forbid_looks(mine)
        second = await mine.claim(3)
        third = await mine.claim(3)
        assert ids(first) + ids(second) + ids(third) == job_ids


@in_loop
async def test_a_job_behind_a_mark_is_found_by_the_next_look(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        job_ids = await enqueue(engine, 4)
        mine = claimer(engine)
        # Its run_at is before the mark's, as that of a transaction which commits late.
        first = await mine.claim(2)
        await engine.release(first[:1])
        as_owner(
            db,
            "update jobengine.ready set run_at = '2020-01-01' where attempt = 0"
            " and lease_epoch = 1",
        )
        forbid_looks(mine)
        assert ids(await mine.claim(5)) == job_ids[2:]
        assert await mine.claim(5) == []
        allow_looks(mine)
        assert ids(await mine.claim(5)) == job_ids[:1]


@in_loop
async def test_retries_behind_a_mark_are_found(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        job_ids = await enqueue(engine, 20)
        mine = claimer(engine)
        done: list[UUID] = []
        while len(done) < len(job_ids):
            jobs = await mine.claim(3)
            allow_looks(mine)
            await put_back(engine, [job for job in jobs if job.attempt == 1])
            second = [job for job in jobs if job.attempt == 2]
            await _complete(engine, second)
            done += ids(second)
        assert sorted(done) == sorted(job_ids)


async def _complete(engine: JobEngine, jobs: Sequence[Job]) -> None:
    if jobs:
        await engine.finish(Report(**_lease(job), outcome="completed") for job in jobs)


@in_loop
async def test_a_claim_that_is_not_full_looks_at_once_for_the_rest(
    db: Db, database_url: str
) -> None:
    async with site(database_url) as engine:
        await enqueue(engine, 2)
        mine = claimer(engine)
        await mine.claim(1)
        behind = await enqueue(engine, 1, priority=5)
        as_owner(
            db, "update jobengine.ready set run_at = '2020-01-01' where job_id = %s", behind[0]
        )
        allow_looks(mine)
        assert len(await mine.claim(2)) == 2


@in_loop
async def test_looks_take_a_tenth_of_the_time_and_are_never_far(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        await enqueue(engine, 5)
        mine = claimer(engine)
        began = time.monotonic()
        await mine.claim(1)
        ended = time.monotonic()
        assert began < mine._look_due <= ended + min(LOOK_PAUSE_MAX, LOOK_SHARE * (ended - began))


@in_loop
async def test_priorities_come_before_queues_and_marks(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        late = await enqueue(engine, 3, priority=7)
        mine = claimer(engine)
        assert ids(await mine.claim(1)) == late[:1]
        forbid_looks(mine)
        urgent = await enqueue(engine, 2, priority=0)
        assert ids(await mine.claim(4)) == urgent + late[1:]


@in_loop
async def test_queues_take_turns(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        for queue in ("a", "b", "c"):
            await enqueue(engine, 10, queue=queue)
        mine = claimer(engine, queues=["a", "b", "c"])
        served = [(await mine.claim(1))[0].queue for _ in range(6)]
        assert served == ["a", "b", "c", "a", "b", "c"]


@in_loop
async def test_a_noisy_tenant_does_not_starve_quiet_ones(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        await enqueue(engine, 1000, tenant_id=NOISY)
        await enqueue(engine, 1, tenant_id=ANNA)
        await enqueue(engine, 1, tenant_id=BERT)
        mine = claimer(engine)
        served = [{job.tenant_id for job in await mine.claim(10)} for _ in range(3)]
        assert {ANNA, BERT} <= set().union(*served)


@in_loop
async def test_tenants_are_served_in_turn(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        for tenant in (ANNA, BERT, NOISY):
            await enqueue(engine, 6, tenant_id=tenant)
        mine = claimer(engine)
        served = [(await mine.claim(1))[0].tenant_id for _ in range(6)]
        assert served[:3] == served[3:]
        assert set(served) == {ANNA, BERT, NOISY}


@in_loop
async def test_a_tenant_without_jobs_is_forgotten_with_its_marks(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        await enqueue(engine, 1, tenant_id=ANNA)
        await enqueue(engine, 9, tenant_id=BERT)
        mine = claimer(engine)
        while await mine.claim(2):
            pass
        await mine.claim(1)
        assert mine._tenants == []
        assert mine._marks == {}


@in_loop
async def test_tenant_isolated_a_claimer_of_one_tenant_never_gets_anothers_job(
    db: Db, database_url: str
) -> None:
    async with site(database_url) as engine:
        await enqueue(engine, 3, tenant_id=ANNA)
        berts = await enqueue(engine, 3, tenant_id=BERT)
        mine = claimer(engine, tenant_id=BERT)
        assert not mine.wants(ANNA, "default")
        assert ids(await mine.claim(10)) == berts
        assert await mine.claim(10) == []


@in_loop
async def test_a_notified_tenant_is_served_before_the_next_look(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        await enqueue(engine, 3, tenant_id=ANNA)
        mine = claimer(engine)
        await mine.claim(1)
        forbid_looks(mine)
        new = await enqueue(engine, 1, tenant_id=BERT)
        assert not mine.wants(BERT, "another queue")
        assert mine.wants(BERT, "default")
        assert new[0] in ids(await mine.claim(3))


class Interrupted(Claimer):
    """A claimer that is notified of a tenant while its claim is under way."""

    news: UUID | None = None

    def _request(self, limit: int) -> str:
        text = super()._request(limit)
        if self.news is not None:
            self.wants(self.news, "default")
        return text


@in_loop
async def test_a_tenant_that_is_notified_during_a_claim_is_not_forgotten_by_it(
    db: Db, database_url: str
) -> None:
    async with site(database_url) as engine:
        await enqueue(engine, 2, tenant_id=ANNA)
        mine = Interrupted(engine.connection, queues=["default"], agent_id="a")
        assert len(await mine.claim(1)) == 1
        forbid_looks(mine)
        mine.news = BERT
        assert len(await mine.claim(5)) == 1
        mine.news = None
        bert = await enqueue(engine, 1, tenant_id=BERT)
        assert ids(await mine.claim(5)) == bert


@in_loop
async def test_a_tenant_behind_a_thousand_others_is_found(db: Db, database_url: str) -> None:
    """The tenants are found page by page; those that only wait for their time fill the first."""
    async with site(database_url) as engine:
        later = [NewJob(job_type="work", tenant_id=UUID(int=n), delay=3600) for n in range(1, 1201)]
        await engine.enqueue_many(later)
        last = await enqueue(engine, 1, tenant_id=UUID(int=5000))
        mine = claimer(engine)
        found: list[UUID] = []
        for _ in range(3):
            allow_looks(mine)
            found += ids(await mine.claim(10))
        assert found == last


@in_loop
async def test_a_sleep_ends_when_the_next_scheduled_job_is_due(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        mine = claimer(engine)
        assert await mine.seconds_to_sleep(60) == 60
        await enqueue(engine, 1, delay=20, queue="another")
        await enqueue(engine, 1, delay=30)
        assert 20 < await mine.seconds_to_sleep(60) <= 30
        assert await mine.seconds_to_sleep(5) == 5


@in_loop
async def test_a_sleep_ends_when_the_next_look_is_due(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        await enqueue(engine, 2)
        mine = claimer(engine)
        await mine.claim(1)
        assert await mine.seconds_to_sleep(60) <= LOOK_PAUSE_MAX


@pytest.mark.parametrize("two_phase, started", [("never", True), ("at_most_once", False)])
@in_loop
async def test_two_phases_are_passed_on(
    db: Db, database_url: str, *, two_phase: Any, started: bool
) -> None:
    async with site(database_url) as engine:
        await enqueue(engine, 1, job_type="careful")
        job = (await claimer(engine, two_phase=two_phase).claim(1))[0]
        assert (job.started_at is not None) == started
