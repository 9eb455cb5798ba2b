"""One actor of a chaos run, a process of its own: `python -m tests.chaos.actor ROLE URL NAME …`.

An actor knows nothing of the faults: it does its work and, when the server is away, comes back.
SIGTERM lets it finish what it holds.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from jobengine.errors import EngineError
from tests.chaos import agent, producer, steward, worker
from tests.chaos.notebook import Notebook, NotedEngine, note_claims

Role = Callable[[NotedEngine, random.Random, asyncio.Event], Awaitable[None]]
ROLES: dict[str, Role] = {
    "worker": worker.work,
    "agent": agent.work,
    "producer": producer.work,
    "steward": steward.work,
}


async def main(role: str, url: str, name: str, folder: str, seed: str) -> None:
    """Play the role until SIGTERM, or until the runner is gone."""
    play = ROLES[role]
    threading.Thread(target=end_with_the_runner, daemon=True).start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    notebook = Notebook(Path(folder), name)
    note_claims(notebook)
    chance = random.Random(f"{seed}/{name}")  # noqa: S311 - repeatable, not secret
    async with opened(url, notebook) as engine:
        await play(engine, chance, stop)


def end_with_the_runner() -> None:
    """The runner holds the other end of the standard input."""
    sys.stdin.read()
    os._exit(1)


@asynccontextmanager
async def opened(url: str, notebook: Notebook) -> AsyncIterator[NotedEngine]:
    """Yield an open engine, however long the server is away."""
    while True:
        engine = NotedEngine(url, notebook)
        try:
            await engine.__aenter__()
        except EngineError:
            continue  # it has waited for 10 s
        break
    try:
        yield engine
    finally:
        await engine.__aexit__()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
