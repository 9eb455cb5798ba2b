"""What a worker logs: each event at its time, with its fields."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from jobengine import Job, JobEngine, NewJob, Reject, Snooze, Worker, logs
from jobengine.housekeeping import Housekeeping
from jobengine.testing import Clock
from tests.acceptance.handlers import Gate, Stubborn
from tests.acceptance.world import (
    STEAL,
    Db,
    as_owner,
    end,
    ends,
    enqueue,
    in_loop,
    scalar,
    site,
    standing,
    until,
    within,
    working,
)


class Records:
    """The library's records, as they come."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    @property
    def _records(self) -> list[logging.LogRecord]:
        return [record for record in self._caplog.records if record.name.startswith("jobengine")]

    def __getitem__(self, event: logs.Event) -> list[dict[str, Any]]:
        """The fields of each record of an event."""
        return [
            {name: vars(record)[name] for name in event.fields}
            for record in self._records
            if vars(record)["event"] == event.name
        ]

    def one(self, event: logs.Event) -> dict[str, Any]:
        (found,) = self[event]
        return found

    @property
    def events(self) -> list[str]:
        return [vars(record)["event"] for record in self._records]


@pytest.fixture
def records(caplog: pytest.LogCaptureFixture) -> Records:
    caplog.set_level(logging.DEBUG, "jobengine")
    return Records(caplog)


def worker_of(engine: JobEngine, handler: Any, **options: Any) -> Worker:
    worker = Worker(engine, **{"agent_id": "me", "sweep_every": 3600, **options})
    for job_type in ("work", "careful"):
        worker.handles(job_type)(handler)
    return worker


@in_loop
async def test_a_worker_says_when_it_starts_drains_and_stops(
    db: Db, database_url: str, records: Records
) -> None:
    async with site(database_url) as engine:
        gate = Gate()
        worker = worker_of(engine, gate, queues=["default", "b"], concurrency=7)
        await enqueue(engine)
        run = asyncio.create_task(worker.run())
        await until(lambda: gate.begun)
        worker.stop()
        await until(lambda: records[logs.WORKER_STOPPING])
        gate.open()
        await within(run)
    started = {"agent_id": "me", "queues": "default,b", "concurrency": 7}
    assert records.one(logs.WORKER_STARTED) == started
    assert records.one(logs.WORKER_STOPPING) == {"agent_id": "me", "held": 1}
    assert records.one(logs.WORKER_STOPPED)["agent_id"] == "me"
    # A job that is done is not worth a word.
    assert records.events == ["worker_started", "worker_stopping", "worker_stopped"]


@in_loop
async def test_failed_and_rejected_attempts_are_logged_with_what_became_of_them(
    db: Db, database_url: str, records: Records
) -> None:
    async def handler(job: Job) -> Any:
        if job.input == "reject":
            return Reject("no picture", code="no_picture")
        if job.lease_epoch == 1:
            return Snooze(0)
        raise ValueError("a\nbad one")

    async with site(database_url) as engine:
        rejected, failed = [
            answer.id
            for answer in await engine.enqueue_many(
                [NewJob(job_type="work", input=kind) for kind in ("reject", "fail")]
            )
        ]
        async with working(worker_of(engine, handler)):
            await ends(engine, [rejected, failed])
            await until(lambda: len(records[logs.JOB_FAILED]) == 3)
    who = {"agent_id": "me", "job_type": "work"}
    found = records[logs.JOB_FAILED]
    assert [(row["attempt"], row["verdict"]) for row in found] == [
        (1, "retried"),
        (2, "retried"),
        (3, "ok"),
    ]
    for row in found:
        assert row.pop("held_seconds") >= 0
        assert row == {
            **who,
            "job_id": failed,
            "attempt": row["attempt"],
            "max_attempts": 3,
            "error_code": "ValueError",
            "error": "bad one",
            "verdict": row["verdict"],
        }
    row = records.one(logs.JOB_REJECTED)
    assert row["job_id"] == rejected
    assert (row["error_code"], row["error"], row["verdict"]) == ("no_picture", "no picture", "ok")


@in_loop
async def test_what_stops_a_job_is_logged(
    db: Db, clock: Clock, database_url: str, records: Records
) -> None:
    async with site(database_url) as engine:
        gate = Gate()
        cancelled, lost = await enqueue(engine, 2, lease=0.3)
        async with working(worker_of(engine, gate)):
            await until(lambda: len(gate.begun) == 2)
            await engine.cancel([cancelled], reason="enough")
            await end(engine, cancelled)
            as_owner(db, STEAL, [lost])
            await until(lambda: len(gate.cancelled) == 2)
    who = {"agent_id": "me", "job_type": "work", "attempt": 1}
    assert records.one(logs.JOB_CANCELLED) == {**who, "job_id": cancelled, "reason": "enough"}
    assert records.one(logs.LEASE_LOST) == {**who, "job_id": lost, "verdict": "stale_lease"}


