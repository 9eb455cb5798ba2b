"""Celery on Redis: processes of one thread each, so its main thread has no event loop."""

import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from celery import Celery
from contract import TICK_SECONDS, Side, Tally, listen, main, payload, ready, report

PREFETCH = 1000


class CelerySide(Side):
    packages = ("celery", "kombu", "redis", "hiredis")

    def __init__(self, url: str, flavour: str) -> None:
        super().__init__(url, flavour)
        self.tally = Tally()
        self.app = Celery("bench", broker=url.replace("unix://", "redis+socket://").split("?")[0])
        self.app.conf.update(
            task_ignore_result=True,
            task_acks_late=True,
            worker_prefetch_multiplier=PREFETCH,
            worker_hijack_root_logger=False,
            broker_connection_retry_on_startup=True,
        )

        @self.app.task(name="noop")
        def noop(n: int, pad: str) -> None:
            self.tally.saw(n)

        self.task = noop

    async def install(self) -> None:
        """Redis needs nothing."""

    async def open(self) -> None:
        self.app.connection_for_write().ensure_connection()

    async def enqueue(self, number: int) -> None:
        self.task.apply_async(kwargs=payload(number))

    async def enqueue_many(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            self.task.apply_async(kwargs=payload(number))

    async def call(self, callers: int, seconds: float) -> tuple[int, float]:
        """Threads call: the package has no async face."""
        began = time.monotonic()

        def caller(_: int) -> int:
            jobs = 0
            while time.monotonic() < began + seconds:
                self.task.apply_async(kwargs=payload(jobs))
                jobs += 1
            return jobs

        with ThreadPoolExecutor(callers) as threads:
            return sum(threads.map(caller, range(callers))), time.monotonic() - began

    async def work(self, tally: Tally) -> None:
        raise NotImplementedError


def work(side: CelerySide) -> None:
    """Work in the main thread; a second one tells how far it is."""
    asked = threading.Semaphore(0)
    told: list[dict[str, bool]] = []

    def obey(line: dict[str, bool]) -> None:
        told.append(line)
        asked.release()

    def tick() -> None:
        while not asked.acquire(timeout=TICK_SECONDS):
            side.tally.tick()
        report(side.tally, cpu)

    listen(obey)
    ready(side)
    asked.acquire()
    side.tally.seen = {} if told[0]["record"] else None
    cpu = time.process_time()
    threading.Thread(target=tick, daemon=True).start()
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=ERROR"]
    side.app.worker_main(["worker", "--pool=solo", *quiet])


if sys.argv[1] == "work":
    work(CelerySide(sys.argv[2], ""))
else:
    main(CelerySide)
