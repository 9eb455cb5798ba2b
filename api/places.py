"""Who polls in this process, and what is known of them between their polls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from api.keys import Agent
from api.wheel import Turn, Wheel
from jobengine.records import Job

OUSTED_SECONDS = 1.0  # an agent's older poll ends so late: two of one key do not chase each other


@dataclass(eq=False, slots=True)
class Waiter:
    """One poll: who asks, and what comes of it."""

    agent: Agent
    request_id: UUID | None
    until: float
    answer: asyncio.Future[Sequence[Job]]
    most: int = 1  # jobs
    begins: bool = False  # the claim is to begin a job that may be repeated
    told: Callable[[], None] | None = None  # called when the answer is there
    timer: Turn | None = None
    asking: bool = False
    ousted: bool = False  # by a newer poll: its client may be gone, so it gets no job

    def resolve(self, jobs: Sequence[Job] = ()) -> bool:
        """Answer the poll; False where it is over already, or may have no job."""
        if self.answer.done() or (self.ousted and jobs):
            return False
        self.answer.set_result(jobs)
        self._over()
        return True

    def fail(self, error: Exception) -> None:
        """Answer the poll with the error, unless it is over already."""
        if not self.answer.done():
            self.answer.set_exception(error)
            self._over()

    def _over(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
        if self.told is not None:
            self.told()

    def oust(self, wheel: Wheel) -> None:
        """Have the poll answered with no job, soon."""
        self.ousted = True
        if self.timer is not None:
            self.timer.cancel()
        left = min(OUSTED_SECONDS, max(0.0, self.until - time.monotonic()))
        self.timer = wheel.later(left, self.resolve)


@dataclass(eq=False, slots=True)
class Place:
    """What is known of an agent, between its polls too."""

    agent: Agent
    part: dict[UUID, Place]  # of all places
    waiter: Waiter | None = None
    covered: bool = False  # its queues are among the sleepers'
    quiet: bool = False  # the last claim left nothing, and nothing was announced since
    request_id: UUID | None = None  # the last one asked with
    polled: float = field(default_factory=time.monotonic)


class Places:
    """One place per agent; each is in one of a number of parts, which are of about one size."""

    def __init__(self, parts: int) -> None:
        """Nobody has polled yet."""
        self.parts: Sequence[dict[UUID, Place]] = [{} for _ in range(parts)]
        self._by_agent: dict[UUID, Place] = {}
        self._by_queue: dict[tuple[UUID, str], set[UUID]] = {}

    def __getitem__(self, agent_id: UUID) -> Place:
        return self._by_agent[agent_id]

    def get(self, agent_id: UUID) -> Place | None:
        return self._by_agent.get(agent_id)

    def all(self) -> Collection[Place]:
        return self._by_agent.values()

    def of(self, tenant_id: UUID, queue: str) -> Iterator[Place]:
        """Yield those whose jobs come by that queue of that tenant."""
        for agent_id in self._by_queue.get((tenant_id, queue), ()):
            yield self._by_agent[agent_id]

    def add(self, agent: Agent) -> Place:
        """Return a new place for the agent, who has none."""
        place = Place(agent, min(self.parts, key=len))
        self._by_agent[agent.agent_id] = place.part[agent.agent_id] = place
        for queue in agent.queues:
            self._by_queue.setdefault((agent.user_id, queue), set()).add(agent.agent_id)
        return place

    def remove(self, place: Place) -> None:
        """Forget the place; its poll is answered with no job."""
        if place.waiter:
            place.waiter.resolve()
            place.waiter = None
        agent = place.agent
        del self._by_agent[agent.agent_id], place.part[agent.agent_id]
        for queue in agent.queues:
            self._leave((agent.user_id, queue), agent.agent_id)

    def vacate(self, waiter: Waiter) -> None:
        """Have the poll wait at its place no more."""
        place = self.get(waiter.agent.agent_id)
        if place and place.waiter is waiter:
            place.waiter = None

    def _leave(self, queue: tuple[UUID, str], agent_id: UUID) -> None:
        others = self._by_queue[queue]
        others.discard(agent_id)
        if not others:
            del self._by_queue[queue]
