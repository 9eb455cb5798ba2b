"""Putting jobs in: alone, in bulk, and in the transaction of the program's own rows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg.pq import TransactionStatus

from jobengine import (
    NO_TENANT,
    Counters,
    EngineError,
    InvalidArgument,
    JobEngine,
    NewJob,
    UnknownJobType,
)
from jobengine._arguments import BULK
from tests.acceptance.world import ANNA, Db, counts, in_loop, site, until, within

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
LATER = datetime(2040, 1, 1, 12, tzinfo=UTC)


@in_loop
async def test_a_job_has_the_defaults_of_engine_and_type(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        job = await engine.enqueue("work")
        assert job.verdict == "ok"
        found = await engine.get(job.id)
        assert found is not None
        assert (found.tenant_id, found.queue, found.priority) == (NO_TENANT, "default", 5)
        assert (found.input, found.meta, found.max_attempts) == ({}, {}, 3)
        assert (found.status, found.attempt, found.delivery) == ("pending", 0, "at_least_once")
        assert not found.ended


@in_loop
async def test_every_field_arrives(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        job = await engine.enqueue(
            "careful",
            ["any", {"JSON": None}],
            queue="images/large",
            tenant_id=ANNA,
            priority=0,
            run_at=NOON,
            expires_at=LATER,
            dedup_key="key ü",
            max_attempts=9,
            lease=12.5,
            meta={"order": 7},
            wake=True,
        )
        found = await engine.get(job.id)
        assert found is not None
        assert found.input == ["any", {"JSON": None}]
        assert found.meta == {"order": 7}
        assert (found.queue, found.tenant_id, found.priority) == ("images/large", ANNA, 0)
        assert (found.run_at, found.expires_at) == (NOON, LATER)
        assert (found.dedup_key, found.live_key) == ("key ü", None)
        assert (found.max_attempts, found.delivery) == (9, "at_most_once")
        row = db.execute("select wake, lease_seconds from jobengine.job").fetchone()
        assert row == {"wake": True, "lease_seconds": 12.5}


@in_loop
async def test_seconds_count_from_now(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        found = await engine.get((await engine.enqueue("work", delay=100, expires_in=300)).id)
        assert found is not None
        assert found.run_at is not None
        assert found.expires_at is not None
        assert (found.run_at - found.created_at).total_seconds() == 100
        assert (found.expires_at - found.created_at).total_seconds() == 300


@in_loop
async def test_a_key_names_the_first_job(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        for keys in ({"dedup_key": "k"}, {"live_key": "k"}):
            first = await engine.enqueue("work", **keys)  # type: ignore[arg-type]
            again = await engine.enqueue("work", **keys)  # type: ignore[arg-type]
            assert (first.verdict, again.verdict) == ("ok", "duplicate")
            assert first.id == again.id
        assert counts(db)["job"] == 2


@in_loop
async def test_no_lost_job_tens_of_thousands_in_one_call(db: Db, database_url: str) -> None:
    count = 30_000

    def jobs() -> Iterator[NewJob]:
        for number in range(count):
            yield NewJob(job_type="work", input={"number": number}, priority=number % 10)

    async with site(database_url) as engine:
        answers = await engine.enqueue_many(jobs())
        assert [answer.item for answer in answers] == list(range(1, count + 1))
        job_ids = [answer.id for answer in answers]
        assert len(set(job_ids)) == count
        assert job_ids == sorted(job_ids)
        rows = db.execute(
            "select (input ->> 'number')::int as n from jobengine.job order by job_id"
        )
        assert [row["n"] for row in rows] == list(range(count))
        assert counts(db)["ready"] == count


@in_loop
async def test_no_jobs_are_no_call(db: Db) -> None:
    assert await JobEngine("host=/nonexistent").enqueue_many([]) == []


@in_loop
async def test_all_or_none_are_put_in(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        with pytest.raises(UnknownJobType, match="nobody"):
            await engine.enqueue_many([NewJob(job_type="work"), NewJob(job_type="nobody")])
        assert counts(db) == {"job": 0, "ready": 0, "lease": 0, "ended": 0}


@pytest.mark.parametrize("wrong", [{"priority": 11}, {"delay": "soon"}], ids=["sql", "python"])
@in_loop
async def test_all_or_none_of_many_are_put_in(
    db: Db, database_url: str, *, wrong: dict[str, Any]
) -> None:
    """The refused item is counted from the first job of the call, wherever its batch began."""
    jobs = [NewJob(job_type="work")] * (2 * BULK + 4) + [NewJob(job_type="work", **wrong)]
    async with site(database_url) as engine, await connected(database_url) as conn:
        await conn.set_autocommit(True)
        for connection in (None, conn):
            with pytest.raises(InvalidArgument) as refusal:
                await engine.enqueue_many(jobs, connection=connection)
            assert refusal.value.item == len(jobs)
        assert counts(db) == {"job": 0, "ready": 0, "lease": 0, "ended": 0}


@pytest.mark.parametrize("at", [BULK + 7, 2 * BULK + 7])
@pytest.mark.parametrize("wrong", [{"input": object()}, {"priority": 98}], ids=["Python", "SQL"])
@in_loop
async def test_the_first_of_two_wrong_jobs_is_named_whoever_finds_it(
    db: Db, database_url: str, *, at: int, wrong: dict[str, Any]
) -> None:
    """The server refuses the first while the other's batch has been made, or is in line."""
    jobs = [NewJob(job_type="work") for _ in range(3 * BULK)]
    jobs[7] = NewJob(job_type="work", priority=99)
    jobs[at] = NewJob(job_type="work", **wrong)
    async with site(database_url) as engine, await connected(database_url) as conn:
        for connection in (None, conn):
            with pytest.raises(InvalidArgument) as refusal:
                await engine.enqueue_many(jobs, connection=connection)
            assert (refusal.value.field, refusal.value.item) == ("priority", 8)
        await conn.rollback()
        assert (await engine.enqueue("work", connection=conn)).verdict == "ok"
        assert counts(db)["job"] == 0


