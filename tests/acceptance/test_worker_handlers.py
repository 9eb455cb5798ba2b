"""What a handler gives back, and what becomes of its job."""

from __future__ import annotations

import asyncio
import functools
import sys
import threading
from typing import Any

import pytest

from jobengine import Cancel, Job, JobInfo, Reject, Snooze, Worker
from tests.acceptance.world import Db, end, ends, in_loop, scalar, site, until, working


class Trouble(Exception):
    """What a handler raises here."""


async def outcome(url: str, handler: Any, job_type: str = "work", **fields: Any) -> JobInfo:
    """Run one job with this handler to its end."""
    async with site(url) as engine:
        worker = Worker(engine)
        worker.handles(job_type)(handler)
        async with working(worker):
            job = await engine.enqueue(job_type, **{"wake": True, **fields})
            return await end(engine, job.id)


def failures(db: Db) -> list[dict[str, Any]]:
    return db.execute(
        "select attempt, reported_by, error_code, error_message from jobengine.failure"
        " order by lease_epoch"
    ).fetchall()


OUTPUTS = [None, {"width": 640}, [1, None, "ü"], "text", 0, 1.5, True, {}]


@pytest.mark.parametrize("output", OUTPUTS, ids=repr)
@in_loop
async def test_what_an_async_handler_returns_is_the_output(
    db: Db, database_url: str, output: Any
) -> None:
    async def handler(_: Job) -> Any:
        return output

    found = await outcome(database_url, handler)
    assert (found.status, found.attempt) == ("completed", 1)
    assert found.output == output
    assert failures(db) == []


@in_loop
async def test_a_sync_handler_runs_in_a_thread(db: Db, database_url: str) -> None:
    def handler(job: Job) -> dict[str, Any]:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        return {"thread": threading.current_thread().name, "input": job.input}

    found = await outcome(database_url, handler, input={"a": 1})
    assert found.output["thread"].startswith("jobengine-handler")
    assert found.output["input"] == {"a": 1}


class Object:
    """A handler with settings of its own."""

    async def __call__(self, job: Job) -> str:
        return await self.method(job)

    async def method(self, job: Job) -> str:
        return job.job_type


async def with_setting(setting: str, job: Job) -> str:
    return setting + job.job_type


@pytest.mark.parametrize(
    "handler, output",
    [
        (Object(), "work"),
        (Object().method, "work"),
        (functools.partial(with_setting, "my "), "my work"),
        (lambda job: job.job_type, "work"),
    ],
    ids=["an object", "a method", "a partial", "a lambda"],
)
@in_loop
async def test_any_callable_may_be_a_handler(
    db: Db, database_url: str, handler: Any, output: str
) -> None:
    assert (await outcome(database_url, handler)).output == output


