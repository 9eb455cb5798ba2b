"""Batch handlers: what they are handed, what they answer, and what becomes of each job."""

from __future__ import annotations

import asyncio
import threading
from typing import Any
from uuid import UUID

import psycopg
import pytest

from jobengine import Cancel, InvalidArgument, Job, JobEngine, Reject, Snooze, Worker
from jobengine.testing import Clock
from tests.acceptance.handlers import BatchGate
from tests.acceptance.world import (
    EXTENDED,
    STEAL,
    Db,
    as_owner,
    counts,
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


class Trouble(Exception):
    """What a handler raises, or answers, here."""


def worker_of(engine: JobEngine, handler: Any, *, size: int = 100, **options: Any) -> Worker:
    worker = Worker(engine, **{"sweep_every": 0.05, **options})
    for job_type in ("work", "careful"):
        worker.handles_batch(job_type, size=size)(handler)
    return worker


@in_loop
async def test_jobs_of_a_type_that_were_claimed_together_come_together(
    db: Db, database_url: str
) -> None:
    async with site(database_url) as engine:
        answers = await enqueue(engine, 25), await enqueue(engine, 3, job_type="careful")
        job_ids = [job_id for ids in answers for job_id in ids]
        batches: list[list[Job]] = []

        async def handler(jobs: list[Job]) -> list[str]:
            batches.append(jobs)
            return [str(job.id) for job in jobs]

        async with working(worker_of(engine, handler, size=10)):
            found = await ends(engine, job_ids)
        assert [job.output for job in found] == [str(job_id) for job_id in job_ids]
        assert sorted(len(jobs) for jobs in batches) == [3, 5, 10, 10]
        assert all(len({job.job_type for job in jobs}) == 1 for jobs in batches)


@in_loop
async def test_single_jobs_beside_batches_keep_their_handler(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        gate, single = BatchGate(), []
        gate.open()
        worker = Worker(engine)
        worker.handles_batch("work", size=2)(gate)

        @worker.handles("careful")
        async def handle(job: Job) -> None:
            single.append(job.id)

        alone = await enqueue(engine, 3, job_type="careful")
        together = await enqueue(engine, 3)
        async with working(worker):
            await ends(engine, alone + together)
        assert sorted(single) == sorted(alone)
        assert sorted(map(len, gate.begun)) == [1, 2]


@in_loop
async def test_each_item_of_the_answer_is_its_jobs_end(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        first = [{"a": 1}, None, Reject("no"), Cancel("why"), Trouble("once"), Snooze(0.01)]
        seen: list[int] = []

        async def handler(jobs: list[Job]) -> list[Any]:
            seen.append(len(jobs))
            return first if len(jobs) == 6 else ["again"] * len(jobs)

        job_ids = await enqueue(engine, 6)
        async with working(worker_of(engine, handler)):
            found = await ends(engine, job_ids)
        assert seen[0] == 6
        assert [job.status for job in found] == [
            *("completed", "completed", "failed", "cancelled", "completed", "completed")
        ]
        assert [job.output for job in found] == [{"a": 1}, None, None, None, "again", "again"]
        assert [job.attempt for job in found] == [1, 1, 1, 1, 2, 1]
        assert found[2].error_message == "no"
        assert found[3].error_message == "why"
        failure = db.execute("select job_id, error_code, error_message from jobengine.failure")
        rejected, failed = sorted(
            failure.fetchall(), key=lambda row: row["error_code"] == "Trouble"
        )
        assert rejected["job_id"] == job_ids[2]
        assert (failed["job_id"], failed["error_code"]) == (job_ids[4], "Trouble")
        assert "once" in failed["error_message"]


@in_loop
async def test_none_completes_all_with_null(db: Db, database_url: str) -> None:
    async def handler(_: list[Job]) -> None: ...

    async with site(database_url) as engine:
        job_ids = await enqueue(engine, 3)
        async with working(worker_of(engine, handler)):
            found = await ends(engine, job_ids)
        assert {(job.status, job.output) for job in found} == {("completed", None)}


async def raising(_: list[Job]) -> None:
    raise Trouble("all of us")


def raising_in_a_thread(_: list[Job]) -> None:
    raise Trouble("all of us")


@pytest.mark.parametrize("handler", [raising, raising_in_a_thread])
@in_loop
async def test_a_raise_fails_every_attempt(db: Db, database_url: str, handler: Any) -> None:
    async with site(database_url) as engine:
        job_ids = await enqueue(engine, 3)
        async with working(worker_of(engine, handler)):
            found = await ends(engine, job_ids)
        assert {(job.status, job.attempt, job.error_code) for job in found} == {
            ("failed", 3, "Trouble")
        }
        for job in found:
            assert job.error_message is not None
            assert job.error_message.startswith("Traceback")
            assert handler.__name__ in job.error_message
        assert scalar(db, "select count(*) from jobengine.failure") == 9


@pytest.mark.parametrize(
    "answer, said",
    [(["one"], "not 1"), ([1, 2, 3, 4], "not 4"), ({}, "dict"), ("abc", "str"), (iter([]), "iter")],
    ids=["too short", "too long", "a dict", "a text", "an iterator"],
)
@in_loop
async def test_an_answer_that_does_not_fit_fails_every_attempt(
    db: Db, database_url: str, answer: Any, said: str
) -> None:
    async def handler(_: list[Job]) -> Any:
        return answer

    async with site(database_url) as engine:
        job_ids = await enqueue(engine, 3, job_type="careful")
        async with working(worker_of(engine, handler)):
            found = await ends(engine, job_ids)
        assert {(job.status, job.error_code) for job in found} == {("failed", "InvalidAnswer")}
        for job in found:
            assert job.error_message is not None
            assert "a list of 3 items is due, one per job" in job.error_message
            assert said in job.error_message


@in_loop
async def test_a_sync_batch_handler_runs_in_a_thread(db: Db, database_url: str) -> None:
    def handler(jobs: list[Job]) -> list[str]:
        return [threading.current_thread().name for _ in jobs]

    async with site(database_url) as engine:
        job_ids = await enqueue(engine, 3)
        async with working(worker_of(engine, handler)):
            names = {job.output for job in await ends(engine, job_ids)}
        assert len(names) == 1
        assert names.pop().startswith("jobengine-handler")


@in_loop
async def test_one_bad_output_does_not_harm_the_batch(db: Db, database_url: str) -> None:
    async def handler(jobs: list[Job]) -> list[Any]:
        return [object(), *(["fine"] * (len(jobs) - 1))]

    async with site(database_url) as engine:
        job_ids = await enqueue(engine, 3)
        async with working(worker_of(engine, handler)):
            found = await ends(engine, job_ids)
        assert [job.status for job in found] == ["failed", "completed", "completed"]
        assert found[0].error_code == "invalid_output"


@in_loop
async def test_an_item_that_makes_no_sense_fails_alone(db: Db, database_url: str) -> None:
    async def handler(jobs: list[Job]) -> list[Any]:
        return [Reject(7), *(["fine"] * (len(jobs) - 1))]  # type: ignore[arg-type]

    async with site(database_url) as engine:
        job_ids = await enqueue(engine, 3, job_type="careful")
        worker = worker_of(engine, handler, concurrency=3)
        async with working(worker):
            found = await ends(engine, job_ids)
            await until(lambda: worker._turns.free == 3)
        assert [job.status for job in found] == ["failed", "completed", "completed"]
        assert found[0].error_code == "AttributeError"


@in_loop
async def test_a_batch_holds_a_slot_per_job_until_it_ends(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        job_ids = await enqueue(engine, 12)
        gate = BatchGate()
        worker = worker_of(engine, gate, concurrency=5)
        async with working(worker):
            await until(lambda: gate.begun)
            assert [len(batch) for batch in gate.begun] == [5]
            assert counts(db) == {"job": 12, "ready": 7, "lease": 5, "ended": 0}
            gate.open()
            await ends(engine, job_ids)
            await until(lambda: worker._turns.free == 5)
        assert max(map(len, gate.begun)) == 5
        assert sorted(job_id for batch in gate.begun for job_id in batch) == sorted(job_ids)


@in_loop
async def test_an_at_most_once_batch_is_started_in_one_call(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        seen: list[int] = []

        async def handler(jobs: list[Job]) -> None:
            started = "select count(distinct started_at) as calls, count(*) from jobengine.lease"
            seen.extend((db.execute(started).fetchone() or {}).values())
            seen.append(len(jobs))

        job_ids = await enqueue(engine, 5, job_type="careful")
        async with working(worker_of(engine, handler)):
            found = await ends(engine, job_ids)
        # A call reads the clock once.
        assert seen == [1, 5, 5]
        assert {(job.status, job.lease_epoch) for job in found} == {("completed", 1)}


@in_loop
async def test_only_jobs_whose_start_was_accepted_are_handed_in(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        gate = BatchGate()
        gate.open()
        worker = worker_of(engine, gate)

        @worker.handles("work")
        async def interfere(_: Job) -> None:
            """Cancel two of the claimed jobs before anything else of the loop runs."""
            with psycopg.connect(database_url, autocommit=True) as conn:
                conn.execute("select jobengine.cancel(%s)", (job_ids[1:3],))

        job_ids = await enqueue(engine, 5, job_type="careful")
        (first,) = await enqueue(engine, priority=0)
        async with working(worker):
            found = await ends(engine, [first, *job_ids])
            assert [job.status for job in found[1:]] == [
                *("completed", "cancelled", "cancelled", "completed", "completed")
            ]
        assert gate.begun == [[job_ids[0], *job_ids[3:]]]


@in_loop
async def test_a_cancelled_job_does_not_end_its_batch_and_its_result_counts(
    db: Db, clock: Clock, database_url: str
) -> None:
    async with site(database_url) as engine:
        job_ids = await enqueue(engine, 3, lease=0.3)
        gate = BatchGate()
        worker = worker_of(engine, gate)
        async with working(worker):
            await until(lambda: gate.begun)
            await engine.cancel(job_ids[:1])
            await until(lambda: sum(h.stopped for h in worker._book.unreported()) == 1)
            for _ in range(5):  # the leases would run out, also the cancelled job's
                clock.advance(0.2)
                await until(lambda: scalar(db, EXTENDED) == 3)
                await engine.sweep()
            assert gate.cancelled == 0
            gate.open()
            found = await ends(engine, job_ids)
        assert {(job.status, job.output) for job in found} == {("completed", "through the gate")}


@in_loop
async def test_when_all_jobs_are_cancelled_the_handler_is(
    db: Db, clock: Clock, database_url: str
) -> None:
    async with site(database_url) as engine:
        job_ids = await enqueue(engine, 3, lease=0.3)
        gate = BatchGate()
        worker = worker_of(engine, gate, concurrency=3)
        async with working(worker):
            await until(lambda: gate.begun)
            for job_id in job_ids:
                assert gate.cancelled == 0
                await engine.cancel([job_id], reason=f"stop {job_id}")
            found = await ends(engine, job_ids)
            assert [job.error_message for job in found] == [f"stop {job_id}" for job_id in job_ids]
            assert {job.status for job in found} == {"cancelled"}
            assert gate.cancelled == 1
            # Its slots are free, and its runner goes on.
            gate.open()
            after = await enqueue(engine, 3)
            assert {job.status for job in await ends(engine, after)} == {"completed"}


@in_loop
async def test_a_batchs_cancellation_does_not_reach_the_next_handler_of_its_runner(
    db: Db, clock: Clock, database_url: str
) -> None:
    """What that one meets in a task of its own is not taken for the end of its runner."""

    async def meets_a_cancelled_task(_: Job) -> None:
        task = asyncio.create_task(asyncio.sleep(3600))
        task.cancel()
        await task

    async with site(database_url) as engine:
        gate = BatchGate()
        worker = Worker(engine, concurrency=1)
        worker.handles_batch("work", size=10)(gate)
        worker.handles("careful")(meets_a_cancelled_task)
        async with working(worker):
            (job_id,) = await enqueue(engine, lease=0.3)
            await until(lambda: gate.begun)
            await engine.cancel([job_id])
            assert (await end(engine, job_id)).status == "cancelled"
            (after,) = await enqueue(engine, job_type="careful")
            assert (await end(engine, after)).error_code == "CancelledError"


@in_loop
async def test_no_stale_effect_a_job_that_is_lost_out_of_a_batch_is_left_alone(
    db: Db, clock: Clock, database_url: str
) -> None:
    async with site(database_url) as engine:
        job_ids = await enqueue(engine, 3, lease=0.3)
        gate = BatchGate()
        worker = worker_of(engine, gate)
        async with working(worker):
            await until(lambda: gate.begun)
            as_owner(db, STEAL, job_ids[:1])
            await until(lambda: sum(h.stopped for h in worker._book.unreported()) == 1)
            gate.open()
            assert {job.status for job in await ends(engine, job_ids[1:])} == {"completed"}
        assert await standing(engine, job_ids[:1]) == [("pending", 1, 1)]
        assert gate.cancelled == 0


@in_loop
async def test_after_the_deadline_of_a_drain_batches_are_given_back_or_unknown(
    db: Db, database_url: str
) -> None:
    async with site(database_url) as engine:
        work = await enqueue(engine, 3)
        careful = await enqueue(engine, 2, job_type="careful")
        gate = BatchGate()
        worker = worker_of(engine, gate, drain_timeout=0)
        run = asyncio.create_task(worker.run())
        await until(lambda: len(gate.begun) == 2)
        worker.stop()
        await within(run)
        assert gate.cancelled == 2
        assert await standing(engine, work) == [("pending", 0, 1)] * 3
        assert await standing(engine, careful) == [("unknown", 1, 1)] * 2
        assert not worker.abandoned


@in_loop
async def test_a_batch_that_has_not_begun_is_given_back(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        gate = BatchGate()
        worker = worker_of(engine, gate)

        @worker.handles("work")
        async def stop(_: Job) -> None:
            worker.stop()

        job_ids = await enqueue(engine, 4, job_type="careful")
        (first,) = await enqueue(engine, priority=0)
        gate.open()
        await within(worker.run())
        assert await standing(engine, [first]) == [("completed", 1, 1)]
        ran = {job_id for batch in gate.begun for job_id in batch}
        states = dict(zip(job_ids, await standing(engine, job_ids), strict=True))
        assert {states[job_id][0] for job_id in ran} <= {"completed"}
        assert {states[job_id][:2] for job_id in states.keys() - ran} <= {("pending", 0)}
        assert counts(db)["lease"] == 0


@pytest.mark.parametrize(
    "field, options", [("size", {"size": 0}), ("concurrency", {"size": 1, "concurrency": 0})]
)
@in_loop
async def test_numbers_below_one_are_refused(
    db: Db, database_url: str, field: str, options: dict[str, int]
) -> None:
    async with site(database_url) as engine:
        with pytest.raises(InvalidArgument, match="at least 1") as caught:
            Worker(engine).handles_batch("work", **options)
        assert caught.value.field == field


@in_loop
async def test_the_last_registration_counts(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        gate, seen = BatchGate(), list[UUID]()
        worker = worker_of(engine, gate)

        @worker.handles("work")
        async def single(job: Job) -> None:
            seen.append(job.id)

        worker.handles("careful")(single)
        worker.handles_batch("careful", size=10)(gate)
        gate.open()
        (one,), (other,) = await enqueue(engine), await enqueue(engine, job_type="careful")
        async with working(worker):
            await ends(engine, [one, other])
        assert (seen, gate.begun) == ([one], [[other]])


@in_loop
async def test_a_handler_that_comes_too_late_is_refused(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        gate = BatchGate()
        gate.open()
        worker = worker_of(engine, gate)
        async with working(worker):
            (job_id,) = await enqueue(engine)
            await end(engine, job_id)
            with pytest.raises(InvalidArgument, match="before the worker runs"):
                worker.handles("work")(print)
            with pytest.raises(InvalidArgument, match="before the worker runs"):
                worker.handles_batch("other", size=2)(gate)
