"""The library's own `Worker`, with handlers that are quick, slow or wrong."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from jobengine import Cancel, Job, Reject, Worker
from tests.chaos.notebook import NotedEngine

FATES = {"done": 88, "raise": 6, "reject": 3, "cancel": 3}  # in a hundred


async def work(engine: NotedEngine, chance: random.Random, stop: asyncio.Event) -> None:
    """Run jobs until told to stop, then drain."""
    name = engine.notebook.name
    worker = Worker(
        engine, agent_id=name, concurrency=8, sweep_every=0.3, poll=0.5, drain_timeout=5.0
    )

    async def handle(job: Job) -> Any:
        token = f"{name}/{job.job_id}/{job.lease_epoch}"
        await asyncio.sleep(duration(chance, job.lease_seconds))
        fate = chance.choices(list(FATES), list(FATES.values()))[0]
        if fate == "raise" and job.delivery == "at_least_once":
            raise RuntimeError(token)
        if fate == "cancel":
            return Cancel(token)
        return {"by": token} if fate == "done" else Reject(token)

    for job_type in ("again", "once", "child"):
        worker.handles(job_type)(handle)
    running = asyncio.create_task(worker.run())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    worker.stop()
    await running


def duration(chance: random.Random, lease: float) -> float:
    """Return how long a job takes: most are quick, some take most of their lease or more."""
    if chance.random() < 0.02:
        return chance.uniform(0.5, 1.5) * lease
    return chance.uniform(0.0, 0.05)
