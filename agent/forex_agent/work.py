"""From the claim to the acknowledgement: asks for jobs and has the right hands do them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from uuid import uuid4

from forex_agent.backoff import Backoff
from forex_agent.client import CallError, Client, KeyRefused, Unreachable
from forex_agent.clock import elapsed
from forex_agent.job import Job, Malformed, Report, failed, read_job, split_jobs
from forex_agent.journal import Broken, Entry, Journal
from forex_agent.lease import Lease, Lost
from forex_agent.orders import Orders
from forex_agent.programs import PROGRAM_JOBS, Programs
from forex_agent.reads import READS, Reads
from forex_agent.settings import Settings

log = logging.getLogger("forex_agent.work")

EARLY_SHARE = 0.5  # of the wait; an answer without a job that comes before is no full wait
CLAIM_PAUSE_SECONDS = 30.0  # at most, between questions that fail
MOST_JOBS = 8  # that one question may bring; another agent may be free for the others
GIVE_BACK_SECONDS = 3.0  # at the end, for what was not finished


@dataclass(slots=True)
class Work:
    """The jobs in hand, each in a task of its own."""

    client: Client
    path: str
    journal: Journal
    settings: Settings
    orders: Orders
    reads: Reads
    programs: Programs
    poll_seconds: float
    tasks: dict[tuple[str, int], asyncio.Task[None]] = field(default_factory=dict)
    """By job and lease epoch."""
    held: dict[str, Lease] = field(default_factory=dict)
    """What may be repeated, and is not done yet."""
    refused: asyncio.Future[None] | None = None
    """Ends with the error that ends the agent."""

    def resume(self) -> None:
        """Go on with what an earlier process left."""
        for entry in self.journal.open_work():
            log.info("job %s: left by an earlier process", entry.job.job_id)
            self._begin(entry.job, partial(self._resume, entry))

    async def run(self) -> None:
        """Ask for jobs for ever; raises `KeyRefused`."""
        left = self.journal.asked()
        request_id, first = left or str(uuid4()), left is None
        backoff = Backoff(CLAIM_PAUSE_SECONDS)
        while True:
            asked = elapsed()
            try:
                self.journal.ask(request_id)
                jobs = await self._next(request_id, first=first)
                self._take(jobs)
            except (Unreachable, Malformed, Broken) as error:
                first = False
                pause = backoff.next(getattr(error, "retry_after", None))
                log.warning("no job: %s", error)
                await asyncio.sleep(pause)
                continue
            request_id, first = str(uuid4()), True
            if not jobs and elapsed() - asked < self.poll_seconds * EARLY_SHARE:
                # A service that stops, or another agent with our key: do not storm it.
                await asyncio.sleep(backoff.next())
                continue
            backoff.reset()
            await asyncio.sleep(0)  # the calls that begin them go first

    async def drain(self, patience: float) -> bool:
        """Wait until what is in hand is done and reported; False where it took too long."""
        if not self.tasks:
            return True
        _, left = await asyncio.wait(self.tasks.values(), timeout=patience)
        return not left

    async def end(self) -> None:
        """Let go of everything: what may be repeated goes back, the journal knows the rest."""
        tasks = [*self.tasks.values(), *self.orders.seeking]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(CallError, TimeoutError):
            async with asyncio.timeout(GIVE_BACK_SECONDS):
                await asyncio.gather(*(lease.release() for lease in self.held.values()))

    async def _next(self, request_id: str, *, first: bool) -> Sequence[Job]:
        """Ask; `first`: for the first time, so no earlier answer can have brought anything."""
        wait = self.poll_seconds
        room = max(1, min(MOST_JOBS, self.settings.in_hand - len(self.tasks)))
        query = f"wait={wait:g}&ack=1&request_id={request_id}&first={first:d}&max={room}"
        answer = await self.client.call("GET", f"{self.path}/jobs/next?{query}", wait=wait)
        if not answer.ok:
            raise Refusal(f"{answer.status} {answer.code}", answer.retry_after)
        if answer.body.get("no_jobs"):
            return []
        if "job_id" in answer.body:  # a service that does not know `max`
            return [read_job(answer.text)]
        return list(_readable(split_jobs(answer.text)))

    def _take(self, jobs: Sequence[Job]) -> None:
        """Begin jobs; one too many is left, and goes back when its lease runs out."""
        new = [job for job in jobs if (job.job_id, job.lease_epoch) not in self.tasks]
        if orders := [job for job in new if job.is_order]:
            self.journal.received(*orders)
        for job in new:
            self._take_one(job)

    def _take_one(self, job: Job) -> None:
        if job.is_order:
            self._begin(job, partial(self.orders.new, job))
        elif len(self.tasks) >= self.settings.in_hand:
            log.warning("job %s is left: %d are in hand", job.job_id, len(self.tasks))
        else:
            self._begin(job, partial(self._plain, job))

    def _begin(self, job: Job, doing: Callable[[], Awaitable[None]]) -> None:
        """Do it; a job that came again under a newer lease waits for what is in hand of it."""
        key = (job.job_id, job.lease_epoch)
        before = [task for (job_id, _), task in self.tasks.items() if job_id == job.job_id]
        self.tasks[key] = asyncio.ensure_future(self._watched(job.job_id, before, doing))
        self.tasks[key].add_done_callback(lambda _: self.tasks.pop(key, None))

    async def _watched(
        self, job_id: str, before: list[asyncio.Task[None]], doing: Callable[[], Awaitable[None]]
    ) -> None:
        """One job's mistake is not the end of the others; a key that is refused is."""
        if before:
            await asyncio.wait(before)
        try:
            await doing()
        except KeyRefused as error:
            if self.refused is not None and not self.refused.done():
                self.refused.set_exception(error)
        except Exception:
            log.exception("job %s", job_id)

    async def _resume(self, entry: Entry) -> None:
        if entry.job.is_order:
            await self.orders.resume(entry)
        elif entry.report is not None:
            await self._report(Lease(self.client, self.path, entry.job), entry.report)
        else:
            # It may be done again: begin anew if it is still ours.
            await self._plain(entry.job)

    async def _plain(self, job: Job) -> None:
        """Do a job that may be repeated."""
        lease = self.held[job.job_id] = Lease(self.client, self.path, job)
        kept = job.job_type in PROGRAM_JOBS
        if kept:
            self.journal.received(job)
        try:
            await lease.start()
        except Lost as error:
            log.info("job %s: not begun: %s", job.job_id, error)
            del self.held[job.job_id]
            if kept:
                self.journal.dropped(job, error.answer)
            return
        report = await self._do(lease)
        del self.held[job.job_id]
        if report is not None:
            if kept:
                self.journal.outcome(job, report)
            await self._report(lease, report)

    async def _do(self, lease: Lease) -> Report | None:
        """Do it while the lease lasts; None where it was lost on the way."""
        doing = asyncio.ensure_future(self._hands(lease.job)(lease.job))
        try:
            async with lease.kept(doing.cancel):
                return await doing
        except Exception:
            log.exception("job %s: a mistake", lease.job.job_id)
            return failed("rejected", "the agent failed")
        except asyncio.CancelledError:
            if not (lease.lost or lease.cancel_reason):
                doing.cancel()
                raise
            log.info("job %s: stopped", lease.job.job_id)
            return None if lease.lost else failed("cancelled", lease.cancel_reason or "cancelled")

    def _hands(self, job: Job) -> Callable[[Job], Awaitable[Report]]:
        if job.job_type in READS:
            return self.reads.do
        return self.programs.do if job.job_type in PROGRAM_JOBS else _unknown_type

    async def _report(self, lease: Lease, report: Report) -> None:
        answer = await lease.report(report)
        log.info("job %s (%s): %s", lease.job.job_id, lease.job.job_type, report.status)
        if not answer.ok:
            log.warning("job %s: the report was answered %d", lease.job.job_id, answer.status)
        if lease.job.job_type in PROGRAM_JOBS:
            self.journal.acked(lease.job, answer.status)


def _readable(texts: Iterable[str]) -> Iterator[Job]:
    """Read jobs; one that cannot be read goes back when its lease runs out."""
    for text in texts:
        try:
            yield read_job(text)
        except Malformed as error:
            log.warning("a job is left: %s", error)


class Refusal(Unreachable):
    """The service answered that it cannot now; `retry_after` in seconds."""

    def __init__(self, message: str, retry_after: float | None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


async def _unknown_type(job: Job) -> Report:
    return failed("invalid_input", f"job_type: this agent knows no {job.job_type}")
