"""The clock of `jobengine.testing`, as the test suites of programs use it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from jobengine import EngineError, InvalidArgument, JobEngine, NotInstalled, sync
from jobengine.testing import Clock
from tests.acceptance.world import Db, in_loop, scalar

NOW = "select jobengine._now() as now"
NOON = datetime(2031, 2, 3, 12, tzinfo=UTC)


@pytest.fixture
def owner(db: Db, database_url: str) -> psycopg.Connection[tuple[object, ...]]:
    """A connection as programs have it, not as the fixtures of this suite."""
    db.execute("select jobengine.register_job_type('work')")
    return psycopg.connect(database_url, autocommit=True)


def now(conn: psycopg.Connection[tuple[object, ...]]) -> object:
    conn.execute("set role jobengine_owner")
    [row] = conn.execute(NOW).fetchall()
    conn.execute("reset role")
    return row[0]


def test_it_stands_still_until_it_is_moved(
    owner: psycopg.Connection[tuple[object, ...]],
) -> None:
    with owner, Clock(owner, NOON) as clock:
        assert now(owner) == now(owner) == NOON
        clock.advance(0.5)
        assert now(owner) == NOON + timedelta(seconds=0.5)
        clock.advance(-3600.5)
        assert now(owner) == NOON - timedelta(hours=1)


def test_every_session_has_it(
    owner: psycopg.Connection[tuple[object, ...]], database_url: str
) -> None:
    with owner, Clock(owner, NOON), psycopg.connect(database_url) as program:
        job = sync.get(program, sync.enqueue(program, "work").id)
        assert job is not None
        assert job.created_at == NOON


@in_loop
async def test_afterwards_the_engine_is_what_it_was(empty_database_url: str) -> None:
    async with JobEngine(empty_database_url) as engine:
        await engine.install()
        with psycopg.connect(empty_database_url, autocommit=True) as conn:
            with Clock(conn):
                assert await engine.verify() != []
            assert await engine.verify() == []
            with Clock(conn):
                pass
            assert await engine.verify() == []


@in_loop
async def test_without_roles_the_installing_role_may_do_it(empty_database_url: str) -> None:
    async with JobEngine(empty_database_url) as engine:
        await engine.install(roles=False)
        with psycopg.connect(empty_database_url, autocommit=True) as conn, Clock(conn, NOON):
            assert conn.execute(NOW).fetchall() == [(NOON,)]


def test_the_role_of_the_connection_comes_back(
    owner: psycopg.Connection[tuple[object, ...]],
) -> None:
    with owner:
        owner.execute("set role jobengine_operator")
        clock = Clock(owner)
        clock.advance(1)
        assert owner.execute("select current_user").fetchall() == [("jobengine_operator",)]
        owner.execute("reset role")
        clock.remove()


def test_the_role_comes_back_after_a_failure(
    owner: psycopg.Connection[tuple[object, ...]],
) -> None:
    with owner, Clock(owner) as clock:
        with pytest.raises(EngineError):
            clock.advance(float("inf"))
        assert owner.execute("show role").fetchall() == [("none",)]


def test_a_transaction_takes_its_clock_with_it(
    owner: psycopg.Connection[tuple[object, ...]], db: Db
) -> None:
    with owner, owner.transaction(force_rollback=True):
        clock = Clock(owner, NOON)
        assert not clock.shared
        assert now(owner) == NOON
    assert scalar(db, "select to_regclass('jobengine.test_clock') is null") or now(owner) != NOON


def test_what_cannot_be_is_refused(
    owner: psycopg.Connection[tuple[object, ...]], empty_database_url: str
) -> None:
    with owner, pytest.raises(InvalidArgument, match="at: a datetime with a time zone"):
        Clock(owner, datetime(2031, 2, 3))  # noqa: DTZ001 - the mistake
    with (
        psycopg.connect(empty_database_url, autocommit=True) as conn,
        pytest.raises(NotInstalled),
    ):
        Clock(conn)
