"""All agents that wait for a job in this process, on one claimer.

Agents wait in memory. The claimer asks the engine with one `claim` for many agents, and only for
those who have reason to ask: a poll that has just come, a job that the engine's notification names,
or a look, for what no notification tells (a retry that became due, a notification that was lost).
Every agent is looked at each 20 seconds, a twentieth of them each second, and asked for where its
user has any job that waits. Between these an agent costs a timer and nothing else.

An agent whose claim came back empty is put into the engine's table of sleepers (`_doze.sql`) and
asked for once more; from then on its jobs are announced. Who is in there stays in, poll after poll,
and is renewed once a minute; so the next poll of an agent who is covered, and for whom nothing was
announced since, needs no claim at all.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from uuid import UUID, uuid4

import orjson

from api import calls
from api.keys import Agent
from api.places import Place, Places, Waiter
from api.wheel import Wheel
from jobengine import EngineError, JobEngine, Lease, metrics
from jobengine.claimer import Claimer
from jobengine.records import Job

log = logging.getLogger("api.longpoll")

BATCH = 200  # agents that one claim asks for
MOST_CLAIMED = 1000  # jobs that one claim may bring; with its last agent's more
LONGEST_WAIT = 30.0  # seconds that a poll may last
LOOKS = 20  # each second another one of so many parts of the agents is looked at
LOOK_PAUSE = 1.0
RENEW_SECONDS = 120.0  # the sleepers are written anew so often
DOZE_SECONDS = 300.0  # and forgotten by the engine after so long, should this process be gone
IDLE_SECONDS = 45.0  # an agent that has not polled for so long is not announced jobs any more


def patience(wait: float) -> float:
    """Return how long a poll lasts that asks for so many seconds.

    Agents that came together, after a restart for example, do not go on coming together.
    """
    return min(wait, LONGEST_WAIT) * random.uniform(0.9, 1.0)  # noqa: S311


def repeated(job: Job) -> bool:
    """Tell whether the claim found the job with its agent already (_retake.sql)."""
    return job.run_at is None


class LongPoll:
    """Hands out jobs to polls; `run` is its claimer. Not for threads."""

    def __init__(
        self, engine: JobEngine, waits: Callable[[Iterable[UUID]], None] = lambda _: None
    ) -> None:
        """`waits` is told of every agent that polls, each 20 seconds."""
        self._engine = engine
        self._waits = waits
        self._places = Places(LOOKS)
        self._due: dict[UUID, None] = {}  # in the order in which they became due
        self._wanted = asyncio.Event()
        self.wheel = Wheel()
        self._listener = uuid4()
        self.closed = False  # whoever waits for anything in this process need not any more

    @property
    def waiting(self) -> int:
        """How many polls wait."""
        return sum(1 for place in self._places.all() if place.waiter)

    def close(self) -> None:
        """Answer every poll with no job, also those to come; for the end of the process."""
        self.closed = True
        for place in self._places.all():
            if place.waiter:
                place.waiter.resolve()

    def forget(self, agent_id: UUID | None) -> None:
        """Answer the agent's poll with no job: its next one shows its key again; None: all."""
        known = self._places.all() if agent_id is None else [self._places.get(agent_id)]
        for place in list(known):
            if place is not None:
                self._drop(place)

    def poll(
        self,
        agent: Agent,
        *,
        seconds: float,
        request_id: UUID | None,
        first: bool = False,
        most: int = 1,
        begins: bool = False,
        told: Callable[[], None] | None = None,
    ) -> Waiter:
        """Begin a poll; its `answer` comes after `seconds`, at most a tick later; empty: no job.

        One poll per agent: an older one is answered with no job, a second later. The caller ends it
        with `leave`. `first`: nobody has asked with this request id, so no lease can be its own.
        `begins`: what may be repeated comes begun; an order never does.
        """
        loop = asyncio.get_running_loop()
        until = time.monotonic() + seconds
        waiter = Waiter(agent, request_id, until, loop.create_future(), most, begins, told)
        if self.closed:
            waiter.resolve()
            return waiter
        place = self._place(agent)
        if place.waiter:
            place.waiter.oust(self.wheel)
        place.waiter, place.polled = waiter, time.monotonic()
        if seconds > 0:
            waiter.timer = self.wheel.later(seconds, partial(self._over, waiter))
        new = request_id is None or (first and request_id != place.request_id)
        place.request_id = request_id
        if not (seconds > 0 and place.covered and place.quiet and new):
            self._ask_for(place)  # it is not known that there is nothing
        return waiter

    async def leave(self, waiter: Waiter) -> None:
        """End a poll whose client is gone; a job that it was given goes back."""
        self._places.vacate(waiter)
        if waiter.timer is not None:
            waiter.timer.cancel()
        if not waiter.answer.done():
            waiter.answer.cancel()
        elif not waiter.answer.cancelled() and not waiter.answer.exception():
            await self._release(waiter.answer.result())

    async def run(self) -> None:
        """Claim for those who are due, for ever."""
        with self._engine.wakeup.jobs(self._came):
            beside = [asyncio.create_task(work()) for work in (self._renew, self._look)]
            try:
                while True:
                    await self._wanted.wait()
                    await self._serve(self._batch())
            finally:
                for task in beside:
                    task.cancel()

    # Who is due

    def _place(self, agent: Agent) -> Place:
        """Return the agent's place; one whose queues have changed begins anew."""
        place = self._places.get(agent.agent_id)
        if place is None or place.agent != agent:
            if place is not None:
                self._drop(place)
            place = self._places.add(agent)
        return place

    def _drop(self, place: Place) -> None:
        self._places.remove(place)
        self._due.pop(place.agent.agent_id, None)

    def _ask_for(self, place: Place) -> None:
        if place.waiter:
            self._due[place.agent.agent_id] = None
            self._wanted.set()

    def _over(self, waiter: Waiter) -> None:
        """The poll's time is up; one that is being asked for gets the outcome."""
        if not waiter.asking:
            waiter.resolve()
            self._places.vacate(waiter)

    def _came(self, tenant_id: UUID | None, queue: str | None) -> None:
        """A job was announced; without a name, any may have been, and the sleepers be lost."""
        if tenant_id is None or queue is None:
            for place in self._places.all():
                place.covered = place.quiet = False
                self._ask_for(place)
            return
        for place in self._places.of(tenant_id, queue):
            place.quiet = False
            self._ask_for(place)

    # Claiming

    def _batch(self) -> list[Waiter]:
        """Take who is due, BATCH at most."""
        batch: list[Waiter] = []
        jobs = 0
        while self._due and len(batch) < BATCH and jobs < MOST_CLAIMED:
            agent_id = next(iter(self._due))
            del self._due[agent_id]
            if waiter := self._places[agent_id].waiter:
                batch.append(waiter)
                jobs += waiter.most
        if not self._due:
            self._wanted.clear()
        return batch

    async def _serve(self, batch: Sequence[Waiter]) -> None:
        """Claim for these, tell them, and have those who got nothing announced what comes."""
        if not batch:
            return
        covered = {waiter.agent.agent_id for waiter in batch if self._covered(waiter)}
        try:
            jobs = await self._claim(batch)
            await self._deliver(batch, jobs)
            await self._doze(waiter for waiter in batch if waiter.agent.agent_id not in covered)
        except EngineError as error:
            self._fail(batch, error)
        except Exception as error:
            # A mistake of ours: these polls fail, and the claimer goes on for the others.
            log.exception("a claim for %d agents failed", len(batch))
            self._fail(batch, error)

    def _covered(self, waiter: Waiter) -> bool:
        place = self._places.get(waiter.agent.agent_id)
        return place is not None and place.covered

    async def _claim(self, batch: Sequence[Waiter]) -> list[Job]:
        requests = [
            {
                "queues": waiter.agent.queues,
                "agent_id": str(waiter.agent.agent_id),
                "limit": waiter.most,
                "tenant_id": waiter.agent.user_id,
                "request_id": waiter.request_id,
                "two_phase": "at_most_once" if waiter.begins else "always",
            }
            for waiter in batch
        ]
        for waiter in batch:
            waiter.asking = True
            if place := self._places.get(waiter.agent.agent_id):
                place.quiet = True  # until something is announced meanwhile
        async with self._engine.connection() as conn:
            jobs = await calls.agent_claim(conn, requests=orjson.dumps(requests).decode())
        self._count(jobs)
        return jobs

    def _count(self, jobs: Iterable[Job]) -> None:
        """Count by the kind of queue: its whole name is an agent's or an account's."""
        if (meter := self._engine.meter) is not None:
            for kind, count in Counter(job.queue.partition("/")[0] for job in jobs).items():
                meter.add(metrics.CLAIMED, count, kind)

    async def _deliver(self, batch: Sequence[Waiter], jobs: Iterable[Job]) -> None:
        found: dict[int | None, list[Job]] = {}
        for job in jobs:
            found.setdefault(job.request, []).append(job)
        unwanted: list[Job] = []
        now = time.monotonic()
        for number, waiter in enumerate(batch, 1):
            waiter.asking = False
            given = found.get(number, [])
            place = self._places.get(waiter.agent.agent_id)
            if len(given) >= waiter.most and place:
                place.quiet = False  # where so many were, another may be
            if given or waiter.until <= now:
                self._places.vacate(waiter)
                if not waiter.resolve(given):
                    unwanted += given
        await self._release(unwanted)

    async def _doze(self, waiters: Iterable[Waiter]) -> None:
        """Have the jobs of those who still wait announced, then look for them once more."""
        places = [
            place
            for waiter in waiters
            if (place := self._places.get(waiter.agent.agent_id)) and place.waiter
        ]
        await self._cover(self._listener, places)
        for place in places:
            place.quiet = False  # a job that came just before was not announced
            self._ask_for(place)

    async def _cover(self, listener: UUID, places: Sequence[Place]) -> None:
        if places:
            queues = list(dict.fromkeys(q for place in places for q in place.agent.queues))
            sleeper = Claimer(self._engine.connection, queues=queues, agent_id="api")
            await sleeper.doze(listener, DOZE_SECONDS)
        for place in places:  # of a listener that was taken away meanwhile nothing is left
            place.covered = listener == self._listener

    def _fail(self, batch: Sequence[Waiter], error: Exception) -> None:
        for waiter in batch:
            waiter.asking = False
            self._places.vacate(waiter)
            if place := self._places.get(waiter.agent.agent_id):
                place.quiet = False
            waiter.fail(error)

    async def _release(self, jobs: Sequence[Job]) -> None:
        """Give jobs back; where that fails their leases run out.

        One that an earlier answer began stays with its agent.
        """
        leases = [
            Lease(job.job_id, job.lease_epoch)
            for job in jobs
            if job.started_at is None or not repeated(job)
        ]
        if not leases:
            return
        try:
            await self._engine.release(leases)
        except EngineError as error:
            log.warning("%d unwanted jobs wait for their leases to end: %s", len(leases), error)

    # Looks

    async def _look(self) -> None:
        """Ask for those who may have missed something, a part of them at a time, for ever."""
        for places in itertools.cycle(self._places.parts):
            await asyncio.sleep(LOOK_PAUSE)
            if not places:
                continue
            self._waits(places)
            try:
                self._look_at(list(places.values()), await self._who_has_jobs(places.values()))
            except EngineError as error:
                log.warning("nobody looks for jobs: %s", error)

    def _look_at(self, places: Iterable[Place], tenants: Collection[UUID]) -> None:
        for place in places:
            if place.agent.user_id in tenants:
                place.quiet = False
                self._ask_for(place)

    async def _who_has_jobs(self, places: Iterable[Place]) -> Collection[UUID]:
        """Return which of these agents' users have jobs that wait, due or not."""
        users = {place.agent.user_id for place in places}
        async with self._engine.connection() as conn:
            return {found.user_id for found in await calls.users_waiting(conn, user_ids=users)}

    # Sleepers

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                await self._write_sleepers()
            except EngineError as error:
                log.warning("sleepers are not renewed: %s", error)

    async def _write_sleepers(self) -> None:
        """Write who polls under a new name, then take the old one away: nobody is missed."""
        self._forget_idle()
        old, self._listener = self._listener, uuid4()
        await self._cover(self._listener, [p for p in self._places.all() if p.covered])
        await Claimer(self._engine.connection, queues=[], agent_id="api").rouse(old)

    def _forget_idle(self) -> None:
        limit = time.monotonic() - IDLE_SECONDS
        idle = [p for p in self._places.all() if not p.waiter and p.polled < limit]
        for place in idle:
            self._drop(place)
