"""pgqueuer on a pool of asyncpg."""

import json
from collections.abc import Sequence
from datetime import timedelta

import asyncpg
from contract import Side, Tally, main, payload
from pgqueuer import AsyncpgPoolDriver, Job, PgQueuer, Queries

BATCH, CHUNK, POOL = 1000, 1000, 10


class PgQueuerSide(Side):
    packages = ("pgqueuer", "asyncpg", "uvloop")

    async def install(self) -> None:
        await self.open()
        await self.queries.install()

    async def open(self) -> None:
        self.pool = await asyncpg.create_pool(self.url, min_size=2, max_size=POOL)
        self.queries = Queries(AsyncpgPoolDriver(self.pool))

    async def enqueue(self, number: int) -> None:
        await self.queries.enqueue("noop", json.dumps(payload(number)).encode())

    async def enqueue_many(self, numbers: Sequence[int]) -> None:
        for start in range(0, len(numbers), CHUNK):
            jobs = [json.dumps(payload(n)).encode() for n in numbers[start : start + CHUNK]]
            await self.queries.enqueue(["noop"] * len(jobs), jobs, [0] * len(jobs))

    async def work(self, tally: Tally) -> None:
        worker = PgQueuer.from_asyncpg_pool(self.pool)

        @worker.entrypoint("noop")
        async def noop(job: Job) -> None:
            tally.saw(json.loads(job.payload)["n"])

        await worker.run(batch_size=BATCH, dequeue_timeout=timedelta(seconds=30))


main(PgQueuerSide)
