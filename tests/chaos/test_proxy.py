"""The proxy spoils connections as it says, in front of a real server."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg.rows import DictRow

from tests.chaos.messages import STARTUP_CODES, Answer, Frames, Requests, operation_of
from tests.chaos.proxy import Proxy

Db = psycopg.Connection[DictRow]
LOST = psycopg.OperationalError


@pytest.fixture
def proxy(database_url: str) -> Iterator[Proxy]:
    with Proxy(database_url) as running:
        yield running


@pytest.fixture
def jobs(db: Db) -> Db:
    db.execute("select jobengine.register_job_type('work')")
    return db


def connect(proxy: Proxy) -> psycopg.Connection:
    return psycopg.connect(proxy.url, autocommit=True)


def enqueue(conn: psycopg.Connection, key: str) -> str:
    query = "select job_id::text, verdict from jobengine.enqueue(array['work'], p_dedup_keys => %s)"
    row = conn.execute(query, ([key],)).fetchone()
    assert row
    return str(row[1])


def there(db: Db) -> int:
    row = db.execute("select count(*) as jobs from jobengine.job").fetchone()
    assert row
    return int(row["jobs"])


def test_it_passes_what_it_is_given(jobs: Db, proxy: Proxy) -> None:
    with connect(proxy) as conn:
        text = "x" * 300_000
        row = conn.execute("select %s", (text,)).fetchone()
        assert row == (text,)
        assert enqueue(conn, "a") == "ok"
    assert there(jobs) == 1
    assert proxy.swallowed == {}


def test_a_swallowed_answer_is_of_a_call_that_was_committed(jobs: Db, proxy: Proxy) -> None:
    proxy.swallow_next("enqueue")
    with connect(proxy) as conn:
        with pytest.raises(LOST):
            enqueue(conn, "a")
        assert there(jobs) == 1  # at once: the answer was there when the connection was cut
        assert conn.closed
    with connect(proxy) as conn:
        assert enqueue(conn, "a") == "duplicate"
    assert proxy.swallowed == {"enqueue": 1}


def test_a_prepared_call_is_known_by_its_name(jobs: Db, proxy: Proxy) -> None:
    with connect(proxy) as conn:
        conn.prepare_threshold = 0
        assert enqueue(conn, "a") == "ok"
        proxy.swallow_next("enqueue")
        with pytest.raises(LOST):
            enqueue(conn, "b")
    assert there(jobs) == 2


def test_in_a_transaction_it_is_the_commit_that_is_swallowed(jobs: Db, proxy: Proxy) -> None:
    with connect(proxy) as conn:
        proxy.swallow_next("enqueue")
        proxy.swallow_next("commit")
        with pytest.raises(LOST), conn.transaction():
            assert enqueue(conn, "a") == "ok"
    assert there(jobs) == 1
    assert proxy.swallowed == {"commit": 1}


def test_an_error_is_not_swallowed(jobs: Db, proxy: Proxy) -> None:
    proxy.swallow_next("enqueue")
    with connect(proxy) as conn, pytest.raises(psycopg.Error, match="unknown job type"):
        conn.execute("select * from jobengine.enqueue(array['nobody'])")
    assert there(jobs) == 0
    assert proxy.swallowed == {}


def test_the_number_of_the_call_decides(jobs: Db, database_url: str) -> None:
    def third(operation: str, number: int) -> bool:
        return operation == "enqueue" and number == 3

    with Proxy(database_url, swallow=third) as proxy, connect(proxy) as conn:
        assert enqueue(conn, "a") == "ok"
        assert enqueue(conn, "b") == "ok"
        with pytest.raises(LOST):
            enqueue(conn, "c")
    assert there(jobs) == 3


def test_a_stall_holds_everything_back_and_loses_nothing(jobs: Db, proxy: Proxy) -> None:
    with connect(proxy) as conn, ThreadPoolExecutor(1) as pool:
        proxy.stall(3600)
        calling = pool.submit(enqueue, conn, "a")
        with pytest.raises(TimeoutError):
            calling.result(0.1)
        assert there(jobs) == 0
        proxy.pass_all()
        assert calling.result(30) == "ok"
    assert there(jobs) == 1


def test_a_trickle_is_slow_and_whole(jobs: Db, proxy: Proxy) -> None:
    with connect(proxy) as conn:
        proxy.trickle(3600)
        row = conn.execute("select %s", ("y" * 500,)).fetchone()
        assert row == ("y" * 500,)


def test_a_reset_cuts_who_is_connected_and_nobody_after(jobs: Db, proxy: Proxy) -> None:
    with connect(proxy) as conn:
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(conn.execute, "select pg_sleep(3600)")
            _until_asleep(jobs)
            proxy.reset()
            with pytest.raises(LOST):
                waiting.result(30)
        assert conn.closed
    jobs.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and query ~ '^select pg_sleep'"
    )
    with connect(proxy) as conn:
        assert enqueue(conn, "a") == "ok"


def test_a_reset_is_one_of_tcp(proxy: Proxy) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=30) as conn:
        conn.sendall((8).to_bytes(4) + STARTUP_CODES["ssl"].to_bytes(4))
        assert conn.recv(1) == b"N"
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            conn.recv(1)


def _until_asleep(db: Db) -> None:
    query = (
        "select 1 from pg_stat_activity"
        " where datname = current_database() and wait_event = 'PgSleep'"
    )
    deadline = time.monotonic() + 30
    while not db.execute(query).fetchone():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


def test_new_connections_are_refused_and_old_ones_are_not(jobs: Db, proxy: Proxy) -> None:
    with connect(proxy) as conn:
        proxy.refuse(3600)
        with pytest.raises(LOST):
            connect(proxy)
        assert enqueue(conn, "a") == "ok"
        proxy.pass_all()
        connect(proxy).close()


def test_where_no_server_listens_clients_are_cut() -> None:
    nobody = "host=/nowhere dbname=none user=none"
    with Proxy(nobody) as proxy, pytest.raises(LOST):
        connect(proxy)


def test_messages_are_cut_wherever_the_bytes_were() -> None:
    stream = b"Q\0\0\0\x08ab\0\0" + b"Z\0\0\0\x05I"
    frames = Frames()
    found = [message for byte in stream for message in frames.feed(bytes([byte]))]
    assert found == Frames().feed(stream) == [(b"Q", b"ab\0\0"), (b"Z", b"I")]


@pytest.mark.parametrize(
    "query, operation",
    [
        (b"select * from jobengine.finish(%s)", "finish"),
        (b"  COMMIT", "commit"),
        (b"select jobengine._doze($1)", None),
        (b"select 1", None),
    ],
)
def test_operations_are_known_by_their_text(query: bytes, operation: str | None) -> None:
    assert operation_of(query) == operation


def test_an_answer_is_committed_when_the_server_is_idle_again() -> None:
    for body, error, committed in ((b"I", b"", True), (b"T", b"", False), (b"I", b"E", False)):
        answer = Answer()
        answer.feed((b"E\0\0\0\x04" if error else b"") + b"Z\0\0\0\x05" + body)
        assert (answer.complete, answer.committed) == (True, committed)


def test_requests_of_prepared_statements() -> None:
    requests = Requests()
    parse = b"s1\0select jobengine.claim($1)\0\0\0"
    bind = b"\0s1\0"
    assert requests.feed(b"P" + (4 + len(parse)).to_bytes(4) + parse) == []
    assert requests.feed(b"B" + (4 + len(bind)).to_bytes(4) + bind) == ["claim"]
