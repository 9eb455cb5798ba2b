"""Sweeps, and as an operator cancels some jobs and puts some back that had ended."""

from __future__ import annotations

import asyncio
import random

from jobengine.errors import EngineUnavailable, TryAgain
from jobengine.records import Status
from tests.chaos.notebook import NotedEngine

LIVE: tuple[Status, ...] = ("pending", "claimed", "running")
ENDED: tuple[Status, ...] = ("failed", "cancelled", "expired")


async def work(engine: NotedEngine, chance: random.Random, stop: asyncio.Event) -> None:
    """Look after the jobs until told to stop; what is not answered is not asked again."""
    while not stop.is_set():
        try:
            await engine.sweep()
            await cancel_one(engine, chance)
            await retry_one(engine, chance)
        except (EngineUnavailable, TryAgain):
            pass
        await asyncio.sleep(chance.uniform(0.05, 0.2))


async def cancel_one(engine: NotedEngine, chance: random.Random) -> None:
    jobs = await engine.list(status=chance.choice(LIVE), limit=20)
    if jobs:
        await engine.cancel_one(chance.choice(jobs).job_id)


async def retry_one(engine: NotedEngine, chance: random.Random) -> None:
    jobs = await engine.list(status=chance.choice(ENDED), limit=20)
    if jobs:
        await engine.retry_one(chance.choice(jobs).job_id)
