"""SAQ on Redis."""

import asyncio
from collections.abc import Sequence

from contract import Side, Tally, main, payload
from redis.asyncio import Redis
from saq import Worker
from saq.queue.redis import RedisQueue

CONCURRENCY, TOGETHER = 100, 100


class Saq(Side):
    packages = ("saq", "redis", "hiredis", "uvloop")

    async def install(self) -> None:
        """Redis needs nothing."""

    async def open(self) -> None:
        self.queue = RedisQueue(Redis.from_url(self.url), max_concurrent_ops=TOGETHER)
        await self.queue.connect()

    async def enqueue(self, number: int) -> None:
        await self.queue.enqueue("noop", **payload(number))

    async def enqueue_many(self, numbers: Sequence[int]) -> None:
        for start in range(0, len(numbers), TOGETHER):
            part = numbers[start : start + TOGETHER]
            await asyncio.gather(*(self.enqueue(number) for number in part))

    async def work(self, tally: Tally) -> None:
        async def noop(_ctx: object, *, n: int, pad: str) -> None:
            tally.saw(n)

        worker = Worker(self.queue, [("noop", noop)], concurrency=CONCURRENCY)
        await worker.start()


main(Saq)