@in_loop
async def test_many_jobs_whose_caller_is_cancelled_are_not_written(
    db: Db, database_url: str
) -> None:
    jobs = [NewJob(job_type="work") for _ in range(20 * BULK)]
    async with site(database_url) as engine, await connected(database_url) as conn:
        await conn.set_autocommit(True)
        task = asyncio.create_task(engine.enqueue_many(jobs, connection=conn))
        await until(lambda: conn.info.transaction_status == TransactionStatus.ACTIVE)
        task.cancel()
        await within(asyncio.wait([task]))
        assert task.cancelled()
        assert conn.info.transaction_status == TransactionStatus.IDLE
        assert counts(db)["job"] == 0
        assert (await engine.enqueue("work", connection=conn)).verdict == "ok"


@in_loop
async def test_a_generator_makes_jobs_while_those_before_are_written(
    db: Db, database_url: str
) -> None:
    states = []

    async with site(database_url) as engine, await connected(database_url) as conn:

        def jobs() -> Iterator[NewJob]:
            for number in range(3 * BULK):
                states.append(conn.info.transaction_status)
                yield NewJob(job_type="work", input=number)

        await conn.set_autocommit(True)
        answers = await engine.enqueue_many(jobs(), connection=conn)
        assert [answer.item for answer in answers] == list(range(1, 3 * BULK + 1))
        assert set(states[: 2 * BULK]) == {TransactionStatus.IDLE}
        assert TransactionStatus.IDLE not in states[2 * BULK :]
        assert counts(db)["ready"] == 3 * BULK


@pytest.mark.parametrize("good", [3, BULK + 3, 3 * BULK + 3])
@in_loop
async def test_jobs_of_a_generator_that_fails_are_not_written(
    db: Db, database_url: str, *, good: int
) -> None:
    def jobs() -> Iterator[NewJob]:
        yield from [NewJob(job_type="work")] * good
        raise LookupError("the file has ended")

    async with site(database_url) as engine, await connected(database_url) as conn:
        for connection in (None, conn):
            with pytest.raises(LookupError, match="the file has ended"):
                await engine.enqueue_many(jobs(), connection=connection)
        assert counts(db)["job"] == 0
        assert (await engine.enqueue("work")).verdict == "ok"


@in_loop
async def test_what_a_generator_gives_is_counted(db: Db, database_url: str) -> None:
    counters = Counters()
    async with site(database_url, on_metric=counters) as engine:
        for count in (0, 2, 2 * BULK):
            await engine.enqueue_many(NewJob(job_type="work") for _ in range(count))
    assert f'jobengine_enqueued_total{{job_type="work",verdict="ok"}} {2 * BULK + 2}' in (
        counters.text()
    )


