"""A remote agent: it claims in two phases under request ids, and may report far too late."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from uuid import UUID

from jobengine import Job, Report
from jobengine.records import Outcome, TwoPhase
from tests.chaos.again import until_answered
from tests.chaos.notebook import NotedEngine
from tests.chaos.worker import duration

FATES = {"finish": 83, "extend": 6, "release": 5, "late": 4, "forget": 2}  # in a hundred
OUTCOMES: dict[Outcome, int] = {
    "completed": 84,
    "failed": 7,
    "snooze": 4,
    "rejected": 2,
    "unknown": 2,
    "cancelled": 1,
}


async def work(engine: NotedEngine, chance: random.Random, stop: asyncio.Event) -> None:
    """Claim and report until told to stop; then report what is still due."""
    agent = Agent(engine, chance)
    while not stop.is_set():
        jobs = await agent.claim()
        await agent.deal_with(jobs)
        await agent.report_late(time.monotonic())
        if not jobs:
            await asyncio.sleep(0.03)
    await agent.report_late(float("inf"))


class Agent:
    """One agent, who does one thing at a time."""

    def __init__(self, engine: NotedEngine, chance: random.Random) -> None:
        self.engine = engine
        self.name = engine.notebook.name
        self.chance = chance
        self.reports = 0
        self.late: list[tuple[float, Job]] = []  # to be reported when the lease has run out
        self.phases: TwoPhase = chance.choice(("always", "at_most_once"))

    async def claim(self) -> Sequence[Job]:
        """Claim under a request id, which a repeat after a lost answer has too."""
        request_id = UUID(int=self.chance.getrandbits(128), version=4)
        limit = self.chance.randint(1, 10)
        return await until_answered(
            lambda: self.engine.claim(
                ["default"],
                agent_id=self.name,
                limit=limit,
                request_id=request_id,
                two_phase=self.phases,
            )
        )

    async def deal_with(self, jobs: Sequence[Job]) -> None:
        """Begin, work and report; each job has its fate."""
        begun = [job for job in jobs if job.started_at is not None]
        begun += await self.start([job for job in jobs if job.started_at is None])
        fates: dict[str, list[Job]] = {fate: [] for fate in FATES}
        for job in begun:
            fates[self.chance.choices(list(FATES), list(FATES.values()))[0]].append(job)
        if begun:
            await asyncio.sleep(duration(self.chance, begun[0].lease_seconds))
        await self.release(fates["release"])
        await self.extend(fates["extend"])
        await self.finish(fates["finish"] + fates["extend"])
        for job in fates["late"]:
            due = time.monotonic() + self.chance.uniform(1.2, 2.0) * job.lease_seconds
            self.late.append((due, job))

    async def report_late(self, now: float) -> None:
        """Report on leases that ran out, as if nothing had happened."""
        due = [job for at, job in self.late if at <= now]
        self.late = [(at, job) for at, job in self.late if at > now]
        await self.extend(due)
        await self.finish(due)

    async def start(self, jobs: list[Job]) -> list[Job]:
        """Begin; `duplicate` is an own start whose answer was lost."""
        if not jobs:
            return []
        answers = await until_answered(lambda: self.engine.start(jobs))
        begun = {answer.job_id for answer in answers if answer.verdict in ("ok", "duplicate")}
        return [job for job in jobs if job.job_id in begun]

    async def extend(self, jobs: list[Job]) -> None:
        """Ask for a whole new lease."""
        if jobs:
            await until_answered(lambda: self.engine.extend(jobs))

    async def release(self, jobs: list[Job]) -> None:
        """Give jobs back unused."""
        if jobs:
            await until_answered(lambda: self.engine.release(jobs))

    async def finish(self, jobs: list[Job]) -> None:
        """Report until it is acknowledged, in the same words each time."""
        if jobs:
            reports = [self.report(job) for job in jobs]
            await until_answered(lambda: self.engine.finish(reports))

    def report(self, job: Job) -> Report:
        """Say what became of a job, with a token that shows where it is heard."""
        self.reports += 1
        token = f"{self.name}/report/{self.reports}"
        (outcome,) = self.chance.choices(list(OUTCOMES), list(OUTCOMES.values()))
        # A late `failed` of an unknown job has no row of its own among the failures.
        if outcome == "failed" and job.delivery == "at_most_once":
            outcome = "rejected"
        return Report(
            job_id=job.job_id,
            lease_epoch=job.lease_epoch,
            outcome=outcome,
            output={"by": token} if outcome == "completed" else None,
            error_code=None if outcome == "completed" else "chance",
            error_message=None if outcome == "completed" else token,
            delay=0.02 if outcome == "snooze" else None,
        )
