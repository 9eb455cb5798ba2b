"""jobengine, with a handler per job or, flavour `batch`, with one per batch."""

import gc
from collections.abc import Sequence

from contract import Side, Tally, main, payload

from jobengine import Job, JobEngine, NewJob, Worker

CONCURRENCY = 2000


class JobEngineSide(Side):
    packages = ("psycopg", "uvloop")

    async def install(self) -> None:
        async with JobEngine(self.url) as engine:
            await engine.install()
            await engine.register_job_type("noop")

    async def open(self) -> None:
        self.engine = await JobEngine(self.url).__aenter__()

    async def enqueue(self, number: int) -> None:
        await self.engine.enqueue("noop", payload(number))

    async def enqueue_many(self, numbers: Sequence[int]) -> None:
        await self.engine.enqueue_many(
            NewJob(job_type="noop", input=payload(number)) for number in numbers
        )

    async def work(self, tally: Tally) -> None:
        worker = Worker(self.engine, concurrency=CONCURRENCY)

        async def one(job: Job) -> dict[str, bool]:
            tally.saw(job.input["n"])
            return {"ok": True}

        async def batch(jobs: list[Job]) -> list[dict[str, bool]]:
            for job in jobs:
                tally.saw(job.input["n"])
            return [{"ok": True}] * len(jobs)

        if self.flavour == "batch":
            worker.handles_batch("noop", size=CONCURRENCY // 2)(batch)
        else:
            worker.handles("noop")(one)
        gc.freeze()  # as `jobengine work` does
        await worker.run()


main(JobEngineSide)
