"""Agents that only ask for jobs, as cheap as can be: `python -m benchmarks.longpoll_agents WAIT`.

Stdin says where (a line) and who (a line of ids and keys, as JSON); they connect, print `ready`,
ask again whenever they are answered, and print what came when stdin ends.
"""

from __future__ import annotations

import asyncio
import json
import re
import resource
import sys
import time
from urllib.parse import urlsplit

AT_ONCE = 100  # connections that are being made
_JOB_ID = re.compile(rb'"job_id":"([0-9a-f-]{36})"')
_ASK = (
    "GET /api/v1/agents/{agent_id}/jobs/next?wait={wait:g} HTTP/1.1\r\nHost: {host}\r\n"
    "X-Agent-Key: {key}\r\n\r\n"
)


class Heard:
    """What all agents were answered."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.jobs: list[tuple[str, float]] = []
        self.empty = 0
        self.others: list[str] = []

    def note(self, answer: bytes) -> None:
        """Tell the answers apart; what is neither a job nor none is a failure."""
        if b'"no_jobs":true' in answer:
            self.empty += 1
        elif found := _JOB_ID.search(answer):
            self.jobs.append((found[1].decode(), time.monotonic()))
        else:
            self.others.append(answer.decode(errors="replace"))


class Agent(asyncio.Protocol):
    """One connection, one question at a time."""

    def __init__(self, ask: bytes, heard: Heard) -> None:
        self._ask = ask
        self._heard = heard
        self._came = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._ask)

    def data_received(self, data: bytes) -> None:
        """Take the answer: its body is one JSON object, and no header ends like one."""
        self._came += data
        if self._came.endswith(b"}"):
            self._heard.note(self._came)
            self._came = b""
            assert self._transport
            self._transport.write(self._ask)

    def connection_lost(self, exc: Exception | None) -> None:
        self._heard.others.append(f"a connection ended: {exc!r}")


async def connect(address: str, wait: float, agents: list[tuple[str, str]], heard: Heard) -> None:
    """Connect all, a few at a time."""
    parts = urlsplit(address)
    host, port = str(parts.hostname), parts.port
    assert port
    limit = asyncio.Semaphore(AT_ONCE)
    loop = asyncio.get_running_loop()

    async def one(agent_id: str, key: str) -> None:
        ask = _ASK.format(agent_id=agent_id, wait=wait, host=parts.netloc, key=key).encode()
        async with limit:
            await loop.create_connection(lambda: Agent(ask, heard), host, port)

    await asyncio.gather(*(one(*agent) for agent in agents))


async def main(wait: float) -> None:
    """Ask until stdin ends."""
    address = sys.stdin.readline().strip()
    agents = json.loads(sys.stdin.readline())
    allow_files(len(agents))
    heard = Heard()
    await connect(address, wait, agents, heard)
    print("ready", flush=True)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, ended.set)
    await ended.wait()
    print(json.dumps({"jobs": heard.jobs, "empty": heard.empty, "others": heard.others[:10]}))


def allow_files(connections: int) -> None:
    """Raise the limit of open files as far as it is needed and allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, connections + 100)), hard))


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1])))
