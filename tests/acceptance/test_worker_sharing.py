"""Workers that share queues, tenants that do not, and how an idle worker learns of a job."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any
from uuid import UUID

from jobengine import Job, JobEngine, Worker
from tests.acceptance.handlers import Gate
from tests.acceptance.world import (
    ANNA,
    BERT,
    Db,
    asleep,
    counts,
    end,
    ends,
    enqueue,
    in_loop,
    scalar,
    site,
    until,
    working,
)

NEVER = 3600.0  # a poll or a sweep that explains nothing in these tests


class Log:
    """A handler that notes which jobs ran, and where."""

    def __init__(self) -> None:
        self.ran: list[Job] = []

    async def __call__(self, job: Job) -> None:
        self.ran.append(job)

    @property
    def ids(self) -> list[UUID]:
        return [job.id for job in self.ran]


def worker_of(engine: JobEngine, handler: Any, **options: Any) -> Worker:
    worker = Worker(engine, **options)
    worker.handles("work")(handler)
    return worker


def sleeper_of(engine: JobEngine, handler: Any, **options: Any) -> Worker:
    """A worker that neither polls nor sweeps while a test runs."""
    return worker_of(engine, handler, poll=NEVER, sweep_every=NEVER, **options)


@in_loop
async def test_no_double_claim_workers_share_a_queue(db: Db, database_url: str) -> None:
    async with site(database_url) as engine, JobEngine(database_url) as other:
        gate = Gate()
        workers = [
            worker_of(engine, gate, concurrency=7),
            worker_of(engine, gate, concurrency=3),
            worker_of(other, gate, concurrency=10),
        ]
        async with working(*workers):
            job_ids = await enqueue(engine, 300) + await enqueue(other, 300)
            await until(lambda: len(gate.begun) == 20)  # so each of them has its part
            gate.open()
            await until(lambda: counts(db)["ended"] == 600)
        assert Counter(gate.begun) == Counter(job_ids)
        assert {job.lease_epoch for job in await engine.list(limit=1000)} == {1}
        assert len({job.agent_id for job in await engine.list(limit=1000)}) == 3
        assert counts(db) == {"job": 600, "ready": 0, "lease": 0, "ended": 600}


@in_loop
async def test_tenant_isolated_a_worker_of_one_tenant_never_sees_anothers_job(
    db: Db, database_url: str
) -> None:
    async with site(database_url) as engine:
        log = Log()
        async with working(worker_of(engine, log, tenant_id=ANNA)):
            await enqueue(engine, 20, tenant_id=BERT)
            await enqueue(engine, 20)
            annas = await enqueue(engine, 20, tenant_id=ANNA)
            await ends(engine, annas)
        assert sorted(log.ids) == sorted(annas)
        assert counts(db)["ready"] == 40


@in_loop
async def test_a_worker_takes_only_from_its_queues(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        log = Log()
        async with working(worker_of(engine, log, queues=["mail", "images"])):
            others = await enqueue(engine, 3, queue="default")
            mine = await enqueue(engine, 3, queue="mail") + await enqueue(engine, queue="images")
            await ends(engine, mine)
        assert sorted(log.ids) == sorted(mine)
        assert {job.id for job in await engine.list(status="pending")} == set(others)


@in_loop
async def test_a_worker_of_all_tenants_serves_each(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        job_ids = [(await enqueue(engine, tenant_id=UUID(int=n)))[0] for n in range(40)]
        async with working(worker_of(engine, Log(), concurrency=5)):
            assert {job.status for job in await ends(engine, job_ids)} == {"completed"}


@in_loop
async def test_priorities_decide_what_runs_first(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        gate, log = Gate(), Log()
        worker = worker_of(engine, log, concurrency=1)
        worker.handles("careful")(gate)
        async with working(worker):
            (first,) = await enqueue(engine, job_type="careful")
            await until(lambda: gate.begun)
            job_ids = [(await enqueue(engine, priority=p))[0] for p in (9, 5, 0, 7, 5, 1)]
            gate.open()
            await ends(engine, [first, *job_ids])
        assert [job.priority for job in log.ran] == [0, 1, 5, 5, 7, 9]


@in_loop
async def test_an_idle_worker_is_woken_by_the_enqueue(db: Db, database_url: str) -> None:
    async with site(database_url) as engine, JobEngine(database_url) as other:
        log = Log()
        worker = sleeper_of(engine, log)
        async with working(worker):
            for _ in range(3):
                await until(lambda: asleep(db, worker))
                (job_id,) = await enqueue(other)
                assert (await end(other, job_id)).status == "completed"
                await until(lambda: scalar(db, "select 1 from jobengine.waiting"))


@in_loop
async def test_an_idle_worker_of_one_tenant_is_woken_for_that_tenant(
    db: Db, database_url: str
) -> None:
    async with site(database_url) as engine, JobEngine(database_url) as other:
        worker = sleeper_of(engine, Log(), tenant_id=ANNA)
        async with working(worker):
            await until(lambda: asleep(db, worker))
            await enqueue(other, tenant_id=BERT)
            (job_id,) = await enqueue(other, tenant_id=ANNA)
            assert (await end(other, job_id)).status == "completed"
        assert counts(db)["ready"] == 1


@in_loop
async def test_an_idle_worker_is_woken_when_a_job_is_given_back(db: Db, database_url: str) -> None:
    async with site(database_url) as engine, JobEngine(database_url) as other:
        (job_id,) = await enqueue(other)
        held = await other.claim(["default"], agent_id="another")
        worker = sleeper_of(engine, Log())
        async with working(worker):
            await until(lambda: asleep(db, worker))
            await other.release(held)
            assert (await end(other, job_id)).status == "completed"


@in_loop
async def test_an_idle_worker_is_woken_when_a_job_is_tried_again(db: Db, database_url: str) -> None:
    async with site(database_url) as engine, JobEngine(database_url) as other:
        (job_id,) = await enqueue(other)
        await other.cancel([job_id])
        worker = sleeper_of(engine, Log())
        async with working(worker):
            await until(lambda: asleep(db, worker))
            await other.retry([job_id])
            await until(lambda: scalar(db, "select status = 'completed' from jobengine.ended"))


@in_loop
async def test_a_scheduled_job_runs_when_it_is_due(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        log = Log()
        (before,) = await enqueue(engine, delay=0.4)
        worker = sleeper_of(engine, log)
        async with working(worker):
            assert (await end(engine, before)).status == "completed"
            await until(lambda: asleep(db, worker))
            (later,) = await enqueue(engine, delay=0.4)
            assert (await end(engine, later)).status == "completed"
        for job in log.ran:
            assert job.run_at is not None
            assert job.started_at is not None
            assert job.started_at >= job.run_at


@in_loop
async def test_a_retry_runs_when_its_backoff_is_over(db: Db, database_url: str) -> None:
    async def handler(job: Job) -> None:
        if job.attempt == 1:
            raise ValueError

    async with site(database_url) as engine, working(worker_of(engine, handler)):
        (job_id,) = await enqueue(engine)
        found = await end(engine, job_id)
        assert (found.status, found.attempt) == ("completed", 2)


@in_loop
async def test_a_worker_that_sleeps_stands_in_waiting_and_leaves_it(
    db: Db, database_url: str
) -> None:
    async with site(database_url) as engine:
        worker = sleeper_of(engine, Log(), queues=["a", "b"])
        async with working(worker):
            await until(lambda: asleep(db, worker))
            rows = db.execute(
                "select queue, tenant_id from jobengine.waiting order by 1"
            ).fetchall()
            assert [*rows] == [{"queue": "a", "tenant_id": None}, {"queue": "b", "tenant_id": None}]
        assert scalar(db, "select count(*) from jobengine.waiting") == 0


@in_loop
async def test_workers_of_one_engine_share_its_listener(db: Db, database_url: str) -> None:
    async with (
        site(database_url) as engine,
        working(*(sleeper_of(engine, Log()) for _ in range(3))),
    ):
        await until(lambda: scalar(db, "select count(*) = 3 from jobengine.waiting"))
        listeners = "select count(*) from pg_stat_activity where query like 'listen%%'"
        assert scalar(db, listeners + " and datname = current_database()") == 1


@in_loop
async def test_no_job_is_forgotten_while_a_worker_is_just_going_to_sleep(
    db: Db, database_url: str
) -> None:
    """Jobs that come at every moment of the way into a sleep; the poll is for the unlucky ones."""
    async with (
        site(database_url) as engine,
        JobEngine(database_url) as other,
        working(worker_of(engine, Log(), poll=1, sweep_every=NEVER)),
    ):
        for pause in range(0, 60, 2):
            await asyncio.sleep(pause / 1000)  # a different moment each time, no fact
            (job_id,) = await enqueue(other)
            assert (await end(other, job_id)).status == "completed"
