"""Reports what became of jobs: what comes together while one batch is under way is the next."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from jobengine._book import Book, HeldJob
from jobengine._retrying import persistently
from jobengine.engine import JobEngine
from jobengine.errors import InvalidArgument
from jobengine.records import Finished, Report

log = logging.getLogger("jobengine.worker")

_BATCH = 1000


class Reporter:
    """Sends reports until they are acknowledged, whatever happens to the server meanwhile."""

    def __init__(self, engine: JobEngine, book: Book) -> None:
        """Jobs leave the book when their report is acknowledged."""
        self._engine = engine
        self._book = book
        self._reports: list[tuple[HeldJob, Report]] = []
        self._came = asyncio.Event()
        self._acknowledged = asyncio.Event()
        self._acknowledged.set()

    def report(self, held: HeldJob, report: Report) -> None:
        """Take a report to send."""
        held.reported = True
        self._reports.append((held, report))
        self._acknowledged.clear()
        self._came.set()

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
        reports = [report for _, report in batch]
        answers = await persistently(lambda: self._finish(reports), "finish")
        for (held, _), answer in zip(batch, answers or (), strict=True):
            self._book.remove(held)
            if answer.verdict not in {"ok", "retried"}:
                fields = {"job_id": answer.job_id, "verdict": answer.verdict}
                log.warning("finish of job %s: %s", *fields.values(), extra=fields)

    async def _finish(self, reports: list[Report]) -> Sequence[Finished]:
        """Finish; a report that breaks a rule is replaced by one that says so."""
        while True:
            try:
                return await self._engine.finish(reports)
            except InvalidArgument as error:
                if error.item is None:
                    raise
                reports[error.item - 1] = _broken(reports[error.item - 1], error)


def _broken(report: Report, error: InvalidArgument) -> Report:
    return Report(
        job_id=report.job_id,
        lease_epoch=report.lease_epoch,
        outcome="rejected",
        error_code=f"invalid_{error.field}",
        error_message=str(error),
    )
