"""Judges what agents saw and said against what the tables say in the end, trusting neither.

Every agent writes its own file, a line before and a line after each call, so that a call whose
answer nobody saw is known too. Times are of one monotonic clock that all processes share:

    {"call": "a/7", "op": "finish", "asked": 3.1, "items": [["<job>", 2, "completed"]]}
    {"call": "a/7", "answered": 3.2, "items": [["ok", "completed"]]}

`op` is one of enqueue (asked: keys; answered: verdict, job), claim (answered: job, epoch, attempt,
lease seconds) and report (asked: job, epoch, outcome; answered: verdict, status), where an outcome
is one of finish, or start, extend, release.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

NEVER = float("inf")
KEEPS = ("start", "extend")  # what leaves the lease with its holder
ACCEPTED = ("ok", "retried", "settle_failed")


@dataclass(frozen=True, slots=True)
class Enqueued:
    """A job was put in under a key; without a job nobody knows whether it is there."""

    key: str
    job: str | None = None


@dataclass(frozen=True, slots=True)
class Claimed:
    """A lease was given some time between `asked` and `answered`."""

    call: str
    job: str
    epoch: int
    attempt: int
    seconds: float
    asked: float
    answered: float


@dataclass(frozen=True, slots=True)
class Reported:
    """A holder spoke of its lease; without a verdict nobody knows whether it was heard."""

    token: str  # in the job's output or error, where the report had an effect
    job: str
    epoch: int
    outcome: str
    asked: float
    verdict: str | None = None
    status: str | None = None

    @property
    def accepted(self) -> bool:
        return self.verdict in ACCEPTED


@dataclass(frozen=True, slots=True)
class Final:
    """Where a job is in the end, by the tables."""

    job: str
    key: str
    places: int = 1  # rows in ready, lease and ended
    status: str | None = "completed"  # None: it has not ended
    epoch: int = 1
    attempt: int = 1
    max_attempts: int = 5
    token: str | None = None  # of the report that ended it
    failures: tuple[str, ...] = ()  # tokens of the failures that holders reported
    settled: Mapping[str, int] = field(default_factory=dict)  # what its parent counts, by status
    unsettled: bool = False  # listed as not settled yet


@dataclass(slots=True)
class History:
    """What all agents wrote."""

    enqueued: list[Enqueued] = field(default_factory=list)
    claimed: list[Claimed] = field(default_factory=list)
    reported: list[Reported] = field(default_factory=list)


def read(folder: Path) -> History:
    """Read the agents' files; a last line that was cut off by a kill is left out."""
    history = History()
    for file in sorted(folder.glob("*.jsonl")):
        calls: dict[str, dict[str, Any]] = {}
        for line in file.read_text().splitlines(keepends=True):
            if line.endswith("\n"):
                record = json.loads(line)
                calls.setdefault(record["call"], {})[
                    "answer" if "answered" in record else "ask"
                ] = record
        for name, call in calls.items():
            _add(history, name, call["ask"], call.get("answer"))
    return history


def _add(history: History, name: str, ask: dict[str, Any], answer: dict[str, Any] | None) -> None:
    items = ask["items"]
    answers: list[Any] = answer["items"] if answer else [[None, None]] * len(items)
    match ask["op"]:
        case "enqueue":
            history.enqueued += [
                Enqueued(key, job) for key, (_, job) in zip(items, answers, strict=True)
            ]
        case "claim" if answer:
            history.claimed += [
                Claimed(name, job, epoch, attempt, seconds, ask["asked"], answer["answered"])
                for job, epoch, attempt, seconds in answers
            ]
        case "report":
            history.reported += [
                Reported(f"{name}/{place}", job, epoch, outcome, ask["asked"], verdict, status)
                for place, ((job, epoch, outcome), (verdict, status)) in enumerate(
                    zip(items, answers, strict=True)
                )
            ]


def violations(history: History, finals: Iterable[Final]) -> list[str]:
    """Name every broken invariant; an empty list means that the history is right."""
    by_job = {final.job: final for final in finals}
    leases = _leases(history.claimed)
    return [
        *_no_lost_job(history.enqueued, by_job),
        *_one_job_per_key(history.enqueued, by_job),
        *_no_double_claim(leases, history.reported),
        *_no_stale_effect(leases, history.reported, by_job),
        *_one_end(history.reported, by_job),
        *_attempts(history.claimed, by_job),
        *_settled_equals_ended(by_job),
    ]


