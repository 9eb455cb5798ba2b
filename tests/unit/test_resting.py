"""Where a worker waits for jobs: its place in `waiting`, and the bell that ends the wait."""

from __future__ import annotations

import asyncio
import math
from uuid import UUID

import pytest

from jobengine import JobEngine, Worker, _resting
from jobengine._resting import Bell, Rest
from jobengine.claimer import Claimer
from tests.acceptance.handlers import Gate
from tests.acceptance.world import Db, asleep, end, enqueue, in_loop, site, until, within, working

NEVER = 3600.0
BUSY, IDLE = -1.0, math.inf  # seconds awake after which a worker has much to do


def places(db: Db) -> list[UUID]:
    return [row["listener_id"] for row in db.execute("select listener_id from jobengine.waiting")]


def rest_of(engine: JobEngine, poll: float = NEVER) -> Rest:
    claimer = Claimer(engine.connection, queues=["default"], agent_id="a")
    return Rest(claimer, poll=poll, meter=None)


async def stand(rest: Rest, db: Db) -> None:
    """Wait, as after claims that brought nothing, until it stands in `waiting`."""
    while not places(db):
        await rest.wait()


@in_loop
async def test_a_bell_wakes_who_waits_and_who_waits_next() -> None:
    bell = Bell()
    waits = asyncio.create_task(bell.heard(NEVER))
    await until(lambda: bell.awaited)
    bell.ring()
    await within(waits)
    await within(bell.heard(NEVER))
    assert not bell.awaited


@in_loop
async def test_a_bell_that_was_hushed_has_not_rung() -> None:
    bell = Bell()
    bell.ring()
    bell.hush()
    waits = asyncio.create_task(bell.heard(NEVER))
    await until(lambda: bell.awaited)
    waits.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waits
    assert not bell.awaited


@in_loop
async def test_a_bell_that_does_not_ring_ends_the_wait_in_time() -> None:
    await within(Bell().heard(0.001))


@in_loop
async def test_a_worker_with_little_to_do_keeps_its_place(
    db: Db, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_resting, "_BUSY_AFTER", IDLE)
    async with site(database_url) as engine:
        worker, gate = _worker(engine, concurrency=2)
        async with working(worker):
            await until(lambda: asleep(db, worker))
            place = places(db)
            (job_id,) = await enqueue(engine)
            await until(lambda: gate.begun)
            assert places(db) == place
            gate.open()
            assert (await end(engine, job_id)).status == "completed"
            await until(lambda: asleep(db, worker))
            assert places(db) == place
        assert places(db) == []


@in_loop
async def test_a_worker_without_a_free_slot_leaves_its_place(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        worker, gate = _worker(engine, concurrency=1)
        async with working(worker):
            await until(lambda: asleep(db, worker))
            await enqueue(engine)
            await until(lambda: gate.begun)
            await until(lambda: not places(db))
            gate.open()
            await until(lambda: asleep(db, worker))


@in_loop
async def test_a_slot_that_is_freed_while_the_worker_leaves_its_place_is_filled(
    db: Db, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site(database_url) as engine:
        worker, gate = _worker(engine, concurrency=1)
        leave = worker._rest.leave

        async def leave_slowly() -> None:
            gate.open()
            await until(lambda: worker._turns.free)
            await leave()

        monkeypatch.setattr(worker._rest, "leave", leave_slowly)
        async with working(worker):
            for job_id in await enqueue(engine, 3):
                assert (await end(engine, job_id)).status == "completed"


def _worker(engine: JobEngine, *, concurrency: int) -> tuple[Worker, Gate]:
    worker, gate = Worker(engine, concurrency=concurrency, poll=NEVER, sweep_every=NEVER), Gate()
    worker.handles("work")(gate)
    return worker, gate


@in_loop
async def test_who_has_much_to_do_leaves_his_place(
    db: Db, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site(database_url) as engine:
        rest = rest_of(engine)
        await stand(rest, db)
        monkeypatch.setattr(_resting, "_BUSY_AFTER", IDLE)
        await rest.claimed()
        assert len(places(db)) == 1
        monkeypatch.setattr(_resting, "_BUSY_AFTER", BUSY)
        await rest.claimed()
        assert places(db) == []


@in_loop
async def test_who_is_woken_for_nothing_again_and_again_leaves_his_place(
    db: Db, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site(database_url) as engine:
        rest = rest_of(engine)
        await stand(rest, db)
        rest.ring()
        monkeypatch.setattr(_resting, "_BUSY_AFTER", BUSY)
        await within(rest.wait())
        assert places(db) == []


@in_loop
async def test_a_place_that_has_ended_is_taken_anew(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        rest = rest_of(engine)
        await stand(rest, db)
        old = places(db)
        rest._place_ends = 0.0
        await rest.wait()
        assert len(places(db)) == 1
        assert places(db) != old


@in_loop
async def test_who_does_not_know_whether_his_place_is_there_takes_another(
    db: Db, database_url: str
) -> None:
    """A server that crashed has forgotten who stood in `waiting`."""
    async with site(database_url) as engine:
        rest = rest_of(engine)
        await stand(rest, db)
        old = places(db)
        rest.lost()
        await within(rest.wait())
        assert set(places(db)) > set(old)
