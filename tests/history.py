"""Judges what agents saw and said against what the tables say in the end, trusting neither.

The history is what every agent wrote down by itself: which leases it was given, between which two
moments, and what it reported. Moments are of one monotonic clock that all processes share.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Claimed:
    """An agent was given a lease, some time between `asked` and `answered`."""

    agent: str
    job: str
    epoch: int
    seconds: float
    asked: float
    answered: float


@dataclass(frozen=True, slots=True)
class Reported:
    """An agent reported; without an answer (it was killed) nobody knows whether it was heard."""

    agent: str
    job: str
    epoch: int
    outcome: str
    asked: float
    verdict: str | None = None
    status: str | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """A job's end in the tables, and how many rows of ready, lease and ended it has."""

    job: str
    status: str | None
    epoch: int
    attempt: int
    max_attempts: int
    reporter: str | None
    places: int
    settles: int


def violations(
    enqueued: Iterable[str],
    claims: Iterable[Claimed],
    reports: Iterable[Reported],
    ended: Iterable[Ended],
) -> list[str]:
    """Name every broken invariant; an empty list means that the history is right."""
    claims, reports, ends = list(claims), list(reports), {end.job: end for end in ended}
    return [
        *_lost_jobs(enqueued, ends),
        *_double_claims(claims, reports),
        *_stale_effects(reports, ends),
        *_wrong_ends(reports, ends),
    ]


def _lost_jobs(enqueued: Iterable[str], ends: dict[str, Ended]) -> list[str]:
    enqueued = set(enqueued)
    return [
        *(f"no_lost_job: {job} is gone" for job in sorted(enqueued - ends.keys())),
        *(f"no_lost_job: {job} was never enqueued" for job in sorted(ends.keys() - enqueued)),
        *(f"no_lost_job: {e.job} is in {e.places} tables" for e in ends.values() if e.places != 1),
        *(f"no_lost_job: {e.job} has not ended" for e in ends.values() if e.status is None),
    ]


def _double_claims(claims: list[Claimed], reports: list[Reported]) -> list[str]:
    """Find leases that were given while another was live for certain."""
    said: defaultdict[tuple[str, int], float] = defaultdict(lambda: float("inf"))
    for report in reports:
        key = (report.job, report.epoch)
        said[key] = min(said[key], report.asked)
    by_job: defaultdict[str, list[Claimed]] = defaultdict(list)
    for claim in claims:
        by_job[claim.job].append(claim)
    found = []
    for job, given in by_job.items():
        given.sort(key=lambda claim: claim.epoch)
        for first, second in pairwise(given):
            if first.epoch == second.epoch:
                found.append(f"no_double_claim: {job} epoch {first.epoch} was given twice")
            elif second.answered < min(first.asked + first.seconds, said[first.job, first.epoch]):
                found.append(f"no_double_claim: {job} epoch {second.epoch} overlaps the one before")
    return found


def _stale_effects(reports: list[Reported], ends: dict[str, Ended]) -> list[str]:
    """Find ends that come from a report which was refused, or from a lease that is not the last."""
    found = []
    for report in reports:
        end = ends.get(report.job)
        if end is None:
            continue
        mine = end.reporter == f"{report.agent}/{report.epoch}"
        if mine and report.verdict in {"stale_lease", "conflict", "not_found"}:
            found.append(f"no_stale_effect: {report.job} shows a report that was refused")
        if mine and report.epoch != end.epoch:
            found.append(f"no_stale_effect: {report.job} ended by epoch {report.epoch}")
    return found


def _wrong_ends(reports: list[Reported], ends: dict[str, Ended]) -> list[str]:
    accepted = Counter(
        report.job for report in reports if report.verdict == "ok" and report.status != "pending"
    )
    found = [f"one end: {job} was accepted {n} times" for job, n in accepted.items() if n > 1]
    for report in reports:
        end = ends.get(report.job)
        if (
            report.verdict == "ok"
            and end
            and (report.status, report.epoch)
            != (
                end.status,
                end.epoch,
            )
        ):
            found.append(f"one end: {report.job} ended otherwise than was acknowledged")
    for end in ends.values():
        if end.attempt > end.max_attempts:
            found.append(f"attempts: {end.job} had {end.attempt} of {end.max_attempts}")
        if end.settles != 1:
            found.append(f"settled_equals_ended: {end.job} was settled {end.settles} times")
    return found
