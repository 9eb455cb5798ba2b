"""A cancellation that somebody lost is raised after all."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from jobengine._cancelling import cancelled, heeded
from tests.acceptance.world import in_loop, within


async def lose_one() -> None:
    """Swallow a cancellation, as `wait_for` does before Python 3.12 when both come together."""
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()


async def loser(*, heeding: bool) -> str:
    with heeded() if heeding else contextlib.nullcontext():
        await lose_one()
    return "went on"


@pytest.mark.parametrize("heeding", [True, False])
@in_loop
async def test_a_lost_cancellation_is_heeded(*, heeding: bool) -> None:
    task = asyncio.create_task(loser(heeding=heeding))
    await asyncio.sleep(0)
    task.cancel()
    await within(asyncio.wait([task]))
    assert task.cancelled() == heeding


@in_loop
async def test_a_timeout_works_although_its_cancellation_is_lost() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await loser(heeding=True)


@in_loop
async def test_a_cancellation_of_before_is_not_raised_again() -> None:
    async def late() -> str:
        await lose_one()
        return await went_on()

    async def went_on() -> str:
        with heeded():
            await asyncio.sleep(0)
        return "went on"

    task = asyncio.create_task(late())
    await asyncio.sleep(0)
    task.cancel()
    assert await within(task) == "went on"


@in_loop
async def test_a_task_is_cancelled_until_it_ends() -> None:
    async def stubborn() -> None:
        await lose_one()
        await lose_one()
        await asyncio.Event().wait()

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    try:
        await within(cancelled(task))
    finally:
        for _ in range(3):  # where it is not, the loop could not be closed
            task.cancel()
            await asyncio.sleep(0)
    assert task.cancelled()


@in_loop
async def test_a_task_that_never_ends_is_left_in_time() -> None:
    left = asyncio.Event()

    async def deaf() -> None:
        while not left.is_set():
            await lose_one()

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    await within(cancelled(task, within=0.05))
    assert not task.done()
    left.set()
    await within(cancelled(task))
