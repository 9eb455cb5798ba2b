"""Workers that are killed or stopped in the middle of jobs."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest
from psycopg.rows import DictRow

from tests.acceptance.world import as_owner
from tests.faults.worker_process import PATIENCE, WorkerProcess

Db = psycopg.Connection[DictRow]

# A parent of jobs: one row per settled end, without a key, so that a second one would show.
PARENT = """
create table if not exists public.settled (job_id uuid not null, status text not null);
truncate public.settled;
create or replace function public.settle_work(p_jobs jobengine.settled_job[]) returns void
language sql security definer set search_path = public, pg_temp
as 'insert into settled select j.job_id, j.status from unnest(p_jobs) j';
revoke execute on function public.settle_work(jobengine.settled_job[]) from public;
grant execute on function public.settle_work(jobengine.settled_job[]) to jobengine_owner;
grant usage on schema public to jobengine_owner;
"""


@pytest.fixture
def jobs(db: Db) -> Iterator[Db]:
    """Job types with a parent; their leases outlast a machine that stands still for seconds."""
    db.execute(PARENT.encode())
    for job_type, delivery in (("work", "at_least_once"), ("careful", "at_most_once")):
        db.execute(
            "select jobengine.register_job_type(%s, p_delivery => %s, p_lease_seconds => 6,"
            " p_backoff_seconds => 0, p_max_attempts => 1000, p_settle => 'public.settle_work')",
            (job_type, delivery),
        )
    yield db
    db.execute("drop table public.settled cascade")


def enqueue(db: Db, do: str, job_type: str = "work", count: int = 1) -> list[str]:
    rows = db.execute(
        "select job_id::text from jobengine.enqueue(array_fill(%s::text, array[%s::int]),"
        " array_fill(jsonb_build_object('do', %s::text), array[%s::int]))",
        (job_type, count, do, count),
    )
    return [row["job_id"] for row in rows]


def until(fact: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not fact():
        assert time.monotonic() < deadline, "the fact did not come"
        time.sleep(0.01)


def scalar(db: Db, query: str, *values: object) -> Any:
    row = db.execute(query.encode(), values).fetchone()
    return next(iter(row.values())) if row else None


def job(db: Db, job_id: str) -> DictRow:
    row = db.execute("select * from jobengine.jobs where job_id = %s", (job_id,)).fetchone()
    assert row
    return row


def ended(db: Db) -> int:
    found: int = scalar(db, "select count(*) from jobengine.ended")
    return found


def lapse(db: Db) -> None:
    """Let all leases run out at once: whoever has them is gone, or stands still."""
    as_owner(db, "update jobengine.lease set lease_expires_at = '2020-01-01'")


def everything_of(db: Db) -> list[Any]:
    return [
        db.execute(f"select * from {table} order by 1".encode()).fetchall()
        for table in ("jobengine.ended", "jobengine.failure", "jobengine.ready", "public.settled")
    ]


def settled_equals_ended(db: Db) -> bool:
    """Every ended job was settled once, with the status that it has."""
    differing = scalar(
        db,
        "select count(*) from jobengine.ended e full join"
        " (select job_id, min(status) as status, count(*) from public.settled group by job_id) s"
        " using (job_id) where s.count is distinct from 1 or s.status is distinct from e.status",
    )
    return bool(differing == 0)


def test_no_lost_job_the_job_of_a_killed_worker_is_run_by_another(
    jobs: Db, database_url: str
) -> None:
    (job_id,) = enqueue(jobs, "hang_once")
    with WorkerProcess(database_url, agent_id="first") as first:
        assert first.begun() == job_id
        first.send(signal.SIGKILL)
        first.ended()
        lapse(jobs)
        with WorkerProcess(database_url, agent_id="second") as second:
            assert second.begun() == job_id
            until(lambda: ended(jobs))
    found = job(jobs, job_id)
    assert (found["status"], found["output"]) == ("completed", "attempt 2")
    assert (found["attempt"], found["agent_id"]) == (2, "second")
    failures = jobs.execute(
        "select attempt, reported_by, error_code, agent_id from jobengine.failure"
    )
    assert failures.fetchall() == [
        {"attempt": 1, "reported_by": "sweep", "error_code": "lease_expired", "agent_id": "first"}
    ]
    assert settled_equals_ended(jobs)


def test_an_at_most_once_job_of_a_killed_worker_is_unknown_and_never_run_again(
    jobs: Db, database_url: str
) -> None:
    (job_id,) = enqueue(jobs, "hang_once", "careful")
    with WorkerProcess(database_url) as first:
        first.begun()
        first.send(signal.SIGKILL)
        first.ended()
        lapse(jobs)
        (other,) = enqueue(jobs, "done")
        with WorkerProcess(database_url) as second:
            assert second.begun() == other
            until(lambda: ended(jobs) == 2)
    found = job(jobs, job_id)
    assert (found["status"], found["attempt"], found["error_code"]) == (
        "unknown",
        1,
        "lease_expired",
    )
    assert settled_equals_ended(jobs)


def test_no_stale_effect_a_worker_that_was_stopped_past_its_lease_reports_too_late(
    jobs: Db, database_url: str
) -> None:
    (job_id,) = enqueue(jobs, "block")
    with WorkerProcess(database_url, agent_id="late", sweep_every=3600) as late:
        late.begun()
        late.stop_for_good()
        lapse(jobs)
        with WorkerProcess(database_url, agent_id="other") as other:
            other.begun()
            other.go_on()
            until(lambda: ended(jobs))
        before = everything_of(jobs)
        late.send(signal.SIGCONT)
        late.go_on()
        assert late.told("log") == (
            f"job {job_id} (work): its end completed was refused: stale_lease"
        )
        assert everything_of(jobs) == before
    assert job(jobs, job_id)["agent_id"] == "other"
    assert settled_equals_ended(jobs)


def test_a_handler_that_slept_through_its_lease_is_cancelled(jobs: Db, database_url: str) -> None:
    (job_id,) = enqueue(jobs, "hang")
    with WorkerProcess(database_url, sweep_every=3600) as late:
        late.begun()
        late.stop_for_good()
        lapse(jobs)
        assert scalar(jobs, "select returned from jobengine.sweep()") == 1
        with WorkerProcess(database_url) as other:
            assert other.begun() == job_id
            before = everything_of(jobs)
            late.send(signal.SIGCONT)
            # Its slot is free again: it takes the next job, and has nothing to say of the first.
            enqueue(jobs, "done")
            until(lambda: ended(jobs))
            late.send(signal.SIGTERM)
            assert late.ended() == 0
            assert job(jobs, job_id)["status"] == "running"
            assert everything_of(jobs)[1:3] == before[1:3]


def kill_holding_jobs(db: Db, worker: WorkerProcess, agent_id: str) -> None:
    """SIGKILL at a moment when the worker holds jobs: it is stopped while one looks."""
    held = "select count(*) from jobengine.lease where agent_id = %s"
    deadline = time.monotonic() + PATIENCE
    while True:
        worker.stop_for_good()
        if scalar(db, held, agent_id):
            worker.send(signal.SIGKILL)
            worker.ended()
            lapse(db)
            return
        worker.send(signal.SIGCONT)
        assert time.monotonic() < deadline, "the worker never holds a job"


def test_every_job_ends_once_while_workers_are_killed(jobs: Db, database_url: str) -> None:
    count = 400
    enqueue(jobs, "linger", count=count)
    with ExitStack() as stack:
        for number in range(3):
            agent_id = f"victim-{number}"
            worker = WorkerProcess(database_url, agent_id=agent_id, concurrency=10)
            stack.enter_context(worker).begun()
            kill_holding_jobs(jobs, worker, agent_id)
        stack.enter_context(WorkerProcess(database_url, concurrency=100))
        until(lambda: ended(jobs) == count)
    assert scalar(jobs, "select count(*) from jobengine.ended where status = 'completed'") == count
    # A worker that the machine stops for longer than a lease lasts loses some as well.
    lost = {row["agent_id"] for row in jobs.execute("select agent_id from jobengine.failure")}
    assert lost >= {"victim-0", "victim-1", "victim-2"}
    assert scalar(jobs, "select count(*) from jobengine.lease") == 0
    assert scalar(jobs, "select count(*) from jobengine.ready") == 0
    assert settled_equals_ended(jobs)
