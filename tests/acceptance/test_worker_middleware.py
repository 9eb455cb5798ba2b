"""Middleware: code around handlers that sees jobs and results, and may change them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any
from uuid import UUID

import pytest

from jobengine import CallNext, Job, JobInfo, Middleware, Reject, Worker
from jobengine.testing import Clock
from tests.acceptance.handlers import Gate
from tests.acceptance.world import Db, end, ends, enqueue, in_loop, site, until, working

TRACE: ContextVar[str] = ContextVar("TRACE", default="nothing")


class Trouble(Exception):
    """What a handler raises here."""


class Layer:
    """Notes what it sees, in a list that layers share."""

    def __init__(self, name: str, seen: list[Any]) -> None:
        self.name = name
        self.seen = seen

    async def __call__(self, jobs: Sequence[Job], call: CallNext) -> Sequence[Any]:
        self.seen.append((self.name, [job.id for job in jobs]))
        values = await call()
        self.seen.append((self.name, list(values)))
        return values


async def outcome(url: str, middleware: list[Middleware], handler: Any) -> JobInfo:
    """Run one job with this handler and middleware to its end."""
    async with site(url) as engine:
        worker = Worker(engine, middleware=middleware)
        worker.handles("careful")(handler)
        async with working(worker):
            (job_id,) = await enqueue(engine, job_type="careful")
            return await end(engine, job_id)


@in_loop
async def test_the_first_is_the_outermost(db: Db, database_url: str) -> None:
    seen: list[Any] = []

    async def handler(job: Job) -> str:
        seen.append(job.id)
        return "done"

    found = await outcome(database_url, [Layer("outer", seen), Layer("inner", seen)], handler)
    assert (found.status, found.output) == ("completed", "done")
    assert seen == [
        ("outer", [found.id]),
        ("inner", [found.id]),
        found.id,
        ("inner", ["done"]),
        ("outer", ["done"]),
    ]


@in_loop
async def test_what_a_handler_raises_comes_as_a_value(db: Db, database_url: str) -> None:
    trouble, seen = Trouble("again"), list[Any]()

    async def handler(_: Job) -> None:
        raise trouble

    found = await outcome(database_url, [Layer("it", seen)], handler)
    assert seen[1] == ("it", [trouble])
    assert (found.status, found.error_code) == ("failed", "Trouble")
    assert found.error_message is not None
    assert found.error_message.startswith("Traceback")


async def in_a_coroutine(_: Job) -> str:
    return TRACE.get()


def in_a_thread(_: Job) -> str:
    return TRACE.get()


async def tracing(jobs: Sequence[Job], call: CallNext) -> Sequence[Any]:
    token = TRACE.set(f"trace of {jobs[0].job_type}")
    try:
        return await call()
    finally:
        TRACE.reset(token)


@pytest.mark.parametrize("handler", [in_a_coroutine, in_a_thread])
@in_loop
async def test_context_variables_reach_the_handler(db: Db, database_url: str, handler: Any) -> None:
    found = await outcome(database_url, [tracing], handler)
    assert found.output == "trace of careful"


async def rejecting(jobs: Sequence[Job], call: CallNext) -> Sequence[Any]:
    return [Reject("not today") if value is None else value for value in await call()]


async def without_calling(jobs: Sequence[Job], call: CallNext) -> Sequence[Any]:
    return [Reject("not today")] * len(jobs)


async def returning_none(_: Job) -> None: ...


@pytest.mark.parametrize("layer", [rejecting, without_calling])
@in_loop
async def test_results_may_be_replaced(db: Db, database_url: str, layer: Middleware) -> None:
    found = await outcome(database_url, [layer], returning_none)
    assert (found.status, found.error_message) == ("failed", "not today")


async def raising(jobs: Sequence[Job], call: CallNext) -> Sequence[Any]:
    await call()
    raise Trouble("in the middle")


async def forgetful(jobs: Sequence[Job], call: CallNext) -> Any:
    await call()


async def generous(jobs: Sequence[Job], call: CallNext) -> Sequence[Any]:
    return [*await call(), "one more"]


@pytest.mark.parametrize(
    "layer, code", [(raising, "Trouble"), (forgetful, "InvalidAnswer"), (generous, "InvalidAnswer")]
)
@in_loop
async def test_middleware_that_raises_or_does_not_answer_fails_the_attempt(
    db: Db, database_url: str, layer: Middleware, code: str
) -> None:
    seen: list[Any] = []
    found = await outcome(database_url, [Layer("outer", seen), layer], returning_none)
    assert (found.status, found.error_code) == ("failed", code)
    # For those around it, it is a value.
    assert [type(value).__name__ for value in seen[1][1]] == [code]


@in_loop
async def test_a_cancellation_passes_through(db: Db, clock: Clock, database_url: str) -> None:
    passed: list[str] = []

    async def watching(jobs: Sequence[Job], call: CallNext) -> Sequence[Any]:
        try:
            return await call()
        except asyncio.CancelledError:
            passed.append(jobs[0].job_type)
            raise

    async with site(database_url) as engine:
        gate = Gate()
        worker = Worker(engine, middleware=[watching, watching], concurrency=1)
        worker.handles("work")(gate)
        async with working(worker):
            (job_id,) = await enqueue(engine, lease=0.3)
            await until(lambda: gate.begun)
            await engine.cancel([job_id])
            assert (await end(engine, job_id)).status == "cancelled"
            gate.open()
            (after,) = await enqueue(engine)
            assert (await end(engine, after)).status == "completed"
    assert passed == ["work", "work"]


@in_loop
async def test_a_batch_is_seen_as_one_call(db: Db, database_url: str) -> None:
    seen: list[Any] = []

    def handler(jobs: list[Job]) -> list[Any]:
        return [TRACE.get(), Trouble("one of us"), None]

    async with site(database_url) as engine:
        worker = Worker(engine, middleware=[tracing, Layer("it", seen)])
        worker.handles_batch("careful", size=10)(handler)
        job_ids = await enqueue(engine, 3, job_type="careful")
        async with working(worker):
            found = await ends(engine, job_ids)
    assert [job.status for job in found] == ["completed", "failed", "completed"]
    assert found[0].output == "trace of careful"
    (began, ended) = seen
    assert began == ("it", job_ids)
    assert [type(value) for value in ended[1]] == [str, Trouble, type(None)]


@in_loop
async def test_a_batch_handlers_wrong_answer_is_a_value_per_job(db: Db, database_url: str) -> None:
    seen: list[Any] = []

    async def handler(jobs: list[Job]) -> list[Any]:
        return [1]

    async def silent(jobs: list[Job]) -> None: ...

    async with site(database_url) as engine:
        worker = Worker(engine, middleware=[Layer("it", seen)])
        worker.handles_batch("careful", size=10)(handler)
        worker.handles_batch("work", size=10)(silent)
        wrong = await enqueue(engine, 2, job_type="careful")
        right = await enqueue(engine, 2)
        async with working(worker):
            found = await ends(engine, wrong + right)
    assert [job.status for job in found] == ["failed", "failed", "completed", "completed"]
    values = [entry[1] for entry in seen if entry[1] and not isinstance(entry[1][0], UUID)]
    assert sorted([type(value).__name__ for value in group] for group in values) == [
        ["InvalidAnswer", "InvalidAnswer"],
        ["NoneType", "NoneType"],
    ]
