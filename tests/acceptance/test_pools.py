"""An engine on a URL, and on a pool of the program's own, whatever that one is set up for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row, namedtuple_row
from psycopg_pool import AsyncConnectionPool, AsyncNullConnectionPool

from jobengine import (
    EngineError,
    EngineUnavailable,
    InvalidArgument,
    JobEngine,
    Lease,
    NotInstalled,
    Report,
    Worker,
    WrongIsolation,
    calls,
)
from tests.acceptance.world import NOBODY, Db, end, in_loop, register, scalar, site, until, within

POOLS: dict[str, dict[str, Any]] = {
    "autocommit": {"autocommit": True},
    "no autocommit": {},
    "rows as dicts": {"row_factory": dict_row},
    "rows as tuples with names": {"row_factory": namedtuple_row},
    "parameters bound by the client": {"cursor_factory": psycopg.AsyncClientCursor},
    "never prepared": {"prepare_threshold": None},
}
OTHERS = (
    "select count(*) from pg_stat_activity"
    " where datname = current_database() and pid <> pg_backend_pid()"
    " and backend_type = 'client backend'"
)


@asynccontextmanager
async def own_pool(url: str, **kwargs: Any) -> AsyncIterator[AsyncConnectionPool[Any]]:
    pool: AsyncConnectionPool[Any] = AsyncConnectionPool(
        url, min_size=1, max_size=3, open=False, kwargs=kwargs
    )
    async with pool:
        yield pool


async def life_of_a_job(engine: JobEngine) -> None:
    """Enqueue, claim, extend, finish, wait."""
    await register(engine)
    job = await engine.enqueue("work", {"a": [1, None]}, wake=True)
    held = (await engine.claim(["default"], agent_id="me"))[0]
    assert (held.id, held.input) == (job.id, {"a": [1, None]})
    assert [answer.verdict for answer in await engine.extend([held])] == ["ok"]
    report = Report(job_id=job.id, lease_epoch=1, outcome="completed", output="done")
    assert [answer.verdict for answer in await engine.finish([report])] == ["ok"]
    assert (await end(engine, job.id)).output == "done"


@in_loop
async def test_an_engine_on_a_url(db: Db, database_url: str) -> None:
    async with JobEngine(database_url) as engine:
        await life_of_a_job(engine)


@pytest.mark.parametrize("kind", POOLS)
@in_loop
async def test_an_engine_on_a_pool_of_the_programs_own(
    db: Db, database_url: str, kind: str
) -> None:
    async with own_pool(database_url, **POOLS[kind]) as pool, JobEngine(pool) as engine:
        await life_of_a_job(engine)
        assert await engine.get(NOBODY) is None
        assert await engine.stats() == []


@pytest.mark.parametrize("kind", POOLS)
@in_loop
async def test_the_engine_is_installed_through_any_pool(empty_database_url: str, kind: str) -> None:
    async with own_pool(empty_database_url, **POOLS[kind]) as pool, JobEngine(pool) as engine:
        assert await engine.verify() == ["- schema jobengine"]
        assert (await engine.install()).applied != ()
        assert (await engine.install()).applied == ()
        assert await engine.verify() == []


@in_loop
async def test_the_programs_pool_stays_open_and_clean(db: Db, database_url: str) -> None:
    async with own_pool(database_url) as pool:
        async with JobEngine(pool) as engine:
            await life_of_a_job(engine)
        async with pool.connection() as conn:
            assert conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
            assert not conn.autocommit


@in_loop
async def test_an_engine_on_a_url_leaves_no_connection(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        await engine.stats()
        assert scalar(db, OTHERS) > 0
    await until(lambda: scalar(db, OTHERS) == 0)


@pytest.mark.parametrize("own", [True, False], ids=["a URL", "a pool of the program's own"])
@in_loop
async def test_one_connection_is_too_few_for_who_listens(
    db: Db, database_url: str, *, own: bool
) -> None:
    """The listener would take it, and everybody else wait for ever."""
    pool: AsyncConnectionPool[Any] = AsyncConnectionPool(
        database_url, min_size=1, max_size=1, open=False
    )
    async with pool, JobEngine(database_url, max_size=1) if own else JobEngine(pool) as engine:
        await register(engine)
        job = await engine.enqueue("work")
        for listening in (Worker(engine).run(), engine.wait(job.id, timeout=0)):
            with pytest.raises(InvalidArgument, match="max_size: at least 2") as caught:
                await within(listening)
            assert caught.value.field == "max_size"
        held = await engine.claim(["default"], agent_id="me")
        assert [answer.verdict for answer in await engine.release(held)] == ["ok"]


@in_loop
async def test_a_pool_without_bound_may_listen(db: Db, database_url: str) -> None:
    pool: AsyncNullConnectionPool[Any] = AsyncNullConnectionPool(database_url, open=False)
    async with pool, JobEngine(pool) as engine:
        assert pool.max_size == 0
        await register(engine)
        job = await engine.enqueue("work")
        await engine.cancel([job.id])
        assert (await end(engine, job.id)).status == "cancelled"


@in_loop
async def test_nothing_is_opened_before_the_block(db: Db, database_url: str) -> None:
    engine = JobEngine(database_url)
    with pytest.raises(EngineError) as caught:
        await engine.get(NOBODY)
    assert not isinstance(caught.value, EngineUnavailable)


@in_loop
async def test_a_server_that_vanishes_is_noticed(db: Db, database_url: str) -> None:
    """By TCP's own means, sooner than its defaults; what the URL says goes first."""
    url = make_conninfo(database_url, keepalives_idle="7")
    async with JobEngine(url) as engine, engine.connection() as conn:
        found = conn.info.get_parameters()
    assert found["keepalives_idle"] == "7"
    assert {"keepalives_interval", "keepalives_count", "tcp_user_timeout"} <= found.keys()


