"""Reports what became of jobs: what comes together while one batch is under way is the next."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

from jobengine import logs
from jobengine._book import Book, HeldJob
from jobengine._retrying import persistently
from jobengine.engine import JobEngine
from jobengine.errors import InvalidArgument
from jobengine.records import Finished, Report, Verdict

log = logging.getLogger("jobengine.worker")

_BATCH = 1000


class Reporter:
    """Sends reports until they are acknowledged, whatever happens to the server meanwhile."""

    def __init__(self, engine: JobEngine, book: Book, agent_id: str) -> None:
        """Jobs leave the book when their report is acknowledged."""
        self._engine = engine
        self._agent_id = agent_id
        self._book = book
        self._reports: list[tuple[HeldJob, Report]] = []
        self._came = asyncio.Event()
        self._acknowledged = asyncio.Event()
        self._acknowledged.set()

    def ended(self, held: HeldJob, report: Report | None) -> None:
        """Take what became of a job; None: nothing that this worker could report."""
        if report is not None:
            held.reported = True
            held.extended()  # only where the report is not acknowledged meanwhile
            if not self._reports:  # else both stand so already; this is called for every job
                self._acknowledged.clear()
                self._came.set()
            self._reports.append((held, report))
        elif held.stopped_because != "drained":  # what is drained is given back
            self._book.remove(held)

    async def flush(self) -> None:
        """Wait until every report that was taken is acknowledged."""
        await self._acknowledged.wait()

    async def run(self) -> None:
        """Send, for ever."""
        while True:
            await self._came.wait()
            batch, self._reports = self._reports[:_BATCH], self._reports[_BATCH:]
            if not self._reports:
                self._came.clear()
            await self._send(batch)
            if not self._reports:
                self._acknowledged.set()

    async def _send(self, batch: list[tuple[HeldJob, Report]]) -> None:
        job_types = [held.job_type for held, _ in batch]
        reports = [report for _, report in batch]
        verdicts = await persistently(
            lambda: self._finish(job_types, reports), "finish", meter=self._engine.meter
        )
        assert verdicts is not None
        for item, ((held, _), report) in enumerate(zip(batch, reports, strict=True), 1):
            self._book.remove(held)
            if report.outcome != "completed" or item in verdicts:
                self._log(held, report, verdicts.get(item, "ok"))
        self._book.tell(self._engine.meter)

    async def _finish(self, job_types: Sequence[str], reports: list[Report]) -> dict[int, Verdict]:
        """Return the verdicts that are not `ok`, by item."""
        answers = await self._call(reports)
        verdicts: dict[int, Verdict] = {a.item: a.verdict for a in answers if a.verdict != "ok"}
        if self._engine.meter is not None:
            self._engine.meter.ended(
                (job_type, report.outcome, verdicts.get(item, "ok"))
                for item, (job_type, report) in enumerate(zip(job_types, reports, strict=True), 1)
            )
        return verdicts

    async def _call(self, reports: list[Report]) -> Sequence[Finished]:
        """Finish; a report that breaks a rule is replaced by one that says so."""
        while True:
            try:
                return await self._engine.finish_own(reports)
            except InvalidArgument as error:
                if error.item is None:
                    raise
                reports[error.item - 1] = _broken(reports[error.item - 1], error)

    def _log(self, held: HeldJob, report: Report, verdict: Verdict) -> None:
        """Say what is worth a word; a `duplicate` is our own report, whose answer was lost."""
        who = {"agent_id": self._agent_id, **held.names}
        if verdict not in {"ok", "retried", "duplicate", "settle_failed"}:
            end = {"outcome": report.outcome, "verdict": verdict}
            logs.emit(log, logs.FINISH_REFUSED, **who, **end)
            return
        if verdict == "settle_failed":
            logs.emit(log, logs.SETTLE_FAILED, **who, outcome=report.outcome)
        fields = {
            **who,
            "error_code": report.error_code,
            "error": _last_line(report.error_message or ""),
            "held_seconds": time.monotonic() - held.claimed,
            "verdict": verdict,
        }
        if report.outcome == "failed":
            logs.emit(log, logs.JOB_FAILED, **fields, max_attempts=held.job.max_attempts)
        elif report.outcome == "rejected":
            logs.emit(log, logs.JOB_REJECTED, **fields)


def _last_line(text: str) -> str:
    """Return the line of a traceback that says most."""
    return text.rstrip().rpartition("\n")[2][:200]


def _broken(report: Report, error: InvalidArgument) -> Report:
    return Report(
        job_id=report.job_id,
        lease_epoch=report.lease_epoch,
        outcome="rejected",
        error_code=f"invalid_{error.field}",
        error_message=str(error),
    )