@in_loop
async def test_the_decorator_leaves_the_function_as_it_is(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:

        def handler(_: Job) -> None: ...

        assert Worker(engine).handles("work")(handler) is handler


@in_loop
async def test_the_handler_sees_the_whole_job(db: Db, database_url: str) -> None:
    seen: list[Job] = []

    async def handler(job: Job) -> None:
        seen.append(job)

    found = await outcome(database_url, handler, input=[1], meta={"a": 1}, priority=3, lease=77)
    (job,) = seen
    assert (job.id, job.queue, job.job_type, job.priority) == (found.id, "default", "work", 3)
    assert (job.input, job.meta, job.attempt, job.max_attempts) == ([1], {"a": 1}, 1, 3)
    assert (job.lease_epoch, job.lease_seconds, job.delivery) == (1, 77, "at_least_once")
    assert job.started_at is not None
    assert (job.lease_expires_at - job.started_at).total_seconds() == 77


async def raising(job: Job) -> None:
    raise Trouble(f"attempt {job.attempt}")


def raising_in_a_thread(job: Job) -> None:
    raise Trouble(f"attempt {job.attempt}")


@pytest.mark.parametrize("handler", [raising, raising_in_a_thread])
@in_loop
async def test_a_handler_that_raises_is_retried_then_the_job_fails_with_the_traceback(
    db: Db, database_url: str, handler: Any
) -> None:
    found = await outcome(database_url, handler)
    assert (found.status, found.attempt, found.error_code) == ("failed", 3, "Trouble")
    assert found.error_message is not None
    assert found.error_message.startswith("Traceback")
    assert handler.__name__ in found.error_message
    assert found.error_message.endswith("Trouble: attempt 3\n")
    rows = failures(db)
    assert [row["attempt"] for row in rows] == [1, 2, 3]
    assert [row["error_message"].split()[-1] for row in rows] == ["1", "2", "3"]
    assert {row["reported_by"] for row in rows} == {"holder"}


@in_loop
async def test_a_thread_that_raises_stop_iteration_fails_its_job(db: Db, database_url: str) -> None:
    """No future takes this exception: whoever waited for the thread would wait for ever."""

    def exhausted(job: Job) -> None:
        next(iter(()))

    found = await outcome(database_url, exhausted)
    assert (found.status, found.error_code) == ("failed", "RuntimeError")
    assert "StopIteration" in (found.error_message or "")


@in_loop
async def test_a_failed_attempt_waits_for_its_backoff(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        await engine.register_job_type("slow", backoff=1000, backoff_max=100_000)
        worker = Worker(engine)
        worker.handles("slow")(raising)
        async with working(worker):
            job = await engine.enqueue("slow")
            await until(lambda: failures(db))
            found = await engine.get(job.id)
            assert found is not None
            assert (found.status, found.attempt) == ("pending", 1)
            wait = (
                "select extract(epoch from r.run_at - f.failed_at)::float8"
                " from jobengine.ready r join jobengine.failure f using (job_id)"
            )
            assert 800 <= scalar(db, wait) <= 1200


@in_loop
async def test_a_later_attempt_may_succeed(db: Db, database_url: str) -> None:
    async def handler(job: Job) -> int:
        if job.attempt < 3:
            raise Trouble
        return job.attempt

    found = await outcome(database_url, handler)
    assert (found.status, found.output) == ("completed", 3)
    assert [row["attempt"] for row in failures(db)] == [1, 2]


@in_loop
async def test_reject_fails_for_good(db: Db, database_url: str) -> None:
    async def handler(_: Job) -> Reject:
        return Reject("the picture is no picture", code="no_picture")

    found = await outcome(database_url, handler)
    assert (found.status, found.attempt) == ("failed", 1)
    assert (found.error_code, found.error_message) == ("no_picture", "the picture is no picture")


@in_loop
async def test_snooze_comes_again_without_spending_an_attempt(db: Db, database_url: str) -> None:
    epochs: list[tuple[int, int]] = []

    async def handler(job: Job) -> Snooze | None:
        epochs.append((job.attempt, job.lease_epoch))
        return Snooze(0.01) if len(epochs) < 5 else None

    found = await outcome(database_url, handler)
    assert (found.status, found.attempt) == ("completed", 1)
    assert epochs == [(1, epoch) for epoch in (1, 2, 3, 4, 5)]
    assert failures(db) == []


@in_loop
async def test_cancel_ends_the_job_cancelled(db: Db, database_url: str) -> None:
    async def handler(_: Job) -> Cancel:
        return Cancel("nobody needs it")

    found = await outcome(database_url, handler)
    assert (found.status, found.error_message) == ("cancelled", "nobody needs it")


@in_loop
async def test_a_job_without_a_handler_is_a_failed_attempt(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        async with working(Worker(engine)):
            job = await engine.enqueue("work", wake=True)
            found = await end(engine, job.id)
        assert (found.status, found.attempt, found.error_code) == ("failed", 3, "no_handler")
        assert found.error_message == "no handler for work"


@pytest.mark.parametrize(
    "output",
    [object(), {1: 2}, float("nan"), ["\0"], "\ud800", {1}],
    ids=["object", "keys", "nan", "nul", "surrogate", "set"],
)
@in_loop
async def test_an_output_that_is_no_json_fails_for_good(
    db: Db, database_url: str, output: Any
) -> None:
    async def handler(_: Job) -> Any:
        return output

    found = await outcome(database_url, handler)
    assert (found.status, found.attempt, found.error_code) == ("failed", 1, "invalid_output")
    assert found.error_message is not None
    assert "JSON" in found.error_message


@pytest.mark.parametrize("output", ["x" * 1024 * 1024, [1.5] * 200_000], ids=["text", "stored"])
@in_loop
async def test_an_output_that_is_too_large_fails_for_good(
    db: Db, database_url: str, output: Any
) -> None:
    async def handler(_: Job) -> Any:
        return output

    found = await outcome(database_url, handler)
    assert (found.status, found.error_code) == ("failed", "invalid_output")
    assert found.error_message is not None
    assert "1 MiB" in found.error_message


@in_loop
async def test_one_bad_output_does_not_harm_the_batch(db: Db, database_url: str) -> None:
    async def handler(job: Job) -> Any:
        return object() if job.input["bad"] else job.input

    async with site(database_url) as engine:
        job_ids = [(await engine.enqueue("work", {"bad": n % 3 == 0})).id for n in range(30)]
        worker = Worker(engine)
        worker.handles("work")(handler)
        async with working(worker):
            found = await ends(engine, job_ids)
        assert [job.status == "failed" for job in found] == [n % 3 == 0 for n in range(30)]


@pytest.mark.parametrize("seconds", [-1, float("nan"), "soon", 10**10], ids=str)
@in_loop
async def test_a_snooze_that_is_none_fails_for_good(
    db: Db, database_url: str, seconds: Any
) -> None:
    async def handler(_: Job) -> Snooze:
        return Snooze(seconds)

    found = await outcome(database_url, handler)
    assert (found.status, found.error_code) == ("failed", "invalid_delay")


@in_loop
async def test_messages_are_stored_whatever_they_hold(db: Db, database_url: str) -> None:
    async def handler(_: Job) -> Reject:
        return Reject("a\0b\ud800" + "x" * 20_000 + "the end")

    found = await outcome(database_url, handler)
    assert found.status == "failed"
    assert found.error_message is not None
    assert len(found.error_message) == 10_000
    assert found.error_message.endswith("xthe end")


@in_loop
async def test_a_traceback_with_nul_is_stored(db: Db, database_url: str) -> None:
    async def handler(_: Job) -> None:
        raise Trouble("a\0b\ud800c")

    found = await outcome(database_url, handler)
    assert found.error_message is not None
    assert found.error_message.endswith("Trouble: a\\0b?c\n")


@in_loop
async def test_an_exception_that_is_returned_fails_the_attempt(db: Db, database_url: str) -> None:
    async def handler(_: Job) -> Exception:
        return Trouble("not raised")

    found = await outcome(database_url, handler)
    assert (found.status, found.attempt, found.error_code) == ("failed", 3, "Trouble")
    assert found.error_message == f"{Trouble.__module__}.Trouble: not raised\n"


def leaving(_: Job) -> None:
    sys.exit("a library that means well")


async def leaving_in_the_loop(_: Job) -> None:
    sys.exit(3)


@pytest.mark.parametrize("handler", [leaving, leaving_in_the_loop])
@in_loop
async def test_a_handler_that_exits_fails_its_job_and_not_the_worker(
    db: Db, database_url: str, handler: Any
) -> None:
    found = await outcome(database_url, handler)
    assert (found.status, found.attempt, found.error_code) == ("failed", 3, "SystemExit")


class Unusual(BaseException):
    """What some libraries raise so that `except Exception` does not stop it."""


async def unusual(_: Job) -> None:
    raise Unusual


def unusual_in_a_thread(_: Job) -> None:
    raise Unusual


@pytest.mark.parametrize("handler", [unusual, unusual_in_a_thread])
@in_loop
async def test_whatever_a_handler_raises_fails_its_job_and_not_the_worker(
    db: Db, database_url: str, handler: Any
) -> None:
    found = await outcome(database_url, handler)
    assert (found.status, found.attempt, found.error_code) == ("failed", 3, "Unusual")


async def cancelled_from_inside(_: Job) -> None:
    """What awaiting a task that somebody else cancelled does."""
    task = asyncio.create_task(asyncio.sleep(3600))
    task.cancel()
    await task


@in_loop
async def test_a_handler_that_meets_a_cancelled_task_fails_its_job_and_keeps_its_slot(
    db: Db, database_url: str
) -> None:
    async with site(database_url) as engine:
        worker = Worker(engine, concurrency=1)
        worker.handles("work")(cancelled_from_inside)
        worker.handles("careful")(Object())
        async with working(worker):
            job = await engine.enqueue("work", wake=True)
            found = await end(engine, job.id)
            assert (found.status, found.attempt) == ("failed", 3)
            assert found.error_code == "CancelledError"
            after = await engine.enqueue("careful", wake=True)
            assert (await end(engine, after.id)).status == "completed"
