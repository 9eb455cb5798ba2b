"""A server, or connections to it, that die under a running worker."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import dict_row

from jobengine import Job, JobEngine, NewJob, WaitTimeout, Worker
from jobengine._retrying import persistently
from jobengine.embedded import EmbeddedPostgres
from tests.acceptance.handlers import Gate
from tests.acceptance.world import (
    PATIENCE,
    Db,
    asleep,
    counts,
    end,
    in_loop,
    scalar,
    site,
    until,
    within,
    working,
)
from tests.faults.embedded_owner import cluster_at

TERMINATE = (
    "select count(pg_terminate_backend(pid)) from pg_stat_activity"
    " where datname = current_database() and application_name = 'jobengine'"
)
LISTENER = (
    "select pid from pg_stat_activity"
    " where datname = current_database() and query = 'listen jobengine'"
)

MANY = 2000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A server of this module's own, to be killed."""
    data: Path = tmp_path_factory.mktemp("server") / "postgres"
    with cluster_at(data), EmbeddedPostgres(data, durable=False) as owned:
        asyncio.run(install(owned.url))
        yield owned


async def install(url: str) -> None:
    async with JobEngine(url) as engine:
        await engine.install()


@asynccontextmanager
async def quick_site(url: str) -> AsyncIterator[JobEngine]:
    """Jobs whose lease is short and whose attempts are many: what is lost is soon run again."""
    async with site(url) as engine:
        await engine.register_job_type(
            "work", lease=1, max_attempts=1000, backoff=0.01, backoff_max=0.01
        )
        yield engine


def database(url: str) -> Db:
    return psycopg.connect(url, autocommit=True, row_factory=dict_row)


async def enqueue(engine: JobEngine, count: int = 1, **fields: Any) -> list[UUID]:
    jobs = [NewJob(**{"job_type": "work", **fields}) for _ in range(count)]
    return [job.id for job in await engine.enqueue_many(jobs)]


def worker_of(engine: JobEngine, handler: Any, **options: Any) -> Worker:
    worker = Worker(engine, **{"sweep_every": 0.1, "poll": 0.5, **options})
    worker.handles("work")(handler)
    return worker


async def linger(_: Job) -> str:
    await asyncio.sleep(0.005)
    return "done"


async def restart(server: EmbeddedPostgres) -> None:
    await asyncio.to_thread(server.restart, "immediate")


@in_loop
async def test_every_job_ends_once_although_the_server_crashes(server: EmbeddedPostgres) -> None:
    async with quick_site(server.url) as engine, working(worker_of(engine, linger, concurrency=20)):
        for count in (400, 400):
            job_ids = await enqueue(engine, count)
            with database(server.url) as db:
                await until(lambda: scalar(db, "select count(*) > 50 from jobengine.ended"))
            await restart(server)
            with database(server.url) as db:
                await until(lambda: counts(db)["ready"] + counts(db)["lease"] == 0)
                ended = db.execute(
                    "select status, count(*) from jobengine.ended where job_id = any(%s)"
                    " group by 1",
                    (job_ids,),
                ).fetchall()
                assert ended == [{"status": "completed", "count": count}]
                db.execute("set role jobengine_owner")
                db.execute("truncate jobengine.job, jobengine.ended, jobengine.failure")


@in_loop
async def test_results_of_the_outage_are_reported_after_it(server: EmbeddedPostgres) -> None:
    """The handler ends while nobody can be told."""
    async with site(server.url) as engine:
        gate = Gate()
        async with working(worker_of(engine, gate)):
            (job_id,) = await enqueue(engine, lease=600)
            await until(lambda: gate.begun)
            await asyncio.to_thread(server.stop, "immediate")
            gate.open()
            await until(lambda: gate.finished)
            await asyncio.to_thread(server.start)
            found = await end(engine, job_id)
            assert (found.status, found.attempt) == ("completed", 1)
            assert gate.begun == [job_id]


@in_loop
async def test_a_wait_rides_out_an_outage(server: EmbeddedPostgres) -> None:
    async with site(server.url) as engine:
        (job_id,) = await enqueue(engine, queue="nobody", wake=True)
        waiting = asyncio.create_task(engine.wait(job_id, timeout=PATIENCE))
        await until(lambda: engine.wakeup._on_end)
        await restart(server)
        await engine.cancel([job_id])
        assert (await within(waiting)).status == "cancelled"


