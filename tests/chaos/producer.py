"""Enqueues under keys, alone and with a parent in one transaction, and again when in doubt."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Sequence

import psycopg

from jobengine import Enqueued, NewJob
from tests.chaos.again import until_answered
from tests.chaos.notebook import NotedEngine
from tests.history import LIVE

BACKLOG = 200  # jobs that wait; more would only make the drain longer
LIVE_KEYS = "abcdefgh"
KINDS = {"jobs": 55, "family": 30, "rollback": 8, "again": 7}  # in a hundred


async def work(engine: NotedEngine, chance: random.Random, stop: asyncio.Event) -> None:
    """Put jobs in until told to stop."""
    producer = Producer(engine, chance)
    while not stop.is_set():
        if await until_answered(lambda: engine.count(status="pending", cap=BACKLOG)) >= BACKLOG:
            await asyncio.sleep(0.05)
            continue
        await producer.put_in()
        await asyncio.sleep(chance.uniform(0.0, 0.05))


def noted_key(job: NewJob) -> str:
    """Return the key as the checker knows it."""
    return job.dedup_key or f"{LIVE}{job.live_key}"


class Producer:
    """One producer, who repeats every call until it is answered."""

    def __init__(self, engine: NotedEngine, chance: random.Random) -> None:
        self.engine = engine
        self.notebook = engine.notebook
        self.chance = chance
        self.keys = 0
        self.before: list[NewJob] = []

    async def put_in(self) -> None:
        """Put some jobs in, of one kind or another."""
        match self.chance.choices(list(KINDS), list(KINDS.values()))[0]:
            case "family":
                await self.family(rollback=False)
            case "rollback":
                await self.family(rollback=True)
            case "again" if self.before:
                await self.jobs(self.before)
            case _:
                self.before = [self.job() for _ in range(self.chance.randint(1, 30))]
                await self.jobs(self.before)

    async def jobs(self, jobs: Sequence[NewJob]) -> None:
        """Enqueue in a call of its own."""

        async def enqueue() -> None:
            call = self.notebook.ask("enqueue", [noted_key(job) for job in jobs])
            self.answered(call, await self.engine.enqueue_many(jobs))

        await until_answered(enqueue)

    async def family(self, *, rollback: bool) -> None:
        """Enqueue children in the transaction that makes their parent, or takes it back."""
        name = f"{self.notebook.name}/parent/{self.keys}"
        children = [self.child(name) for _ in range(self.chance.randint(2, 8))]

        async def enqueue() -> None:
            call = self.notebook.ask("enqueue", [noted_key(job) for job in children])
            answers = await self.in_transaction(name, children, rollback=rollback)
            if rollback:
                self.notebook.answer(call, [["rolled_back", None]] * len(children))
            else:
                self.answered(call, answers)

        await until_answered(enqueue)

    async def in_transaction(
        self, name: str, children: Sequence[NewJob], *, rollback: bool
    ) -> Sequence[Enqueued]:
        """Return the answers when the transaction has ended."""
        insert = "insert into public.parent (name, jobs) values (%s, %s) on conflict do nothing"
        answers: Sequence[Enqueued] = ()
        # psycopg lets its Rollback out where the connection broke: rolled back all the same.
        with contextlib.suppress(psycopg.Rollback):
            async with self.engine.connection() as conn, conn.transaction():
                await conn.execute(insert, (name, len(children)))
                answers = await self.engine.enqueue_many(children, connection=conn)
                if rollback:
                    raise psycopg.Rollback
        return answers

    def job(self) -> NewJob:
        job_type = "once" if self.chance.random() < 0.25 else "again"
        odd = self.chance.random()
        if 0.5 < odd < 0.55:
            return NewJob(job_type=job_type, live_key=self.chance.choice(LIVE_KEYS))
        return NewJob(
            job_type=job_type,
            dedup_key=self.key(),
            priority=self.chance.randint(0, 9),
            delay=0.3 if odd < 0.03 else None,
            expires_in=0.5 if odd > 0.97 else None,
            max_attempts=self.chance.choice((None, None, None, 1, 2)),
        )

    def child(self, parent: str) -> NewJob:
        return NewJob(job_type="child", input={"parent": parent}, dedup_key=self.key())

    def key(self) -> str:
        self.keys += 1
        return f"{self.notebook.name}/{self.keys}"

    def answered(self, call: str, answers: Sequence[Enqueued]) -> None:
        self.notebook.answer(call, [[a.verdict, str(a.job_id)] for a in answers])
