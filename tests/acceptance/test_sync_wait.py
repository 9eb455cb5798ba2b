"""Waiting for a job's end on a plain connection."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from jobengine import InvalidArgument, WaitTimeout, sync
from tests.acceptance.world import NOBODY, PATIENCE, Db, scalar

LOOKS = (
    "select count(*) from pg_stat_activity where pid = %s and state like 'idle%%'"
    " and (query like '%%jobengine.get(%%' or query ilike 'rollback')"
)


@pytest.fixture
def waited(db: Db) -> UUID:
    """A job that runs and will be waited for."""
    db.execute("select jobengine.register_job_type('work')")
    db.execute("select jobengine.enqueue(array['work'])")
    job_id: UUID = scalar(db, "select job_id from jobengine.claim(%s)", CLAIM)
    return job_id


CLAIM = '[{"queues": ["default"], "agent_id": "me", "limit": 1}]'


def finish(db: Db, job_id: UUID) -> None:
    db.execute(
        "select jobengine.finish(array[%s], array[1], array['completed'],"
        """ array['{"width": 640}'::jsonb])""",
        (job_id,),
    )


@contextmanager
def meanwhile(work: Any) -> Iterator[None]:
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        thread.join(PATIENCE)
    assert not thread.is_alive()


@pytest.mark.parametrize("autocommit", [True, False])
def test_the_end_comes_with_its_output(
    db: Db, database_url: str, waited: UUID, *, autocommit: bool
) -> None:
    with psycopg.connect(database_url, autocommit=autocommit) as conn:
        pid = conn.info.backend_pid

        def end_it() -> None:
            while not scalar(db, LOOKS, pid):
                pass
            finish(db, waited)

        with meanwhile(end_it):
            ended = sync.wait(conn, waited, timeout=PATIENCE)
        assert (ended.status, ended.output) == ("completed", {"width": 640})
        assert conn.info.transaction_status == TransactionStatus.IDLE


def test_no_transaction_is_open_between_looks(
    db: Db, database_url: str, waited: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction of the waiter would hold the horizon, and show it an old job for ever."""
    with psycopg.connect(database_url) as conn:
        seen = []

        def look_instead_of_sleeping(_: float) -> None:
            seen.append(conn.info.transaction_status)
            if len(seen) == 3:
                finish(db, waited)

        monkeypatch.setattr("jobengine.sync.time.sleep", look_instead_of_sleeping)
        conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        assert sync.wait(conn, waited).status == "completed"
        assert seen == [TransactionStatus.IDLE] * 3


def test_looks_become_rarer(
    db: Db, database_url: str, waited: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(database_url) as conn:
        pauses: list[float] = []

        def note(pause: float) -> None:
            pauses.append(pause)
            if len(pauses) == 12:
                finish(db, waited)

        monkeypatch.setattr("jobengine.sync.time.sleep", note)
        sync.wait(conn, waited)
        assert 0.008 <= pauses[0] <= 0.012
        assert all(0.4 <= pause <= 0.6 for pause in pauses[-3:])
        assert len(set(pauses)) == 12  # with jitter


@pytest.mark.parametrize("autocommit", [True, False])
def test_a_job_that_does_not_end_in_time_goes_on(
    db: Db, database_url: str, waited: UUID, *, autocommit: bool
) -> None:
    with psycopg.connect(database_url, autocommit=autocommit) as conn:
        for timeout in (0, 0.05):
            with pytest.raises(WaitTimeout):
                sync.wait(conn, waited, timeout=timeout)
            assert conn.info.transaction_status == TransactionStatus.IDLE
        found = sync.get(conn, waited)
        assert found is not None
        assert found.status == "running"


@pytest.mark.parametrize("autocommit", [True, False])
def test_a_connection_in_a_transaction_is_refused(
    db: Db, database_url: str, waited: UUID, *, autocommit: bool
) -> None:
    with psycopg.connect(database_url, autocommit=autocommit) as conn:
        with conn.transaction():
            job = sync.enqueue(conn, "work")
            with pytest.raises(InvalidArgument, match="not in a transaction") as caught:
                sync.wait(conn, job.id, timeout=0)
            assert caught.value.field == "connection"
            assert conn.info.transaction_status == TransactionStatus.INTRANS
        with pytest.raises(WaitTimeout):
            sync.wait(conn, job.id, timeout=0)


def test_a_job_that_does_not_exist_cannot_be_waited_for(db: Db, database_url: str) -> None:
    with psycopg.connect(database_url) as conn:
        with pytest.raises(InvalidArgument, match="job_id"):
            sync.wait(conn, NOBODY)
        assert conn.info.transaction_status == TransactionStatus.IDLE
