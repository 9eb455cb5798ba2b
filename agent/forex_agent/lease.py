"""The agent's calls about one job, each with the lease's epoch: begin, keep, report, give back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from forex_agent.backoff import Backoff
from forex_agent.client import Answer, Client, KeyRefused, Unreachable
from forex_agent.clock import ServerClock, elapsed
from forex_agent.job import Job, Json, Report, read_time

log = logging.getLogger("forex_agent.lease")


class Lost(Exception):
    """The job is not ours any more; `answer` is the status that said so."""

    def __init__(self, answer: int) -> None:
        super().__init__(f"the service answered {answer}")
        self.answer = answer


@dataclass(slots=True)
class Lease:
    """One job under one lease."""

    client: Client
    path: str
    job: Job
    cancel_reason: str | None = None
    """Why the service asks to stop, once it does."""
    lost: bool = False
    asked_twice: bool = False
    """Whether an answer to `start` was lost: somebody else may have begun it in between."""

    @property
    def stopped(self) -> str | None:
        """Why the job must not be gone on with; None where it may."""
        return self.cancel_reason or ("the lease was lost" if self.lost else None)

    @property
    def _place(self) -> str:
        return f"{self.path}/jobs/{self.job.job_id}"

    @property
    def _pause(self) -> float:
        return self.job.lease_seconds / 3

    async def hold(self) -> None:
        """Ask, for as long as it takes, whether the job is still ours; raises `Lost`."""
        backoff = Backoff()
        while True:
            try:
                return await self.extend()
            except Unreachable as error:
                log.warning("job %s: not extended: %s", self.job.job_id, error)
                await asyncio.sleep(backoff.next())

    async def start(self) -> bool:
        """Begin; returns whether an earlier process had. Raises `Lost`.

        An answer that was lost is asked for again, so `repeated` then means this very call.
        """
        calls = 0

        def again() -> bool:
            nonlocal calls
            calls += 1
            return elapsed() - began < self.job.lease_seconds

        began = elapsed()
        body = {"lease_epoch": self.job.lease_epoch}
        try:
            answer = await self.client.insist(
                "POST", f"{self._place}/start", body, again=again, longest=2
            )
        except Unreachable as error:
            raise Lost(0) from error
        if not answer.ok:
            raise Lost(answer.status)
        repeated = bool(answer.body.get("repeated"))
        if not repeated and not calls:
            self._learn(answer.body, began)
        self.asked_twice = repeated and calls > 0
        return repeated and not calls

    async def extend(self) -> None:
        """Keep the job, and hear whether to stop; raises `Lost` or `Unreachable`."""
        asked = elapsed()
        answer = await self.client.call(
            "POST", f"{self._place}/heartbeat", {"lease_epoch": self.job.lease_epoch}
        )
        if answer.status in {404, 409}:
            raise Lost(answer.status)
        if not answer.ok:
            raise Unreachable(f"{answer.status} {answer.code}")
        self._learn(answer.body, asked)
        if answer.body.get("cancel_requested"):
            self.cancel_reason = str(answer.body.get("cancel_reason") or "cancelled")

    async def release(self) -> None:
        """Give the job back unused; once, as its lease runs out anyway."""
        await self.client.call(
            "POST", f"{self._place}/release", {"lease_epoch": self.job.lease_epoch}
        )

    async def report(self, report: Report) -> Answer:
        """Report until the service has heard it or wants none; returns its answer."""
        return await self.client.insist("POST", f"{self._place}/result", report.body(self.job))

    @asynccontextmanager
    async def kept(
        self, stop: Callable[[], object] = lambda: None, *, at_once: bool = False
    ) -> AsyncIterator[None]:
        """Keep the job while the block lasts; `stop` is called where it is lost or cancelled."""
        keeper = asyncio.create_task(self._keep(stop, 0 if at_once else self._pause))
        try:
            yield
        finally:
            keeper.cancel()
            # Whatever became of it, it must not take the place of what the block has found out.
            await asyncio.gather(keeper, return_exceptions=True)

    async def _keep(self, stop: Callable[[], object], pause: float) -> None:
        while not self.lost and self.cancel_reason is None:
            await asyncio.sleep(pause)
            try:
                await self.extend()
            except (Lost, KeyRefused) as error:
                log.warning("job %s: the lease is lost: %s", self.job.job_id, error)
                self.lost = True
            except Unreachable as error:
                log.warning("job %s: not extended: %s", self.job.job_id, error)
                pause = min(self._pause, 2.0)
            else:
                pause = self._pause
            if self.stopped is not None:
                stop()

    def _learn(self, body: Json, asked: float) -> None:
        learn_time(self.client.clock, self.job, body.get("lease_expires_at"), asked)


def learn_time(clock: ServerClock, job: Job, lease_expires_at: object, asked: float) -> None:
    """Tell the service's time from a lease that was given just now, by its full length."""
    with contextlib.suppress(ValueError):
        end = read_time(lease_expires_at)
        clock.learn(end.timestamp() - job.lease_seconds, asked=asked)
