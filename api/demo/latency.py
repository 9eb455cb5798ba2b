"""How long each step took, as a table."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from api.demo.evidence import Evidence, Job
from api.demo.orders import Placed


@dataclass(frozen=True, slots=True)
class Latency:
    """A step's milliseconds, of so many orders or ticks."""

    step: str
    count: int
    p50: float
    p95: float
    max: float


def latency(step: str, values: Sequence[float]) -> Latency:
    """Sum the values up, in milliseconds; by the nearest rank."""
    ordered = sorted(values) or [0.0]
    p95 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    rounded = (round(value, 1) for value in (statistics.median(ordered), p95, ordered[-1]))
    return Latency(step, len(values), *rounded)


def table(evidence: Evidence) -> list[Latency]:
    """Return the steps of orders in their order, of alerts, and of ticks.

    Of the orders those count that were placed while nobody was dead: filled at once, asked once;
    of the alerts' fills those of that time.
    """
    trips = [_trip(evidence, *one) for one in calm(evidence)]
    steps = ("received → claimed", "claimed → sent", "sent → filled", "filled → answered")
    columns = [[trip[number] for trip in trips] for number in range(len(steps) + 1)]
    rows = [latency(step, column) for step, column in zip(steps, columns, strict=False)]
    ticks = [
        tick.at - tick.ts for one in evidence.watchers for tick in one.ticks if not tick.snapshot
    ]
    return [
        *rows,
        latency("order, as its user sees it", columns[-1]),
        latency("alert → answered", list(_answered(evidence))),
        latency("alert → filled", list(_filled(evidence))),
        latency("tick: push → WebSocket", ticks),
    ]


def calm(evidence: Evidence) -> Iterator[tuple[Placed, Job]]:
    """Yield the orders that were answered at their first call, before anybody was killed."""
    for placed in evidence.placed:
        job = evidence.jobs.get(placed.order_id)
        before = placed.answered_at < evidence.quiet_until
        if job and job.finished_at and before and placed.status in {"filled", "closed"}:
            yield placed, job


def _answered(evidence: Evidence) -> Iterator[float]:
    for posted in evidence.posted:
        yield 1000 * (posted.answered_at - posted.sent_at)


def _filled(evidence: Evidence) -> Iterator[float]:
    """Yield the milliseconds from an alert to its deal in the terminal's book."""
    trades = {job.parent_id: job for job in evidence.jobs.values() if job.job_type == "trade"}
    for posted, signal in evidence.followed():
        before = posted.answered_at < evidence.quiet_until
        if before and signal and signal.status == "executed" and signal.id in trades:
            yield 1000 * (evidence.filled_at(trades[signal.id]) - posted.sent_at)


def _trip(evidence: Evidence, placed: Placed, job: Job) -> tuple[float, ...]:
    """Return the milliseconds of each step and of the whole.

    "Filled" is when the terminal's book has the deal; all clocks are this machine's.
    """
    assert job.claimed_at is not None
    assert job.started_at is not None
    filled = evidence.filled_at(job)
    marks = (job.created_at, job.claimed_at, job.started_at, filled, placed.answered_at)
    steps = [later - earlier for earlier, later in pairwise(marks)]
    return tuple(1000 * step for step in (*steps, placed.answered_at - placed.asked_at))