@in_loop
async def test_a_wait_ends_in_time_while_the_server_is_away(server: EmbeddedPostgres) -> None:
    async with site(server.url) as engine:
        (job_id,) = await enqueue(engine, queue="nobody")
        await asyncio.to_thread(server.stop, "immediate")
        try:
            with pytest.raises(WaitTimeout):
                await within(engine.wait(job_id, timeout=0.1), 10)
        finally:
            await asyncio.to_thread(server.start)


@in_loop
async def test_a_worker_ends_while_the_server_is_away(
    server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobengine.worker._GRACE", 0.5)
    async with site(server.url) as engine:
        gate = Gate()
        worker = worker_of(engine, gate, drain_timeout=0)
        await enqueue(engine)
        run = asyncio.create_task(worker.run())
        await until(lambda: gate.begun)
        await asyncio.to_thread(server.stop, "immediate")
        try:
            worker.stop()
            await within(run, 20)
        finally:
            await asyncio.to_thread(server.start)


@in_loop
async def test_an_idle_worker_works_again_after_an_outage(server: EmbeddedPostgres) -> None:
    async with site(server.url) as engine, working(worker_of(engine, linger)):
        await restart(server)
        (job_id,) = await enqueue(engine)
        assert (await end(engine, job_id)).status == "completed"


async def some_more_end(db: Db, ended: int) -> None:
    """Wait until a hundred more have ended, or all; not for long, as all may hang on one."""
    with contextlib.suppress(TimeoutError):
        await until(lambda: counts(db)["ended"] > min(ended + 100, MANY - 1), 1)


@in_loop
async def test_every_job_ends_once_while_connections_are_cut(db: Db, database_url: str) -> None:
    ran: Counter[UUID] = Counter()

    async def handler(job: Job) -> str:
        ran[job.id] += 1
        await asyncio.sleep(0)
        return "done"

    async with quick_site(database_url) as engine:
        job_ids = await enqueue(engine, MANY)
        async with working(worker_of(engine, handler, concurrency=50)):
            cuts = 0
            while (ended := counts(db)["ended"]) < MANY:
                cuts += scalar(db, TERMINATE)
                await some_more_end(db, ended)
        assert cuts > 10
    assert ran.keys() == set(job_ids)
    assert counts(db) == {"job": MANY, "ready": 0, "lease": 0, "ended": MANY}
    ends = db.execute("select distinct status, output from jobengine.ended").fetchall()
    assert ends == [{"status": "completed", "output": "done"}]


async def listener_is_cut(db: Db) -> None:
    """End the listener's connection and wait until there is another."""
    old = scalar(db, LISTENER)
    db.execute("select pg_terminate_backend(%s)", (old,))
    await until(lambda: scalar(db, LISTENER) not in {None, old})


@in_loop
async def test_a_worker_without_its_listener_gets_a_new_one(db: Db, database_url: str) -> None:
    async with site(database_url) as engine, JobEngine(database_url) as other:
        worker = worker_of(engine, linger, poll=3600, sweep_every=3600)
        async with working(worker):
            for _ in range(2):
                await until(lambda: asleep(db, worker))
                await listener_is_cut(db)
                await until(lambda: asleep(db, worker))
                (job_id,) = await enqueue(other)
                assert (await end(other, job_id)).status == "completed"


@in_loop
async def test_a_result_whose_connection_was_cut_is_reported_again(
    db: Db, database_url: str
) -> None:
    """The handler cuts every connection, so the report of its result meets a dead one.

    With one slot nothing else has a connection meanwhile, and nothing else asks for one first.
    """

    async def cut(_: Job) -> str:
        assert scalar(db, TERMINATE) > 1
        return "done"

    async with site(database_url) as engine:
        async with working(worker_of(engine, cut, concurrency=1, poll=3600, sweep_every=3600)):
            await until(lambda: scalar(db, LISTENER))  # and another that brings the job
            await enqueue(engine, lease=600)
            await until(lambda: counts(db)["ended"])
        [row] = db.execute("select status, output, attempt from jobengine.ended").fetchall()
        assert row == {"status": "completed", "output": "done", "attempt": 1}


@in_loop
async def test_a_server_that_is_long_away_is_asked_for_until_it_is_back(tmp_path: Path) -> None:
    """The pool gives up from time to time, so that its pauses do not grow, and begins again."""
    data = tmp_path / "postgres"
    with cluster_at(data), EmbeddedPostgres(data, durable=False) as owned:
        async with JobEngine(owned.url) as engine:
            await engine.install()
            owned.stop()
            asking = asyncio.create_task(persistently(engine.stats, "stats"))
            attempts = engine._pool.get_stats
            await until(lambda: attempts().get("connections_errors", 0) > 8)
            owned.start()
            assert await within(asking) == []
