"""awa-pg: its Rust core with handlers in Python."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from awa import AsyncClient, Job, PartitionedQueue
from contract import Side, Tally, main, payload

WORKERS, CLAIM, PARTITIONS, CHUNK, POOL = 1024, 512, 4, 10_000, 20
QUEUE = PartitionedQueue("bench", PARTITIONS)


@dataclass
class Noop:
    n: int
    pad: str


class Awa(Side):
    packages = ("awa-pg", "uvloop")

    async def install(self) -> None:
        await self.open()
        await self.client.migrate()
        # What the first worker of a fresh install calls; COPY needs the storage before.
        async with await psycopg.AsyncConnection.connect(self.url, autocommit=True) as conn:
            await conn.execute("select awa.storage_auto_finalize_if_fresh('awa')")

    async def open(self) -> None:
        # Its URL needs a host, even where another one, the socket's folder, follows.
        url = self.url.replace("@/", "@localhost/")
        self.client = AsyncClient(url, max_connections=POOL)

    async def enqueue(self, number: int) -> None:
        queue = QUEUE.route_by_index(number)
        await self.client.insert(Noop(**payload(number)), **queue)

    async def enqueue_many(self, numbers: Sequence[int]) -> None:
        for start in range(0, len(numbers), CHUNK):
            part = numbers[start : start + CHUNK]
            queues = [QUEUE.route_by_index(number) for number in part]
            await self.client.enqueue_many_copy([Noop(**payload(n)) for n in part], opts=queues)

    async def work(self, tally: Tally) -> None:
        @self.client.task(Noop, queue=QUEUE.physical_queues[0])
        async def noop(job: Job) -> None:
            tally.saw(job.args.n)

        await self.client.start(
            QUEUE.queue_configs(
                max_workers_per_partition=WORKERS,
                claimers=1,
                claim_batch_size=CLAIM,
                deadline_duration_ms=0,
            )
        )
        await asyncio.Event().wait()


main(Awa)
