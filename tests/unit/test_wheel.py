"""Timers by the tenth of a second."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from api.wheel import Wheel


def test_what_is_later_comes_later_and_nothing_before_its_time() -> None:
    async def run() -> list[tuple[str, bool]]:
        loop, wheel, ended = asyncio.get_running_loop(), Wheel(), asyncio.Event()
        began = loop.time()
        came: list[tuple[str, bool]] = []

        def note(name: str, seconds: float) -> None:
            came.append((name, loop.time() >= began + seconds))

        for name, seconds in (("late", 0.35), ("soon", 0.05), ("at once", 0.0)):
            wheel.later(seconds, partial(note, name, seconds))
        wheel.later(0.5, ended.set)
        await ended.wait()
        return came

    came = asyncio.run(run())
    assert [name for name, _ in came][-1] == "late"
    assert sorted(came) == [("at once", True), ("late", True), ("soon", True)]


def test_what_is_cancelled_never_comes_and_the_wheel_turns_again() -> None:
    async def run() -> list[str]:
        wheel = Wheel()
        came: list[str] = []
        for round_ in ("first", "second"):  # in between nothing is due, and the wheel stands
            ended = asyncio.Event()
            wheel.later(0.0, lambda: came.append("never")).cancel()
            wheel.later(0.05, ended.set)
            await ended.wait()
            came.append(round_)
            await asyncio.sleep(0)
        return came

    assert asyncio.run(run()) == ["first", "second"]


def test_one_that_fails_is_reported_and_ends_no_other() -> None:
    async def run() -> list[Any]:
        loop, wheel, ended = asyncio.get_running_loop(), Wheel(), asyncio.Event()
        reported: list[Any] = []
        loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
        wheel.later(0.0, [].pop)
        wheel.later(0.0, ended.set)
        await ended.wait()
        return reported

    assert [type(error) for error in asyncio.run(run())] == [IndexError]
