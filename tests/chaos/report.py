"""What a run came to, as a table for people and as JSON for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from tests.history import History, Reported


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Figures of one run; times in seconds."""

    seed: int
    profile: str
    seconds: float
    faults: dict[str, int]
    operations: dict[str, int]
    jobs: int
    parents: int
    moves: int
    redeliveries: int
    stale: int
    interruptions: int
    recovery_median: float | None
    recovery_worst: float | None
    recoveries: int
    drain: float
    violations: list[str]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def lines(self) -> list[str]:
        """Return a small table."""
        rows = {
            "seed, profile, nemesis": f"{self.seed}, {self.profile}, {self.seconds:g} s",
            "faults": _counts(self.faults),
            "operations judged": _counts(self.operations),
            "jobs": f"{self.jobs} in {self.moves} moves, {self.parents} parents",
            "redeliveries": str(self.redeliveries),
            "stale reports refused": str(self.stale),
            "recovery": self._recovery(),
            "drain": f"{self.drain:.1f} s",
            "violations": str(len(self.violations)),
        }
        return [f"{name:>22}  {value}" for name, value in rows.items()]

    def _recovery(self) -> str:
        if self.recovery_median is None:
            return "nothing interrupted the work"
        return (
            f"median {self.recovery_median:.2f} s, worst {self.recovery_worst:.2f} s"
            f" of {self.recoveries}"
        )


def _counts(counted: dict[str, int]) -> str:
    each = ", ".join(f"{name} {count}" for name, count in sorted(counted.items()))
    return f"{sum(counted.values())}: {each}"


def operations(history: History) -> dict[str, int]:
    """Count what was judged, item by item."""
    ends = ("start", "extend", "release")
    return dict(
        Counter(
            [
                *("enqueue" for _ in history.enqueued),
                *("claim" for _ in history.claimed),
                *(r.outcome if r.outcome in ends else "finish" for r in history.reported),
                *(order.what for order in history.ordered),
            ]
        )
    )


def redeliveries(history: History) -> int:
    """Count the leases that were not their job's first."""
    return len({(claim.job, claim.epoch) for claim in history.claimed if claim.epoch > 1})


def stale(reported: Iterable[Reported]) -> int:
    """Count the reports of holders who had lost their lease."""
    return sum(report.verdict == "stale_lease" for report in reported)


def recoveries(interruptions: Iterable[tuple[str, float]], history: History) -> list[float]:
    """Return how long it took from each interruption to the next job that was finished.

    Only a report that was begun after it counts.
    """
    finishes = sorted(
        (report.asked, report.answered)
        for report in history.reported
        if report.accepted and report.status == "completed"
    )
    found = []
    for _, began in interruptions:
        later = [answered for asked, answered in finishes if asked > began]
        if later:
            found.append(min(later) - began)
    return found


def middle(seconds: list[float]) -> tuple[float | None, float | None]:
    """Return median and worst."""
    return (median(seconds), max(seconds)) if seconds else (None, None)
