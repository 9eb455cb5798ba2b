"""An order's way through the agent: begun at most once, looked for before it is given up.

What never happens is a second send. `Journal.sent` is on the disk before the terminal is called,
and refuses every later one, under whichever lease; an order that was sent and has no outcome, for
whatever reason, is looked for at the broker by its comment, and reported as unknown when there is
no trace after `trace_seconds`. The search goes on after that, and a late find is reported too.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from forex_agent import wire
from forex_agent.client import Client
from forex_agent.clock import elapsed, utc_now
from forex_agent.gate import Gate, Refused
from forex_agent.hands import Call, Hands, Hung, Rank
from forex_agent.job import Job, Json, Report, failed, unknown
from forex_agent.journal import AlreadySent, Broken, Entry, Journal
from forex_agent.lease import Lease, Lost
from forex_agent.settings import Settings
from forex_agent.terminal import (
    Close,
    Fill,
    NotSent,
    Order,
    Rejected,
    Terminal,
    TerminalError,
    Trace,
    Unknown,
)

log = logging.getLogger("forex_agent.orders")

LOOK_BACK = timedelta(days=7)  # clocks differ and jump, and who sent it may have done so before
TRACE_PAUSES = (0.2, 1.0, 5.0, 30.0)  # seconds between looks: soon at first, then now and then


@dataclass(slots=True)
class _Try:
    """One order in hand: what is sent, when, and the call that did."""

    lease: Lease
    wanted: Order | Close | None = None
    marked: bool = False  # `sent` is in the journal
    noted: bool = False  # the outcome is in the journal
    given_up: bool = False  # nobody waits for the call any more
    sent_after: float | None = None  # seconds from received to the call of the terminal
    call: Call[Report | None] | None = None

    @property
    def job(self) -> Job:
        return self.lease.job


@dataclass(slots=True)
class Orders:
    """Does orders: one task for each, the terminal one after the other."""

    client: Client
    path: str
    hands: Hands
    journal: Journal
    gate: Gate
    settings: Settings
    changed: Callable[[], object]
    """Called when an order may have changed positions and deals."""
    seeking: set[asyncio.Task[None]] = field(default_factory=set)
    """Searches for orders that were reported unknown."""

    async def new(self, job: Job) -> None:
        """Do an order that was just claimed, to the acknowledged report."""
        if self.journal.sent_entry(job.job_id) is not None:
            await self._again(job)
            return
        lease = self._lease(job)
        try:
            repeated = await lease.start()
        except Lost as error:
            # A start whose answer was lost may have begun it: a report keeps it from `unknown`.
            await self._settle(lease, failed("not_sent", f"it could not be begun: {error}"))
            return
        if repeated or job.begun:
            # Begun by a process whose journal is gone: it may have sent it.
            await self._trace_and_report(lease, since=utc_now())
        elif lease.asked_twice or job.lease_epoch > 1:
            # Nothing says that it was sent; but a copy of the folder, or a journal that is lost.
            await self._finish_untraced(lease, since=utc_now())
        else:
            await self._finish(lease)

    async def resume(self, entry: Entry) -> None:
        """Go on with an order that an earlier process left."""
        lease = self._lease(entry.job)
        if entry.report is not None and not entry.acked:
            await self._report(lease, entry.report)
        if entry.report is not None:
            if not entry.report.final:
                self._seek_on(lease, entry.received_at)
        elif entry.sent_at is not None:
            await self._trace_and_report(lease, since=entry.sent_at)
        else:
            await self._resume_unsent(lease, entry)

    def _lease(self, job: Job) -> Lease:
        return Lease(self.client, self.path, job)

    async def _resume_unsent(self, lease: Lease, entry: Entry) -> None:
        """Nothing was sent: do it, if it is still ours, still wanted and really without trace."""
        try:
            await lease.hold()
            await lease.start()
        except Lost as error:
            await self._drop(lease, entry, f"the agent was restarted: {error}")
            return
        if lease.stopped is not None:
            await self._drop(lease, entry, lease.stopped)
        else:
            await self._finish_untraced(lease, since=entry.received_at)

    async def _drop(self, lease: Lease, entry: Entry, why: str) -> None:
        """Report that it was not sent, unless the broker knows better: the journal may be old."""
        found = await self._look(lease.job, entry.received_at)
        await self._settle(lease, found or failed("not_sent", why))

    async def _finish_untraced(self, lease: Lease, since: datetime) -> None:
        """Do the order unless there is a trace of it."""
        try:
            trace = await self._find(lease.job, since)
        except TerminalError as error:
            await self._settle(lease, failed("not_sent", f"it could not be looked for: {error}"))
            return
        if trace.deals or trace.open:
            await self._trace_and_report(lease, since=since)
        else:
            await self._finish(lease)

    async def _again(self, job: Job) -> None:
        """A job came back that was sent before: say again what came of it, and do nothing."""
        entry = self.journal.sent_entry(job.job_id)
        assert entry is not None
        lease = self._lease(job)
        with contextlib.suppress(Lost):  # then the report is not wanted, which its answer says
            await lease.start()
        if entry.report is not None and entry.report.final:
            await self._settle(lease, entry.report)
        else:
            await self._trace_and_report(lease, since=entry.received_at)

    async def _finish(self, lease: Lease) -> None:
        """Do the order and report it."""
        attempt = _Try(lease)
        report = await self._do(lease, attempt)
        if report is None:
            await self._trace_and_report(lease, since=utc_now(), call=attempt.call)
        elif attempt.noted:
            await self._report(lease, report)
        else:
            await self._settle(lease, report)

    async def _settle(self, lease: Lease, report: Report) -> None:
        self._note(lease.job, report)
        await self._report(lease, report)

    def _note(self, job: Job, report: Report) -> bool:
        """Keep the outcome; where that fails it is told all the same."""
        try:
            self.journal.outcome(job, report)
        except Broken as error:
            log.warning("order %s: its outcome cannot be kept: %s", job.job_id, error)
            return False
        return True

    async def _report(self, lease: Lease, report: Report) -> None:
        try:
            answer = await lease.report(report)
        finally:
            self.changed()  # the answer first: somebody waits for it
        log.info(
            "order %s: %s %s, answered %d",
            lease.job.job_id,
            report.status,
            report.output.get("error_code") or report.output.get("outcome") or "",
            answer.status,
        )
        if not answer.ok and answer.status not in {404, 409}:
            log.error("order %s: the report is refused: %s", lease.job.job_id, answer.text)
        with contextlib.suppress(Broken):  # then it is reported again by the next start
            self.journal.acked(lease.job, answer.status)

    # Sending

    async def _do(self, lease: Lease, attempt: _Try) -> Report | None:
        """Send the order; None where nobody can say what came of it."""
        try:
            attempt.wanted = self._wanted(lease.job)
            self.journal.intent(lease.job)
        except wire.InvalidInput as error:
            return failed("invalid_input", str(error))
        except Broken as error:
            return failed("not_sent", str(error))
        for last in [*[False] * self.settings.requotes, True]:
            report = await self._try(lease, attempt, last=last)
            if report is not _REQUOTE:
                return report
        raise AssertionError("the last try has an outcome")

    def _wanted(self, job: Job) -> Order | Close:
        read = wire.close if job.job_type == "close_position" else wire.order
        return read(job, self.settings.deviation)

    async def _try(self, lease: Lease, attempt: _Try, *, last: bool) -> Report | None:
        """Send once; `_REQUOTE` where the price had moved and another try is left."""
        attempt.call = call = self.hands.submit(
            lambda terminal: self._send(terminal, attempt, last=last), Rank.ORDER
        )
        try:
            async with lease.kept(call.future.cancel):
                return await self.hands.outcome(call)
        except asyncio.CancelledError:
            if _ending():
                call.future.cancel()
                raise
            return failed("not_sent", lease.stopped or "it was stopped")
        except TerminalError as error:  # it did not get to it, or hangs in it
            attempt.given_up = True
            return _explained(error, attempt)

    def _send(self, terminal: Terminal, attempt: _Try, *, last: bool) -> Report | None:
        """In the terminal's thread: send once, and keep what came of it, should nobody wait."""
        try:
            fill = self._sent(terminal, attempt)
        except Exception as error:  # noqa: BLE001 - told by _explained
            again = not last and not attempt.given_up
            if again and isinstance(error, Rejected) and error.requote:
                return _REQUOTE
            report = _explained(error, attempt)
        else:
            report = wire.filled(attempt.job, fill, _latency(attempt))
        if report is not None:
            attempt.noted = self._note(attempt.job, report)
        return report

    def _sent(self, terminal: Terminal, attempt: _Try) -> Fill:
        """Take the last look, make the mark on the disk, and the one call."""
        self._last_look(attempt)
        if not attempt.marked:
            self.journal.sent(attempt.job)
            attempt.marked = True
        attempt.sent_after = elapsed() - attempt.job.received
        assert attempt.wanted is not None
        wanted = replace(attempt.wanted, last_look=lambda: self._last_look(attempt))
        if isinstance(wanted, Close):
            return terminal.close_position(wanted)
        return terminal.send(wanted)

    def _last_look(self, attempt: _Try) -> None:
        """Raise `Refused` where the order must not go out; the driver asks once more."""
        if attempt.given_up:
            raise Refused("timeout", "the terminal came to it too late")
        if attempt.lease.stopped is not None:
            raise Refused("not_sent", attempt.lease.stopped)
        self.gate.check(attempt.job)

    # Looking for traces

    async def _trace_and_report(
        self, lease: Lease, *, since: datetime, call: Call[Report | None] | None = None
    ) -> None:
        """Look for the order for a while, report what is known, and go on looking."""
        until = elapsed() + self.settings.trace_seconds
        async with lease.kept(at_once=True):
            report = await self._trace(lease.job, since, until, call)
        if report is not None:
            await self._settle(lease, report)
            return
        await self._settle(lease, unknown("the order was sent, and there is no trace of it yet"))
        self._seek_on(lease, since, call)

    def _seek_on(
        self, lease: Lease, since: datetime, call: Call[Report | None] | None = None
    ) -> None:
        """Go on looking beside the work, as long as the agent runs."""
        task = asyncio.create_task(self._seek(lease, since, call))
        self.seeking.add(task)
        task.add_done_callback(self._sought)

    def _sought(self, task: asyncio.Task[None]) -> None:
        self.seeking.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a search ended: %s", error)  # the journal has it for the next start

    async def _seek(self, lease: Lease, since: datetime, call: Call[Report | None] | None) -> None:
        """Look for an order that was reported unknown; report a late find."""
        hours = timedelta(hours=self.settings.trace_hours)
        left = (since + hours - utc_now()).total_seconds()
        report = await self._trace(lease.job, since, elapsed() + left, call)
        if report is not None:
            await self._settle(lease, report)
        else:
            log.error("order %s stays unknown: look at the broker", lease.job.job_id)
            self.journal.gave_up(lease.job)

    async def _trace(
        self, job: Job, since: datetime, until: float, call: Call[Report | None] | None
    ) -> Report | None:
        """Look until there is a trace; None where there is none by then.

        `call` is the one that sent the order: should it come back after all, it knows best.
        """
        looks = 0
        while True:
            report = _late(call) or await self._look(job, since)
            if report is not None:
                return report
            pause = TRACE_PAUSES[min(looks // 5, len(TRACE_PAUSES) - 1)]
            looks += 1
            if elapsed() + pause > until:
                return None
            await asyncio.sleep(pause)

    async def _look(self, job: Job, since: datetime) -> Report | None:
        try:
            trace = await self._find(job, since)
        except TerminalError as error:
            log.warning("order %s: the search failed: %s", job.job_id, error)
            return None
        if trace.deals and not trace.sure:
            numbers = ", ".join(deal.deal_id for deal in trace.deals)
            log.warning("order %s: deal %s may be it: look at the broker", job.job_id, numbers)
            return None
        return None if trace.open else wire.found(job, trace.deals)

    async def _find(self, job: Job, since: datetime) -> Trace:
        return await self.hands.call(
            lambda terminal: terminal.find(job.comment, since - LOOK_BACK), Rank.TRACE
        )


_REQUOTE = failed("requote", "the price has moved")


def _explained(error: Exception, attempt: _Try) -> Report | None:
    """Return the report that an error is; None where the order may have been done."""
    if isinstance(error, Rejected):
        return _rejected(error)
    if isinstance(error, NotSent):
        return failed(error.code, str(error))
    if isinstance(error, Unknown | Hung | AlreadySent):
        log.warning("order %s: %s", attempt.job.job_id, error)
        return None
    log.error("order %s: a mistake", attempt.job.job_id, exc_info=error)
    return None if attempt.marked else failed("not_sent", "the agent failed")


def _late(call: Call[Report | None] | None) -> Report | None:
    """Return what a call that had hung brought in the end, if it says anything for certain."""
    if call is None or not call.future.done() or call.future.cancelled():
        return None
    return call.future.result()


def _ending() -> bool:
    """Tell whether it is this task that is to end, and not what it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _rejected(error: Rejected) -> Report:
    code = "requote" if error.requote else error.code
    return failed(code, str(error), retcode=error.retcode, retcode_name=error.retcode_name)


def _latency(attempt: _Try) -> Json:
    whole = elapsed() - attempt.job.received
    sent = whole if attempt.sent_after is None else attempt.sent_after
    return {"queued_ms": _ms(sent), "sent_ms": _ms(whole - sent), "filled_ms": _ms(whole)}


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
