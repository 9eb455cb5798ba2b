"""The synchronous face on connections of all kinds, in the transaction of the program."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row, namedtuple_row
from psycopg.types.json import set_json_loads
from psycopg.types.string import TextLoader

from jobengine import (
    EngineError,
    EngineUnavailable,
    InvalidArgument,
    JobEngine,
    NewJob,
    NotInstalled,
    UnknownJobType,
    WrongIsolation,
    sync,
)
from jobengine._arguments import BULK
from tests.acceptance.world import ANNA, NOBODY, Db, counts, in_loop, scalar

LATER = datetime(2040, 1, 1, 12, tzinfo=UTC)
NOTHING = {"job": 0, "ready": 0, "lease": 0, "ended": 0}
Setup = Callable[[psycopg.Connection[Any]], object]


def as_text(conn: psycopg.Connection[Any]) -> None:
    """Give everything out as text, as some frameworks do with JSON."""
    for name in ("jsonb", "uuid", "timestamptz", "text", "int2", "int4", "float8", "bool"):
        conn.adapters.register_loader(name, TextLoader)


def upside_down(conn: psycopg.Connection[Any]) -> None:
    set_json_loads(lambda _: "not what is there", conn)
    conn.adapters.register_dumper(str, psycopg.types.string.BytesDumper)


def in_another_session_style(conn: psycopg.Connection[Any]) -> None:
    conn.execute("set datestyle = 'German'")
    conn.execute("set timezone = 'Asia/Tokyo'")
    conn.execute("set client_encoding = 'utf8'")
    conn.execute("set search_path = pg_temp")
    conn.execute("set bytea_output = 'escape'")
    conn.commit()


CONNECTIONS: dict[str, dict[str, Any]] = {
    "no autocommit": {},
    "autocommit": {"autocommit": True},
    "rows as dicts": {"row_factory": dict_row},
    "rows as tuples with names": {"row_factory": namedtuple_row},
    "parameters bound by the client": {"cursor_factory": psycopg.ClientCursor},
    "raw parameters": {"cursor_factory": psycopg.RawCursor},
    "never prepared": {"prepare_threshold": None},
    "prepared at once": {"prepare_threshold": 0},
}
SETUPS: dict[str, Setup] = {
    "everything is text": as_text,
    "JSON loads as something else": upside_down,
    "another session style": in_another_session_style,
}
KINDS = [*CONNECTIONS, *SETUPS]


@pytest.fixture
def registered(db: Db) -> Db:
    db.execute("select jobengine.register_job_type('work', p_max_attempts => 3)")
    db.execute("create table if not exists public.image (path text)")
    db.execute("truncate public.image")
    return db


@contextmanager
def connected(url: str, kind: str = "no autocommit") -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(url, **CONNECTIONS.get(kind, {})) as conn:
        if kind in SETUPS:
            SETUPS[kind](conn)
        yield conn


@pytest.mark.parametrize("kind", KINDS)
def test_the_life_of_a_job_on_a_connection_of_any_kind(
    registered: Db, database_url: str, kind: str
) -> None:
    with connected(database_url, kind) as conn:
        job = sync.enqueue(
            conn, "work", {"a": [1, None]}, run_at=LATER, priority=0, tenant_id=ANNA, meta={"b": 2}
        )
        found = sync.get(conn, job.id, tenant_id=ANNA)
        assert found is not None
        assert (found.id, found.status, found.job_type) == (job.id, "pending", "work")
        assert (found.input, found.meta, found.output) == ({"a": [1, None]}, {"b": 2}, None)
        assert (found.run_at, found.priority, found.tenant_id) == (LATER, 0, ANNA)
        many = sync.enqueue_many(conn, (NewJob(job_type="work", input=n) for n in range(3)))
        assert [answer.item for answer in many] == [1, 2, 3]
        stopped = sync.cancel(conn, [job.id], reason="enough")
        assert [(answer.job_id, answer.verdict) for answer in stopped] == [(job.id, "ok")]
        assert sync.get(conn, NOBODY) is None
        conn.commit()
        ended = sync.wait(conn, job.id, timeout=0)
        assert (ended.status, ended.error_message) == ("cancelled", "enough")
    assert counts(registered) == {"job": 4, "ready": 3, "lease": 0, "ended": 1}


@pytest.mark.parametrize("kind", KINDS)
def test_a_job_exists_when_the_transaction_of_the_program_commits(
    registered: Db, database_url: str, kind: str
) -> None:
    with connected(database_url, kind) as conn:
        with conn.transaction():
            conn.execute("insert into public.image values ('a.png')")
            sync.enqueue(conn, "work")
            assert counts(registered) == NOTHING
        conn.commit()
        assert counts(registered)["ready"] == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_job_never_was_when_the_transaction_rolls_back(
    registered: Db, database_url: str, kind: str
) -> None:
    with connected(database_url, kind) as conn:
        with conn.transaction(force_rollback=True):
            conn.execute("insert into public.image values ('a.png')")
            job = sync.enqueue_many(conn, [NewJob(job_type="work")] * 3)[0]
            assert sync.get(conn, job.id) is not None
        conn.commit()
        assert sync.get(conn, job.id) is None
    assert counts(registered) == NOTHING
    assert scalar(registered, "select count(*) from public.image") == 0


def test_a_cancel_that_is_rolled_back_never_was(registered: Db, database_url: str) -> None:
    with connected(database_url) as conn:
        job = sync.enqueue(conn, "work")
        conn.commit()
        sync.cancel(conn, [job.id])
        conn.rollback()
    assert counts(registered)["ready"] == 1


def test_a_savepoint_takes_its_jobs_with_it(registered: Db, database_url: str) -> None:
    with connected(database_url) as conn, conn.transaction():
        sync.enqueue(conn, "work", "kept")
        with conn.transaction(force_rollback=True):
            sync.enqueue(conn, "work", "gone")
    assert [row["input"] for row in registered.execute("select input from jobengine.job")] == [
        "kept"
    ]


def test_without_autocommit_the_program_commits(registered: Db, database_url: str) -> None:
    with connected(database_url) as conn:
        sync.enqueue(conn, "work")
        assert conn.info.transaction_status == TransactionStatus.INTRANS
        assert counts(registered) == NOTHING
        conn.commit()
        assert counts(registered)["ready"] == 1


def test_in_a_pipeline_of_the_program(registered: Db, database_url: str) -> None:
    with connected(database_url) as conn:
        with conn.pipeline():
            conn.execute("insert into public.image values ('a.png')")
            job = sync.enqueue(conn, "work", {"a": 1})
            found = sync.get(conn, job.id)
            assert found is not None
            assert found.input == {"a": 1}
        conn.commit()
    assert counts(registered)["ready"] == 1


@in_loop
async def test_a_call_inside_an_event_loop_needs_none(registered: Db, database_url: str) -> None:
    with connected(database_url, "autocommit") as conn:
        assert sync.enqueue(conn, "work").verdict == "ok"


def test_no_jobs_are_no_call(database_url: str) -> None:
    conn = psycopg.connect(database_url)
    conn.close()
    assert sync.enqueue_many(conn, []) == []


def test_all_or_none_are_put_in(registered: Db, database_url: str) -> None:
    with connected(database_url, "autocommit") as conn:
        with pytest.raises(UnknownJobType, match="nobody"):
            sync.enqueue_many(conn, [NewJob(job_type="work"), NewJob(job_type="nobody")])
        assert counts(registered) == NOTHING


def test_a_refusal_before_the_call_leaves_the_transaction_alive(
    registered: Db, database_url: str
) -> None:
    with connected(database_url) as conn:
        conn.execute("insert into public.image values ('a.png')")
        with pytest.raises(InvalidArgument, match="input"):
            sync.enqueue(conn, "work", float("nan"))
        sync.enqueue(conn, "work")
        conn.commit()
    assert scalar(registered, "select count(*) from public.image") == 1
    assert counts(registered)["ready"] == 1


CALLS: dict[str, Callable[[Any], object]] = {
    "enqueue": lambda conn: sync.enqueue(conn, "work"),
    "enqueue_many": lambda conn: sync.enqueue_many(conn, [NewJob(job_type="work")]),
    "get": lambda conn: sync.get(conn, NOBODY),
    "cancel": lambda conn: sync.cancel(conn, [NOBODY]),
    "wait": lambda conn: sync.wait(conn, NOBODY, timeout=0),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_transaction_that_has_failed_is_named(
    registered: Db, database_url: str, name: str
) -> None:
    with connected(database_url) as conn:
        with pytest.raises(psycopg.errors.DivisionByZero):
            conn.execute("select 1/0")
        with pytest.raises(InvalidArgument, match="roll") as caught:
            CALLS[name](conn)
        assert caught.value.field == "connection"
        conn.rollback()
        assert sync.get(conn, NOBODY) is None


@pytest.mark.parametrize("name", CALLS)
def test_something_else_than_a_connection_is_named(registered: Db, name: str) -> None:
    with pytest.raises(InvalidArgument, match=r"psycopg\.Connection") as caught:
        CALLS[name](JobEngine("host=/nonexistent"))
    assert caught.value.field == "connection"


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("how", ["closed", "terminated"])
def test_a_connection_that_is_gone_is_an_outage(
    registered: Db, database_url: str, name: str, how: str
) -> None:
    with broken(registered, database_url, how) as conn, pytest.raises(EngineUnavailable) as caught:
        CALLS[name](conn)
    assert isinstance(caught.value.__cause__, psycopg.Error)


@contextmanager
def broken(db: Db, url: str, how: str) -> Iterator[psycopg.Connection[Any]]:
    conn = psycopg.connect(url, autocommit=True)
    if how == "closed":
        conn.close()
    else:
        db.execute("select pg_terminate_backend(%s, 10000)", (conn.info.backend_pid,))
    try:
        yield conn
    finally:
        conn.close()


def test_a_database_without_the_engine_says_so(empty_database_url: str) -> None:
    with (
        psycopg.connect(empty_database_url, autocommit=True) as conn,
        pytest.raises(NotInstalled),
    ):
        sync.enqueue(conn, "work")


def test_only_cancel_needs_read_committed(registered: Db, database_url: str) -> None:
    with connected(database_url) as conn:
        conn.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
        job = sync.enqueue(conn, "work", dedup_key="k")
        assert sync.get(conn, job.id) is not None
        conn.commit()
        with pytest.raises(WrongIsolation):
            sync.cancel(conn, [job.id])


def test_errors_of_a_call_are_the_librarys(registered: Db, database_url: str) -> None:
    refused: AbstractContextManager[Any] = pytest.raises(EngineError)
    with connected(database_url, "autocommit") as conn, refused:
        sync.get(conn, "no uuid")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["autocommit", "no autocommit"])
@pytest.mark.parametrize("commits", [True, False])
def test_many_jobs_belong_to_the_transaction_too(
    registered: Db, database_url: str, kind: str, *, commits: bool
) -> None:
    """They go in several calls; the program alone decides whether they stay."""
    jobs = [NewJob(job_type="work", input=number) for number in range(2 * BULK + 1)]
    with connected(database_url, kind) as conn:
        if kind == "autocommit":
            conn.execute("begin")
        answers = sync.enqueue_many(conn, jobs)
        assert [answer.item for answer in answers] == list(range(1, len(jobs) + 1))
        conn.commit() if commits else conn.rollback()
    assert counts(registered)["ready"] == (len(jobs) if commits else 0)


def test_a_refusal_among_many_jobs_takes_back_those_before_it(
    registered: Db, database_url: str
) -> None:
    jobs = [NewJob(job_type="work")] * (BULK + 1) + [NewJob(job_type="work", input=float("nan"))]
    with connected(database_url) as conn:
        conn.execute("insert into public.image values ('a.png')")
        with pytest.raises(InvalidArgument) as caught:
            sync.enqueue_many(conn, jobs)
        assert caught.value.item == len(jobs)
        conn.commit()
    assert counts(registered) == NOTHING
    assert scalar(registered, "select count(*) from public.image") == 1
