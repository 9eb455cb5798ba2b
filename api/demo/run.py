"""The demo's course: bring everything up, put jobs in, kill an agent, wait, prove."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import orjson
import psycopg
import redis
from redis.exceptions import RedisError

from api import commands
from api.demo.agent.journal import read
from api.demo.crew import Crew
from api.demo.evidence import Conn, Evidence, Job, look
from api.demo.plan import Chain, Plan, Step
from api.demo.proof import prove
from api.demo.report import Result, summary
from api.demo.servers import Platform, platform, wait_for
from api.demo.world import Parents, World, created, make_world
from jobengine.progress import Progress

PATIENCE = 120.0  # for a machine that has much else to do; a quiet one needs a few seconds


def run_demo(environment: Mapping[str, str] = os.environ, *, seed: int = 1) -> Result:
    """Run the demo; raises `Refused` where it cannot go on, and nothing for a proof that fails."""
    began = time.monotonic()
    try:
        with platform(environment) as running:
            commands.say("two users, their broker accounts and three agents")
            world = make_world(running)
            with _connection(running) as conn:
                evidence = _work(running, world, conn, seed)
    except (psycopg.Error, RedisError) as error:
        raise commands.Refused(str(error)) from error
    return summary(evidence, prove(evidence), time.monotonic() - began)


@contextmanager
def _connection(running: Platform) -> Iterator[Conn]:
    """Yield a connection with the rights of the service."""
    with psycopg.connect(running.database_url, autocommit=True) as conn:
        conn.execute("set role service_role")
        yield conn


def _work(running: Platform, world: World, conn: Conn, seed: int) -> Evidence:
    plan = Plan(world.agents, Parents(conn), seed)
    with Crew(running, world, seed) as crew:
        course = _Course(world, conn, crew, plan)
        course.run()
    # The agents are gone, so nothing that they left changes any more.
    return Evidence(
        agents=world.agents,
        created=course.created,
        jobs=_with_parents_then(course.look(), course.ended),
        journals={agent.agent_id: read(crew.journal(agent)) for agent in world.agents},
        killed=course.killed,
        prices=_prices(running, world),
        log=running.log.read_text(errors="replace"),
        secrets=[running.secret, *world.secrets()],
    )


def _with_parents_then(now: Mapping[UUID, Job], then: Mapping[UUID, Job]) -> dict[UUID, Job]:
    """Return the jobs of now; a parent as it was at its job's end, before the next one's."""
    return {
        job_id: replace(
            job,
            parent_state=then[job_id].parent_state,
            parent_error=then[job_id].parent_error,
            parent_price=then[job_id].parent_price,
        )
        if job_id in then
        else job
        for job_id, job in now.items()
    }


def _prices(running: Platform, world: World) -> dict[str, Any]:
    """Return what the store has of the agents' instruments."""
    keys = {
        key
        for agent in world.agents
        for symbol in agent.symbols
        for key in (f"prices:{symbol}", f"prices:{agent.agent_id}:{symbol}")
    }
    with redis.Redis.from_url(running.redis_url) as store:
        found = {key: store.get(key) for key in sorted(keys)}
    return {key: orjson.loads(value) for key, value in found.items() if isinstance(value, bytes)}


@dataclass(slots=True)
class _Course:
    """Puts in each chain's next job when the one before has ended, until all have."""

    world: World
    conn: Conn
    crew: Crew
    plan: Plan
    created: set[UUID] = field(default_factory=set)
    ended: dict[UUID, Job] = field(default_factory=dict)
    killed: UUID | None = None
    _waiting: dict[UUID, Chain] = field(default_factory=dict)
    _slow: UUID | None = None

    def run(self) -> None:
        # The slow one last: to be killed in it, its agent must be seen at it.
        chains = [*self.plan.chains(), self.plan.slow()]
        progress = Progress("working", sum(len(chain.steps) for chain in chains))
        for chain in chains:
            self._go_on(chain, None)
        wait_for(lambda: self._round(progress), PATIENCE, "every job has ended")
        progress.end()

    def _round(self, progress: Progress) -> bool:
        """Look once at all jobs and do what follows; True when all is over."""
        self.crew.check()
        for job in self.look().values():
            if job.over and job.job_id in self._waiting:
                self.ended[job.job_id] = job
                self._go_on(self._waiting.pop(job.job_id), job)
                self._slow_again(job)
        self._kill()
        progress.show(len(self.ended), f"{self.crew.kills} killed")
        return not self._waiting

    def look(self) -> dict[UUID, Job]:
        """Return all jobs as they stand now."""
        return look(self.conn, [user.user_id for user in self.world.users])

    def _slow_again(self, job: Job) -> None:
        """Put the slow job in once more where it ended before anybody could be killed in it."""
        if job.job_id == self._slow and self.killed is None:
            self._go_on(self.plan.slow(), None)

    def _go_on(self, chain: Chain, job: Job | None) -> None:
        step = chain.next(job.output_data if job else None)
        if step:
            job_id = self._create(chain, step)
            self._waiting[job_id] = chain
            if step.slow:
                self._slow = job_id

    def _create(self, chain: Chain, step: Step) -> UUID:
        body = {"job_type": step.job_type, **step.body}
        answer = created(self.world.owner(chain.agent), "/api/v1/jobs", body)
        job_id = UUID(answer["job_id"])
        self.created.add(job_id)
        return job_id

    def _kill(self) -> None:
        """Kill the agent that works on the slow job, once, and start it again."""
        if self.killed is None and self._held():
            victim = self.plan.victim
            if self.crew.kill(victim, self._held):
                self.killed = self._slow
                self.crew.start(victim)

    def _held(self) -> bool:
        """Whether the slow job is in its agent's hands, by the word of both."""
        job = self.look().get(self._slow) if self._slow else None
        if job is None or job.status != "running":
            return False
        entries = read(self.crew.journal(self.plan.victim))
        return any(e["event"] == "begun" and e["job_id"] == str(self._slow) for e in entries)
