"""A worker process of the demo: `python -m jobengine.demo.worker TENANT AGENT`."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from dataclasses import asdict
from typing import Any
from uuid import UUID

from jobengine import STOP_SIGNALS, Job, JobEngine, Reject, Worker
from jobengine.demo.files import hash_file


def hash_one(job: Job) -> dict[str, Any] | Reject:
    """Hash a file; one that cannot be read fails for good."""
    time.sleep(job.input.get("linger", 0))
    try:
        return asdict(hash_file(job.input["path"]))
    except OSError as error:
        return Reject(str(error), code="unreadable")


async def _parent_is_gone() -> None:
    """Return when the parent's end of the pipe is closed, however it ended."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()


async def main(tenant: str, agent: str) -> None:
    """Work until the parent says stop, or is gone."""
    async with JobEngine(os.environ["DATABASE_URL"], max_size=4) as engine:
        worker = Worker(
            engine,
            queues=["demo"],
            tenant_id=UUID(tenant),
            agent_id=agent,
            concurrency=16,
            sweep_every=0.5,
            drain_timeout=5,
        )
        worker.handles("hash_file")(hash_one)
        watch = asyncio.create_task(_parent_is_gone())
        watch.add_done_callback(lambda _: worker.stop())
        await worker.run(signals=STOP_SIGNALS)
        watch.cancel()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
