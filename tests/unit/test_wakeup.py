"""The listener: who is told what, and what happens when its connection is lost."""

from __future__ import annotations

import asyncio
import json
from uuid import UUID

from psycopg_pool import AsyncConnectionPool

from jobengine import JobEngine
from jobengine.wakeup import Wakeup
from tests.acceptance.world import ANNA, BERT, NOBODY, Db, in_loop, scalar, site, until, within

LISTENERS = (
    "select count(*) from pg_stat_activity where datname = current_database()"
    " and query = 'listen jobengine' and state = 'idle'"
)
LISTENER = (
    "select pid from pg_stat_activity where datname = current_database()"
    " and query = 'listen jobengine'"
)


class Sleeper:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[UUID | None, str | None]] = []

    def __call__(self, tenant_id: UUID | None, queue: str | None) -> None:
        self.told.append((tenant_id, queue))


def notify(db: Db, payload: str) -> None:
    db.execute("select pg_notify('jobengine', %s)", (payload,))


def notify_job(db: Db, tenant_id: UUID, queue: str) -> None:
    notify(db, json.dumps({"tenant_id": str(tenant_id), "queue": queue}))


async def listening(db: Db, sleeper: Sleeper) -> None:
    """Wait until the connection listens; then everybody has been woken once."""
    await until(lambda: scalar(db, LISTENERS) == 1)
    await until(lambda: sleeper.told)
    assert sleeper.told == [(None, None)]
    sleeper.told.clear()


async def cut(db: Db) -> None:
    """End the listener's connection, on the server."""
    pid = scalar(db, LISTENER)
    db.execute("select pg_terminate_backend(%s)", (pid,))
    await until(lambda: scalar(db, "select 1 from pg_stat_activity where pid = %s", pid) is None)


@in_loop
async def test_everybody_who_sleeps_is_told_of_a_job(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        one, two = Sleeper(), Sleeper()
        with engine.wakeup.jobs(one):
            await listening(db, one)
            with engine.wakeup.jobs(two):
                notify_job(db, ANNA, "images")
                await until(lambda: one.told and two.told)
            notify_job(db, BERT, "mail")
            await until(lambda: len(one.told) == 2)
        assert one.told == [(ANNA, "images"), (BERT, "mail")]
        assert two.told == [(ANNA, "images")]


@in_loop
async def test_only_who_waits_for_a_job_is_told_of_its_end(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        sleeper = Sleeper()
        with (
            engine.wakeup.jobs(sleeper),
            engine.wakeup.end(ANNA) as mine,
            engine.wakeup.end(ANNA) as too,
            engine.wakeup.end(BERT) as other,
        ):
            await listening(db, sleeper)
            for event in (mine, too, other):
                event.clear()
            notify(db, json.dumps({"job_id": str(ANNA)}))
            await within(mine.wait())
            await within(too.wait())
            assert not other.is_set()
            assert sleeper.told == []


@in_loop
async def test_a_waiter_that_leaves_leaves_nothing_behind(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        with engine.wakeup.end(ANNA), engine.wakeup.end(ANNA):
            pass
        assert engine.wakeup._on_end == {}


@in_loop
async def test_nothing_listens_before_the_first_interest_or_after_the_end(
    db: Db, database_url: str
) -> None:
    async with site(database_url) as engine:
        assert scalar(db, LISTENERS) == 0
        with engine.wakeup.jobs(Sleeper()):
            await until(lambda: scalar(db, LISTENERS) == 1)
    await until(lambda: scalar(db, LISTENERS) == 0)


@in_loop
async def test_one_connection_listens_for_everybody(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        sleeper = Sleeper()
        with engine.wakeup.jobs(sleeper), engine.wakeup.jobs(Sleeper()), engine.wakeup.end(ANNA):
            await listening(db, sleeper)
            assert scalar(db, LISTENERS) == 1


@in_loop
async def test_a_connection_that_comes_back_wakes_everybody(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        sleeper = Sleeper()
        with engine.wakeup.jobs(sleeper), engine.wakeup.end(ANNA) as ended:
            await listening(db, sleeper)
            ended.clear()
            await cut(db)
            await within(ended.wait())
            assert sleeper.told == [(None, None)]
            notify_job(db, ANNA, "images")
            await until(lambda: len(sleeper.told) == 2)


@in_loop
async def test_a_notification_that_is_not_the_engines_disturbs_nobody(
    db: Db, database_url: str
) -> None:
    """Every role may notify on every channel, with any text."""
    async with site(database_url) as engine:
        sleeper = Sleeper()
        with engine.wakeup.jobs(sleeper):
            await listening(db, sleeper)
            for stray in ("", "text", "[]", "7", "{}", '{"job_id": 7}', '{"tenant_id": "x"}'):
                notify(db, stray)
            notify_job(db, ANNA, "images")
            await until(lambda: sleeper.told)
            assert sleeper.told == [(ANNA, "images")]
            assert scalar(db, LISTENERS) == 1


@in_loop
async def test_the_connection_goes_back_to_the_pool_as_it_was(db: Db, database_url: str) -> None:
    """A pool of one connection, which works again once nobody listens."""
    async with JobEngine(database_url, max_size=1) as engine:
        wakeup = Wakeup(engine.connection)
        with wakeup.jobs(Sleeper()):
            await until(lambda: scalar(db, LISTENERS) == 1)
        await wakeup.close()
        async with engine.connection() as conn:
            row = await (
                await conn.execute("select count(*) from pg_listening_channels()")
            ).fetchone()
            assert row == (0,)
            assert conn.autocommit
        assert await engine.get(NOBODY) is None


@in_loop
async def test_a_pool_whose_connections_are_in_transactions_may_listen(
    db: Db, database_url: str
) -> None:
    async with (
        AsyncConnectionPool(database_url, min_size=1, max_size=1, open=False) as pool,
        JobEngine(pool) as engine,
    ):
        sleeper = Sleeper()
        with engine.wakeup.jobs(sleeper):
            await listening(db, sleeper)
            notify_job(db, ANNA, "images")
            await until(lambda: sleeper.told)
        await engine.wakeup.close()
        async with engine.connection() as conn:
            assert not conn.autocommit


@in_loop
async def test_closing_twice_is_closing(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        with engine.wakeup.jobs(Sleeper()):
            await asyncio.sleep(0)
        await engine.wakeup.close()
        await engine.wakeup.close()
