"""The service's log: lines of one turn of the event loop leave together, and none is kept back."""

from __future__ import annotations

import asyncio
import io
import logging

import pytest

from api.lines import Lines


class Stream(io.StringIO):
    """Keeps each write apart."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []

    def write(self, text: str) -> int:
        self.writes.append(text)
        return len(text)


@pytest.fixture
def stream() -> Stream:
    return Stream()


@pytest.fixture
def log(stream: Stream) -> logging.Logger:
    """Return a logger of nobody else's."""
    logger = logging.Logger("api.access")  # noqa: LOG001 - or its handler would stay for others
    logger.addHandler(Lines(stream))
    return logger


def test_lines_of_a_turn_leave_together(log: logging.Logger, stream: Stream) -> None:
    async def work() -> None:
        for _ in range(2):
            log.info("one")
            log.info("two %d", 2)
            assert not stream.writes[1:]
            await asyncio.sleep(0)

    asyncio.run(work())
    assert stream.writes == ["one\ntwo 2\n"] * 2


def test_a_warning_leaves_at_once_behind_what_came_before(
    log: logging.Logger, stream: Stream
) -> None:
    async def work() -> None:
        log.info("one")
        log.warning("two")
        assert stream.writes == ["one\ntwo\n"]
        log.info("three")

    asyncio.run(work())
    assert stream.writes[1:] == ["three\n"]


def test_without_a_loop_a_line_leaves_at_once(log: logging.Logger, stream: Stream) -> None:
    log.info("one")
    log.info("two")
    assert stream.writes == ["one\n", "two\n"]


def test_what_a_loop_left_unwritten_is_written_at_the_end(
    log: logging.Logger, stream: Stream
) -> None:
    loop = asyncio.new_event_loop()
    loop.call_soon(loop.stop)
    loop.call_soon(log.info, "last")
    loop.run_forever()
    loop.close()
    assert not stream.writes
    log.handlers[0].flush()  # as logging.shutdown does
    assert stream.writes == ["last\n"]


def test_a_line_that_cannot_be_formatted_stops_nobody(
    log: logging.Logger, stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    log.info("%d", "no number")
    log.info("one")
    assert stream.writes == ["one\n"]