@in_loop
async def test_a_refused_start_is_a_lost_lease(db: Db, database_url: str, records: Records) -> None:
    async with site(database_url) as engine:
        gate = Gate()
        worker = Worker(engine, agent_id="me")

        @worker.handles("work")
        async def steal(_: Job) -> None:
            as_owner(db, STEAL, [job_id])

        worker.handles("careful")(gate)
        (job_id,) = await enqueue(engine, job_type="careful")
        (first,) = await enqueue(engine, priority=0)
        async with working(worker):
            await end(engine, first)
            await until(lambda: records[logs.LEASE_LOST])
        assert await standing(engine, [job_id]) == [("pending", 1, 1)]
    assert records.one(logs.LEASE_LOST)["job_id"] == job_id
    assert gate.begun == []


@in_loop
async def test_a_refused_finish_is_logged(db: Db, database_url: str, records: Records) -> None:
    async with site(database_url) as engine:
        (job_id,) = await enqueue(engine)
        gate = Gate()
        async with working(worker_of(engine, gate)):
            await until(lambda: gate.begun)
            as_owner(db, STEAL, [job_id])
            gate.open()
            await until(lambda: records[logs.FINISH_REFUSED])
    assert records.one(logs.FINISH_REFUSED) == {
        "agent_id": "me",
        "job_id": job_id,
        "job_type": "work",
        "attempt": 1,
        "outcome": "completed",
        "verdict": "stale_lease",
    }


@in_loop
async def test_a_settle_that_failed_is_logged(db: Db, database_url: str, records: Records) -> None:
    db.execute(
        "create or replace function public.settle_badly(jobengine.settled_job[]) returns void"
        " language plpgsql security definer set search_path = pg_catalog, pg_temp"
        " as 'begin perform 1 / 0; end'"
    )
    db.execute("revoke all on function public.settle_badly from public")
    db.execute("grant execute on function public.settle_badly to jobengine_owner")
    async with site(database_url) as engine:
        await engine.register_job_type("work", settle="public.settle_badly")
        gate = Gate()
        gate.open()
        (job_id,) = await enqueue(engine)
        async with working(worker_of(engine, gate)):
            await until(lambda: records[logs.SETTLE_FAILED])
    row = records.one(logs.SETTLE_FAILED)
    assert (row["job_id"], row["outcome"]) == (job_id, "completed")
    assert scalar(db, "select settle_error from jobengine.ended") is not None


@in_loop
async def test_handlers_that_take_no_notice_are_logged(
    db: Db, database_url: str, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobengine.worker._GRACE", 0.3)
    async with site(database_url) as engine:
        await enqueue(engine, 2)
        stubborn = Stubborn()
        worker = worker_of(engine, stubborn, drain_timeout=0)
        run = asyncio.create_task(worker.run())
        await until(lambda: stubborn.begun == 2)
        worker.stop()
        await within(run)
        assert worker.abandoned
        stubborn.open()
    row = records.one(logs.HANDLER_IGNORED_STOP)
    assert row == {"agent_id": "me", "slots": 2, "threads": 0}


@in_loop
async def test_housekeeping_speaks_only_of_what_it_did(
    db: Db, clock: Clock, database_url: str, records: Records
) -> None:
    async with site(database_url) as engine:
        housekeeping = Housekeeping(engine, keep=100)
        await housekeeping.sweep()
        await housekeeping.prune()
        assert records.events == []
        (job_id,) = await enqueue(engine, lease=1)
        await engine.claim(["default"], agent_id="me")
        clock.advance(10)
        await housekeeping.sweep()
        assert records.one(logs.SWEPT) == {"returned": 1, "ended": 0, "settled": 0}
        await engine.cancel([job_id])
        clock.advance(1000)
        await housekeeping.prune()
        assert records.one(logs.PRUNED) == {"pruned": 1}


@in_loop
async def test_a_stray_notification_is_logged_cut_short(
    db: Db, database_url: str, records: Records
) -> None:
    async with site(database_url) as engine:
        told: list[Any] = []
        with engine.wakeup.jobs(lambda *what: told.append(what)):
            await until(lambda: told)
            db.execute("select pg_notify('jobengine', %s)", ("x" * 1000,))
            await until(lambda: records[logs.STRAY_NOTIFICATION])
    assert records.one(logs.STRAY_NOTIFICATION) == {"payload": "x" * 100}
