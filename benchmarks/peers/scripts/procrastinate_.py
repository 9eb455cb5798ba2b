"""procrastinate on its psycopg connector."""

import logging
from collections.abc import Sequence

from contract import Side, Tally, main, payload
from procrastinate import App, PsycopgConnector

CONCURRENCY, CHUNK, POOL = 30, 1000, 10


class Procrastinate(Side):
    packages = ("procrastinate", "psycopg", "uvloop")

    async def install(self) -> None:
        async with App(connector=PsycopgConnector(conninfo=self.url)).open_async() as app:
            await app.schema_manager.apply_schema_async()

    async def open(self) -> None:
        logging.getLogger("procrastinate").setLevel(logging.WARNING)
        connector = PsycopgConnector(conninfo=self.url, min_size=2, max_size=POOL)
        self.app = App(connector=connector)
        await self.app.open_async()
        self.tally: Tally | None = None

        @self.app.task(name="noop", pass_context=False)
        async def noop(n: int, pad: str) -> None:
            self.tally.saw(n)

        self.task = noop

    async def enqueue(self, number: int) -> None:
        await self.task.defer_async(**payload(number))

    async def enqueue_many(self, numbers: Sequence[int]) -> None:
        for start in range(0, len(numbers), CHUNK):
            part = numbers[start : start + CHUNK]
            await self.task.batch_defer_async(*(payload(number) for number in part))

    async def work(self, tally: Tally) -> None:
        self.tally = tally
        await self.app.run_worker_async(concurrency=CONCURRENCY, install_signal_handlers=False)


main(Procrastinate)
