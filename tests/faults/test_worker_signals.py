"""A worker process that is told to stop."""

from __future__ import annotations

import signal
from typing import Any

import psycopg
import pytest
from psycopg.rows import DictRow

from jobengine import STOP_SIGNALS
from tests.faults.worker_process import WorkerProcess

Db = psycopg.Connection[DictRow]


def enqueue(db: Db, do: str, job_type: str = "work", count: int = 1) -> list[str]:
    rows = db.execute(
        "select job_id::text from jobengine.enqueue(array_fill(%s::text, array[%s::int]),"
        " array_fill(jsonb_build_object('do', %s::text), array[%s::int]))",
        (job_type, count, do, count),
    )
    return [row["job_id"] for row in rows]


def standing(db: Db) -> list[dict[str, Any]]:
    return db.execute(
        "select job_type, status, attempt, output from jobengine.jobs order by 1"
    ).fetchall()


@pytest.fixture
def jobs(db: Db) -> Db:
    for job_type, delivery in (
        ("work", "at_least_once"),
        ("careful", "at_most_once"),
        ("thread", None),
    ):
        db.execute(
            "select jobengine.register_job_type(%s, p_delivery => %s, p_backoff_seconds => 0,"
            " p_lease_seconds => 5)",
            (job_type, delivery),
        )
    return db


@pytest.mark.parametrize("number", STOP_SIGNALS, ids=lambda n: n.name)
def test_handlers_that_run_finish_first(
    jobs: Db, database_url: str, number: signal.Signals
) -> None:
    enqueue(jobs, "wait")
    with WorkerProcess(database_url) as worker:
        worker.begun()
        worker.send(number)
        worker.go_on()
        assert worker.ended() == 0
    assert standing(jobs) == [
        {"job_type": "work", "status": "completed", "attempt": 1, "output": "attempt 1"}
    ]


def test_after_the_deadline_jobs_are_given_back_or_unknown(jobs: Db, database_url: str) -> None:
    enqueue(jobs, "hang")
    enqueue(jobs, "hang", "careful")
    with WorkerProcess(database_url, drain_timeout=0) as worker:
        worker.begun()
        worker.begun()
        worker.send(signal.SIGTERM)
        assert worker.ended() == 0
    assert standing(jobs) == [
        {"job_type": "careful", "status": "unknown", "attempt": 1, "output": None},
        {"job_type": "work", "status": "pending", "attempt": 0, "output": None},
    ]


def test_a_second_signal_ends_the_wait(jobs: Db, database_url: str) -> None:
    enqueue(jobs, "hang")
    with WorkerProcess(database_url, drain_timeout=3600) as worker:
        worker.begun()
        worker.send(signal.SIGTERM)
        worker.send(signal.SIGINT)
        assert worker.ended() == 0
    assert [job["status"] for job in standing(jobs)] == ["pending"]


def test_an_idle_process_ends(jobs: Db, database_url: str) -> None:
    enqueue(jobs, "done")
    with WorkerProcess(database_url, poll=3600) as worker:
        worker.begun()
        worker.send(signal.SIGTERM)
        assert worker.ended() == 0
    assert [job["status"] for job in standing(jobs)] == ["completed"]
