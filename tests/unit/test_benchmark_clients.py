"""The clients of the benchmarks count what came, and only that."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import orjson
import pytest

from api.stream.messages import frame
from benchmarks.longpoll_agents import Agent, Heard
from benchmarks.stream_clients import Client


@pytest.mark.parametrize("size", [1, 3, 7, 100, 10_000])
def test_a_tick_counts_when_its_last_byte_has_come(size: int) -> None:
    ticks: list[dict[str, Any]] = [
        {"type": "tick", "pad": "x" * pad, "data": {"bid": 10 + pad}} for pad in (0, 90, 200)
    ]
    stream = b"".join(frame(message) for message in [{"type": "subscribed"}, *ticks])
    client = Client.__new__(Client)
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    client.came = [(float(number), piece) for number, piece in enumerate(pieces)]
    ends, position = [], len(frame({"type": "subscribed"}))
    for tick in ticks:
        position += len(frame(tick))
        ends.append((position - 1) // size)
    assert client.ticks() == [
        (number, float(end)) for number, end in zip((10, 100, 210), ends, strict=True)
    ]


def test_an_agent_asks_again_and_tells_answers_apart() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n"
    job = {"job_id": "0190b6a0-0000-7000-8000-000000000001", "input": {}}

    async def run() -> tuple[Heard, int]:
        ours, theirs = socket.socketpair()
        heard = Heard()
        transport, agent = await asyncio.get_running_loop().create_connection(
            lambda: Agent(b"?", heard), sock=ours
        )
        for data in (head, b'{"no_jobs":true}', head + orjson.dumps(job), head + b'{"code":"no"}'):
            agent.data_received(data)
        transport.abort()
        await asyncio.sleep(0)
        with theirs:
            return heard, len(theirs.recv(100))

    heard, asked = asyncio.run(run())
    assert asked == 4  # once at the beginning, and after each whole answer
    assert heard.empty == 1
    assert [job_id for job_id, _ in heard.jobs] == [job["job_id"]]
    assert b'{"code":"no"}'.decode() in heard.others[0]