def _no_lost_job(enqueued: list[Enqueued], finals: dict[str, Final]) -> Iterator[str]:
    acknowledged = {entry.job for entry in enqueued if entry.job is not None}
    keys = {entry.key for entry in enqueued}
    for job in sorted(acknowledged - finals.keys()):
        yield f"no_lost_job: {job} is gone"
    for final in finals.values():
        if final.key not in keys:
            yield f"no_lost_job: {final.job} was never enqueued"
        if final.places != 1:
            yield f"no_lost_job: {final.job} is in {final.places} tables"
        if final.status is None:
            yield f"no_lost_job: {final.job} has not ended"


def _one_job_per_key(enqueued: list[Enqueued], finals: dict[str, Final]) -> Iterator[str]:
    jobs: defaultdict[str, set[str]] = defaultdict(set)
    for key, job in [(entry.key, entry.job) for entry in enqueued] + [
        (final.key, final.job) for final in finals.values()
    ]:
        jobs[key] |= {job} if job else set()
    for key, found in jobs.items():
        if len(found) > 1:
            yield f"one_job_per_key: {key} has {len(found)}"


def _leases(claimed: list[Claimed]) -> dict[str, list[Claimed]]:
    """Return the leases of each job, by epoch."""
    leases: defaultdict[str, list[Claimed]] = defaultdict(list)
    for claim in sorted(claimed, key=lambda claim: claim.epoch):
        leases[claim.job].append(claim)
    return leases


def _no_double_claim(leases: dict[str, list[Claimed]], reported: list[Reported]) -> Iterator[str]:
    """Find leases that were given while the one before was live for certain."""
    kept: defaultdict[tuple[str, int], list[float]] = defaultdict(list)
    left: defaultdict[tuple[str, int], list[float]] = defaultdict(list)
    for report in reported:
        lease = (report.job, report.epoch)
        if report.accepted and report.outcome in KEEPS:
            kept[lease].append(report.asked)
        elif report.verdict is None or report.accepted:
            left[lease].append(report.asked)
    for job, given in leases.items():
        for first, second in pairwise(given):
            lease = (job, first.epoch)
            runs_out = max([first.asked, *kept[lease]]) + first.seconds
            if first.epoch == second.epoch:
                yield f"no_double_claim: {job} epoch {first.epoch} was given twice"
            elif second.answered < min([runs_out, *left[lease]]):
                yield f"no_double_claim: {job} epoch {second.epoch} came while the last was live"


def _no_stale_effect(
    leases: dict[str, list[Claimed]], reported: list[Reported], finals: dict[str, Final]
) -> Iterator[str]:
    for report in reported:
        newer = [claim for claim in leases.get(report.job, []) if claim.epoch > report.epoch]
        if report.accepted and any(claim.answered < report.asked for claim in newer):
            yield f"no_stale_effect: {report.job} heard epoch {report.epoch} after a newer lease"
        final = finals.get(report.job)
        refused = report.verdict is not None and not report.accepted
        if final and refused and report.token in (final.token, *final.failures):
            yield f"no_stale_effect: {report.job} shows a report that was refused"
        if final and report.token == final.token and report.epoch != final.epoch:
            yield f"no_stale_effect: {report.job} was ended by epoch {report.epoch}"


def _one_end(reported: list[Reported], finals: dict[str, Final]) -> Iterator[str]:
    """Find ends that were acknowledged and are not there, or are not the only one."""
    ends: defaultdict[str, list[Reported]] = defaultdict(list)
    for report in reported:
        if report.accepted and report.status not in (None, "pending", "unknown"):
            ends[report.job].append(report)
        final = finals.get(report.job)
        failed = final is not None and report.accepted and report.outcome == "failed"
        if final and failed and report.token not in (final.token, *final.failures):
            yield f"one_end: {report.job} forgot a failure that was acknowledged"
    for job, reports in ends.items():
        if len(reports) > 1:
            yield f"one_end: {job} was accepted {len(reports)} times"
        if job in finals:
            final = finals[job]
            here = (final.status, final.epoch, final.token)
            if any((r.status, r.epoch, r.token) != here for r in reports):
                yield f"one_end: {job} ended otherwise than was acknowledged"


def _attempts(claimed: list[Claimed], finals: dict[str, Final]) -> Iterator[str]:
    spent = {final.job: final.attempt for final in finals.values()}
    for claim in claimed:
        spent[claim.job] = max(spent.get(claim.job, 0), claim.attempt)
    for final in finals.values():
        if spent[final.job] > final.max_attempts:
            yield f"attempts: {final.job} had {spent[final.job]} of {final.max_attempts}"


def _settled_equals_ended(finals: dict[str, Final]) -> Iterator[str]:
    for final in finals.values():
        expected = {} if final.status is None else {final.status: 1}
        settled = {status: count for status, count in final.settled.items() if count}
        if settled != expected and not final.unsettled:
            yield f"settled_equals_ended: {final.job} is {final.status}, its parent has {settled}"