@pytest.mark.parametrize("url", ["nonsense", "postgresql://[host/", "colour=red"])
def test_what_is_no_url_is_refused_at_once(url: str) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        JobEngine(url)
    assert refusal.value.field == "database"


@in_loop
async def test_who_cannot_connect_is_told_why() -> None:
    with pytest.raises(EngineUnavailable, match="No such file or directory"):
        async with JobEngine("host=/nonexistent"):
            pass


@in_loop
async def test_who_gives_up_connecting_leaves_no_task() -> None:
    before = asyncio.all_tasks()
    opening = asyncio.create_task(JobEngine("host=/nonexistent").__aenter__())
    await until(lambda: len(asyncio.all_tasks() - before) > 1)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await until(lambda: asyncio.all_tasks() == before)


@in_loop
async def test_a_pooler_that_mixes_prepared_statements_up_is_named(
    db: Db, database_url: str
) -> None:
    """As one in transaction mode does: another program's statement has the name already."""
    async with JobEngine(database_url, prepare_threshold=0) as engine, engine.connection() as conn:
        await conn.execute("prepare _pg3_0 as select 1", prepare=False)
        with pytest.raises(EngineError, match="prepare_threshold=None"):
            await calls.stats(conn)
    never = JobEngine(database_url, prepare_threshold=None)
    async with never as engine, engine.connection() as conn:
        for _ in range(10):
            await calls.stats(conn)
        cursor = await conn.execute("select count(*) from pg_prepared_statements")
        assert await cursor.fetchone() == (0,)


@in_loop
async def test_a_database_without_the_engine_says_so(empty_database_url: str) -> None:
    async with JobEngine(empty_database_url) as engine:
        with pytest.raises(NotInstalled) as caught:
            await engine.stats()
        assert isinstance(caught.value.__cause__, psycopg.Error)


@in_loop
async def test_a_role_without_rights_is_told_so(db: Db, database_url: str) -> None:
    async with site(database_url) as engine, engine.connection() as conn:
        await conn.execute("set role jobengine_worker")
        with pytest.raises(NotInstalled, match="permission denied"):
            await calls.retry(conn, job_ids=f"{{{NOBODY}}}")
        await conn.execute("reset role")


@in_loop
async def test_errors_of_the_programs_own_statements_are_translated(
    db: Db, database_url: str
) -> None:
    async with site(database_url) as engine:
        with pytest.raises(EngineError, match="division by zero"):
            async with engine.connection() as conn:
                await conn.execute("select 1/0")
        assert await engine.get(NOBODY) is None


@in_loop
async def test_above_read_committed_only_calls_that_cannot_bear_it_are_refused(
    db: Db, database_url: str
) -> None:
    async def configure(conn: AsyncConnection[Any]) -> None:
        await conn.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)

    async with (
        AsyncConnectionPool(
            database_url, min_size=1, max_size=2, open=False, configure=configure
        ) as pool,
        JobEngine(pool) as engine,
    ):
        await register(engine)
        job = await engine.enqueue("work")
        assert (await engine.claim(["default"], agent_id="me"))[0].id == job.id
        await engine.release([Lease(job.id, 1)])
        with pytest.raises(WrongIsolation):
            await engine.cancel([job.id])


@in_loop
async def test_the_connection_that_came_back_last_goes_out_first(database_url: str) -> None:
    """Its server process knows the plans; in turn, each process would have to make them."""
    async with JobEngine(database_url, min_size=2, max_size=2) as engine:
        async with engine.connection() as first, engine.connection() as second:
            assert first is not second
        async with engine.connection() as again:
            assert again is first
