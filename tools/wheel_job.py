"""Run doctor and one job with the installed library, on an empty server: `wheel_job.py FOLDER`.

Started by wheel_check.py with the Python of an environment that holds the wheel.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jobengine
from jobengine import Job, JobEngine, Worker
from jobengine.embedded import EmbeddedPostgres


def main(folder: Path) -> None:
    prefix = Path(sys.prefix)
    assert Path(jobengine.__file__).is_relative_to(prefix), jobengine.__file__
    with EmbeddedPostgres(folder) as server:
        environment = {**os.environ, "DATABASE_URL": server.url}
        for command in ("install", "doctor"):
            subprocess.run([prefix / "bin" / "jobengine", command], env=environment, check=True)
        asyncio.run(double_two(server.url))
    print("the installed wheel ran a job")


async def double_two(url: str) -> None:
    """Enqueue a job, let a worker do it, and wait for its result."""
    async with JobEngine(url) as engine:
        await engine.register_job_type("double")
        job = await engine.enqueue("double", {"n": 2})
        worker = Worker(engine, queues=["default"])

        @worker.handles("double")
        async def double(job: Job) -> dict[str, Any]:
            return {"n": job.input["n"] * 2}

        running = asyncio.create_task(worker.run())
        result = await engine.wait(job.id, timeout=20)
        worker.stop()
        await running
        assert (result.status, result.output) == ("completed", {"n": 4}), result


if __name__ == "__main__":
    main(Path(sys.argv[1]))
