"""Sweep and prune from time to time: by itself, and inside a worker."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest

from jobengine import Housekeeping, InvalidArgument, JobEngine, Report, Worker
from jobengine._cancelling import cancelled
from jobengine.testing import Clock
from tests.acceptance.world import (
    Db,
    as_owner,
    counts,
    enqueue,
    in_loop,
    scalar,
    site,
    until,
    working,
)

DAY = 86400.0


async def ended(engine: JobEngine, count: int, **report: Any) -> list[UUID]:
    """Put so many jobs in and end them."""
    job_type = "careful" if report.get("outcome") == "unknown" else "work"
    job_ids = await enqueue(engine, count, job_type=job_type)
    held = await engine.claim(["default"], agent_id="me", limit=count)
    await engine.finish(
        Report(**{"job_id": job.id, "lease_epoch": 1, "outcome": "completed", **report})
        for job in held
    )
    return job_ids


@asynccontextmanager
async def running(housekeeping: Housekeeping) -> AsyncIterator[None]:
    task = asyncio.create_task(housekeeping.run())
    try:
        yield
    finally:
        await cancelled(task)


@in_loop
async def test_a_worker_prunes_what_ended_longer_ago_than_is_kept(
    db: Db, clock: Clock, database_url: str
) -> None:
    async with site(database_url) as engine:
        await ended(engine, 5)
        clock.advance(29 * DAY)
        kept = await ended(engine, 2)
        clock.advance(2 * DAY)
        async with working(Worker(engine, prune_every=0.02)):
            await until(lambda: counts(db)["job"] == 2)
        assert {job.id for job in await engine.list()} == set(kept)


@in_loop
async def test_what_is_to_be_kept_for_ever_is_kept(db: Db, clock: Clock, database_url: str) -> None:
    async with site(database_url) as engine:
        await ended(engine, 5)
        clock.advance(10_000 * DAY)
        housekeeping = Housekeeping(engine, keep=None, prune_every=0.001)
        await housekeeping.prune()
        assert counts(db)["job"] == 5
        await Housekeeping(engine).prune()
        assert counts(db)["job"] == 0


@in_loop
async def test_a_prune_walks_past_what_it_may_not_remove(
    db: Db, clock: Clock, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bounded batches, the first two of which find nothing that may be removed."""
    monkeypatch.setattr("jobengine.housekeeping._BATCH", 3)
    async with site(database_url) as engine:
        unknown = await ended(engine, 7, outcome="unknown")
        await ended(engine, 10)
        clock.advance(1000)
        kept = await ended(engine, 3)
        await Housekeeping(engine, keep=500).prune()
        assert {job.id for job in await engine.list()} == {*unknown, *kept}


@in_loop
async def test_a_sweep_goes_on_until_nothing_is_left(
    db: Db, clock: Clock, database_url: str
) -> None:
    count = 1500  # one call takes 1000
    async with site(database_url) as engine:
        await enqueue(engine, count, lease=1)
        await engine.claim(["default"], agent_id="me", limit=1000)
        await engine.claim(["default"], agent_id="me", limit=count)
        clock.advance(10)
        await Housekeeping(engine).sweep()
        assert counts(db) == {"job": count, "ready": count, "lease": 0, "ended": 0}


@in_loop
async def test_housekeeping_alone_does_both(db: Db, clock: Clock, database_url: str) -> None:
    async with site(database_url) as engine:
        await ended(engine, 5)
        await enqueue(engine, 1, lease=1)
        await engine.claim(["default"], agent_id="me")
        clock.advance(100)
        async with running(Housekeeping(engine, sweep_every=0.02, keep=50, prune_every=0.02)):
            await until(lambda: counts(db) == {"job": 1, "ready": 1, "lease": 0, "ended": 0})


@in_loop
async def test_housekeeping_outlives_calls_that_fail(
    db: Db, clock: Clock, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Both functions are away for a while: two things as bad as an outage."""
    functions = ("sweep(integer)", "prune(double precision, uuid, integer)")
    async with site(database_url) as engine:
        await ended(engine, 5)
        await enqueue(engine, 1, lease=1)
        await engine.claim(["default"], agent_id="me")
        clock.advance(100)
        for signature in functions:
            as_owner(db, f"alter function jobengine.{signature} rename to gone")
        try:
            async with running(Housekeeping(engine, sweep_every=0.02, keep=50, prune_every=0.02)):
                await until(lambda: {r.__dict__.get("call") for r in caplog.records} >= CALLS)
                assert counts(db) == {"job": 6, "ready": 0, "lease": 1, "ended": 5}
                for signature in functions:
                    arguments = signature.partition("(")[2]
                    name = signature.partition("(")[0]
                    as_owner(db, f"alter function jobengine.gone({arguments} rename to {name}")
                await until(lambda: counts(db) == {"job": 1, "ready": 1, "lease": 0, "ended": 0})
        finally:
            assert scalar(db, "select to_regproc('jobengine.gone')") is None


CALLS = {"sweep", "prune"}


@pytest.mark.parametrize(
    "field, value",
    [
        *(("sweep_every", value) for value in (0, -1, math.nan)),
        *(("prune_every", value) for value in (0, -1, math.nan)),
        *(("keep", value) for value in (-1, math.nan, math.inf)),
    ],
)
@in_loop
async def test_times_that_make_no_sense_are_refused(
    db: Db, database_url: str, field: str, value: float
) -> None:
    options: Any = {field: value}
    async with site(database_url) as engine:
        with pytest.raises(InvalidArgument) as caught:
            Worker(engine, **options)
        assert caught.value.field == field