@in_loop
async def test_many_jobs_with_keys_meet_their_duplicates(db: Db, database_url: str) -> None:
    jobs = [NewJob(job_type="work", dedup_key=str(n % BULK)) for n in range(2 * BULK)]
    async with site(database_url) as engine:
        answers = await engine.enqueue_many(jobs)
        assert [answer.verdict for answer in answers] == ["ok"] * BULK + ["duplicate"] * BULK
        assert [a.id for a in answers[:BULK]] == [a.id for a in answers[BULK:]]


@in_loop
async def test_without_autocommit_many_jobs_wait_for_the_programs_commit(
    db: Db, database_url: str
) -> None:
    jobs = [NewJob(job_type="work")] * (BULK + 1)
    async with site(database_url) as engine, await connected(database_url) as conn:
        await engine.enqueue_many(jobs, connection=conn)
        assert counts(db)["ready"] == 0
        await conn.rollback()
        assert counts(db)["ready"] == 0
        await engine.enqueue_many(jobs, connection=conn)
        await conn.commit()
        assert counts(db)["ready"] == len(jobs)


async def connected(url: str, **kwargs: Any) -> AsyncConnection[Any]:
    conn = await AsyncConnection.connect(url, **kwargs)
    await conn.execute("create table if not exists image (path text)")
    await conn.execute("truncate image")
    await conn.commit()
    return conn


@pytest.mark.parametrize("autocommit", [True, False])
@in_loop
async def test_a_job_exists_when_the_transaction_of_the_program_commits(
    db: Db, database_url: str, *, autocommit: bool
) -> None:
    async with (
        site(database_url) as engine,
        await connected(database_url, autocommit=autocommit) as conn,
    ):
        async with conn.transaction():
            await conn.execute("insert into image values ('a.png')")
            job = await engine.enqueue("work", connection=conn)
            assert await engine.get(job.id) is None
        await conn.commit()
        assert await engine.get(job.id) is not None
        assert counts(db)["ready"] == 1


@in_loop
async def test_a_job_never_exists_when_the_transaction_rolls_back(
    db: Db, database_url: str
) -> None:
    async with site(database_url) as engine, await connected(database_url) as conn:
        async with conn.transaction(force_rollback=True):
            await conn.execute("insert into image values ('a.png')")
            await engine.enqueue_many([NewJob(job_type="work")] * 3, connection=conn)
        assert counts(db) == {"job": 0, "ready": 0, "lease": 0, "ended": 0}
        cursor = await conn.execute("select count(*) from image")
        assert await cursor.fetchone() == (0,)


@in_loop
async def test_a_savepoint_takes_its_jobs_with_it(db: Db, database_url: str) -> None:
    async with site(database_url) as engine, await connected(database_url) as conn:
        async with conn.transaction():
            kept = await engine.enqueue("work", connection=conn)
            async with conn.transaction(force_rollback=True):
                await engine.enqueue("work", connection=conn)
        await conn.commit()
        assert [job.id for job in await engine.list()] == [kept.id]


@in_loop
async def test_a_refusal_before_the_call_leaves_the_transaction_alive(
    db: Db, database_url: str
) -> None:
    async with site(database_url) as engine, await connected(database_url) as conn:
        async with conn.transaction():
            await conn.execute("insert into image values ('a.png')")
            with pytest.raises(EngineError):
                await engine.enqueue("work", float("nan"), connection=conn)
        assert conn.info.transaction_status != psycopg.pq.TransactionStatus.INERROR
        cursor = await conn.execute("select count(*) from image")
        assert await cursor.fetchone() == (1,)


@pytest.mark.parametrize("level", [level for level in psycopg.IsolationLevel if level > 1])
@in_loop
async def test_jobs_are_put_in_at_any_isolation_level(
    db: Db, database_url: str, level: psycopg.IsolationLevel
) -> None:
    async with site(database_url) as engine, await connected(database_url) as conn:
        await conn.set_isolation_level(level)
        async with conn.transaction():
            await engine.enqueue("work", dedup_key="k", connection=conn)
        assert counts(db)["ready"] == 1
