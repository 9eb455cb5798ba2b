"""Tells a program's callback what was counted: once per call, and never so that work suffers."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from jobengine import logs, metrics
from jobengine.metrics import Metric, OnMetric
from jobengine.records import (
    Enqueued,
    Extended,
    Finished,
    Job,
    Pruned,
    Released,
    Report,
    Started,
    Swept,
)

log = logging.getLogger("jobengine.metrics")
T = TypeVar("T")


class Meter:
    """Counts the answers of calls; exists only where there is a callback."""

    def __init__(self, on_metric: OnMetric) -> None:
        """Nothing is held yet."""
        self._on_metric = on_metric
        self._failed = False
        self._held = 0
        self._runs: dict[str, tuple[int, float]] = {}

    def add(self, metric: Metric, value: float, *labels: str) -> None:
        """Tell one value; the labels are those of the metric, in its order."""
        try:
            self._on_metric(metric.name, value, dict(zip(metric.labels, labels, strict=True)))
        except Exception as error:  # noqa: BLE001 - whatever a callback does, work goes on
            if not self._failed:
                self._failed = True
                logs.emit(log, logs.ON_METRIC_FAILED, error, metric=metric.name)

    def enqueued(self, job_types: Sequence[str], answers: Sequence[Enqueued]) -> None:
        """Count what `enqueue` answered; both in the order of the items."""
        self._each(
            metrics.ENQUEUED,
            ((job_type, a.verdict) for job_type, a in zip(job_types, answers, strict=True)),
        )

    def claimed(self, jobs: Iterable[Job]) -> None:
        """Count what `claim` gave."""
        self._each(metrics.CLAIMED, ((job.queue,) for job in jobs))

    def finished(
        self, job_types: Iterable[str], reports: Sequence[Report], answers: Sequence[Finished]
    ) -> None:
        """Count what `finish` answered; all three in the order of the items."""
        self.ended(
            (job_type, report.outcome, answer.verdict)
            for job_type, report, answer in zip(job_types, reports, answers, strict=True)
        )

    def ended(self, ends: Iterable[tuple[str, str, str]]) -> None:
        """Count ends of jobs, each a job type, an outcome and a verdict."""
        self._each(metrics.FINISHED, ends)

    def leases(self, answers: Iterable[Started | Extended]) -> None:
        """Count what `extend` or `start` answered."""
        for answer, count in Counter((type(a), a.verdict) for a in answers).items():
            if answer == (Extended, "ok"):
                self.add(metrics.EXTENDED, count)
            elif answer[1] not in {"ok", "duplicate"}:
                self.add(metrics.LEASES_LOST, count)

    def released(self, answers: Iterable[Released]) -> None:
        """Count what `release` took back."""
        self._some(metrics.RELEASED, sum(answer.verdict == "ok" for answer in answers))

    def swept(self, swept: Swept) -> None:
        """Count what a sweep did."""
        for what in ("returned", "ended", "settled"):
            self._some(metrics.SWEPT, getattr(swept, what), what)

    def pruned(self, pruned: Pruned) -> None:
        """Count what a prune removed."""
        self._some(metrics.PRUNED, pruned.pruned)

    def retried(self, call: str) -> None:
        """Count a call that is made again."""
        self.add(metrics.RETRIED_CALLS, 1, call)

    def reconnected(self) -> None:
        """Count a listener that is back."""
        self.add(metrics.LISTENER_RECONNECTS, 1)

    def held(self, change: int) -> None:
        """Tell how many jobs are held, now that there are so many more or fewer."""
        if change:
            self._held += change
            self.add(metrics.JOBS_HELD, self._held)

    def timed(
        self, job_type: str, handler: Callable[[T], Awaitable[object]]
    ) -> Callable[[T], Awaitable[object]]:
        """Return the handler with a clock around it; `tell_runs` tells what the clock said."""

        async def run(work: T) -> object:
            began = time.perf_counter()
            try:
                return await handler(work)
            finally:
                runs, seconds = self._runs.get(job_type, (0, 0.0))
                self._runs[job_type] = runs + 1, seconds + time.perf_counter() - began

        return run

    def tell_runs(self) -> None:
        """Tell the handlers' runs and times since the last call."""
        told, self._runs = self._runs, {}
        for job_type, (runs, seconds) in told.items():
            self.add(metrics.HANDLER_RUNS, runs, job_type)
            self.add(metrics.HANDLER_SECONDS, seconds, job_type)

    def _each(self, metric: Metric, labels: Iterable[tuple[str, ...]]) -> None:
        for found, count in Counter(labels).items():
            self.add(metric, count, *found)

    def _some(self, metric: Metric, count: int, *labels: str) -> None:
        if count:
            self.add(metric, count, *labels)
