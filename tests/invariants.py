"""Judges what agents saw and said against what the tables say in the end, trusting neither.

The rules are the invariants of the engine, under their names; each yields a line per break.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from tests.history import (
    LIVE,
    Audit,
    Claimed,
    Enqueued,
    Final,
    History,
    Move,
    Ordered,
    Parent,
    Reported,
)

KEEPS = ("start", "extend")  # what leaves the lease with its holder
RETRIABLE = ("failed", "cancelled", "expired")


def violations(history: History, finals: Iterable[Final], audit: Audit | None = None) -> list[str]:
    """Name every broken invariant; an empty list means that the history is right."""
    tables = audit or Audit()
    by_job = {final.job: final for final in finals}
    leases = _leases(history.claimed)
    orders = _orders(history.ordered)
    return [
        *_no_lost_job(history.enqueued, by_job),
        *_one_job_per_key(history.enqueued, by_job),
        *_no_double_claim(leases, history.reported, orders),
        *_at_most_once(leases, history.reported, by_job, orders),
        *_no_stale_effect(leases, history.reported, by_job),
        *_refused_has_no_effect(history.reported, by_job),
        *_one_end(history.reported, by_job, orders),
        *_orders_were_heard(orders, by_job),
        *_attempts(history.claimed, by_job),
        *_settled_equals_ended(by_job),
        *_parents_equal_ended(tables.parents, by_job),
        *_repeats_tell_all(history.claimed, tables.moves, orders),
        *_kept_by_the_holder(history.reported, tables.kept),
        *_legal_moves(tables.moves, tables.steps),
        *_one_live_job_per_key(tables.moves, by_job),
    ]


def _no_lost_job(enqueued: list[Enqueued], finals: dict[str, Final]) -> Iterator[str]:
    acknowledged = {entry.job for entry in enqueued if entry.job is not None}
    keys = {entry.key for entry in enqueued if not entry.rolled_back}
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
    """Find keys with several jobs; a live key may have one after the other."""
    jobs: defaultdict[str, set[str]] = defaultdict(set)
    for key, job in [(entry.key, entry.job) for entry in enqueued] + [
        (final.key, final.job) for final in finals.values()
    ]:
        jobs[key] |= {job} if job else set()
    for key, found in jobs.items():
        if len(found) > 1 and not key.startswith(LIVE):
            yield f"one_job_per_key: {key} has {len(found)}"


def _leases(claimed: list[Claimed]) -> dict[str, list[Claimed]]:
    """Return the leases of each job, by epoch."""
    leases: defaultdict[str, list[Claimed]] = defaultdict(list)
    for claim in sorted(claimed, key=lambda claim: (claim.epoch, claim.answered)):
        leases[claim.job].append(claim)
    return leases


def _orders(ordered: list[Ordered]) -> dict[str, list[Ordered]]:
    """Return the orders for each job that may have had an effect."""
    orders: defaultdict[str, list[Ordered]] = defaultdict(list)
    for order in ordered:
        if order.may_have_happened:
            orders[order.job].append(order)
    return orders


def _no_double_claim(
    leases: dict[str, list[Claimed]], reported: list[Reported], orders: dict[str, list[Ordered]]
) -> Iterator[str]:
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
        stopped = [order.asked for order in orders.get(job, ())]
        for first, second in pairwise(given):
            lease = (job, first.epoch)
            runs_out = max([first.asked, *kept[lease]]) + first.seconds
            if first.epoch == second.epoch:
                if first.request is None or first.request != second.request:
                    yield f"no_double_claim: {job} epoch {first.epoch} was given twice"
            elif second.answered < min([runs_out, *left[lease], *stopped]):
                yield f"no_double_claim: {job} epoch {second.epoch} came while the last was live"


def _repeats_tell_all(
    claimed: list[Claimed], moves: Sequence[Move], orders: dict[str, list[Ordered]]
) -> Iterator[str]:
    """Find leases that a claim took and its repeat did not name, although they were live."""
    told: defaultdict[str, list[Claimed]] = defaultdict(list)
    for claim in claimed:
        if claim.request is not None:
            told[claim.request].append(claim)
    for job, epoch, request in {(move.job, move.epoch, move.request) for move in moves}:
        claims = told.get(request or "", [])
        live = any(claim.answered < claim.asked + claim.seconds for claim in claims)
        named = any((claim.job, claim.epoch) == (job, epoch) for claim in claims)
        if live and not named and not orders.get(job):
            yield f"no_lost_claim: {job} epoch {epoch} was taken and not told to who repeated"


def _at_most_once(
    leases: dict[str, list[Claimed]],
    reported: list[Reported],
    finals: dict[str, Final],
    orders: dict[str, list[Ordered]],
) -> Iterator[str]:
    """Find jobs that were handed out again after they had begun, and may run only once."""
    snoozed = {(r.job, r.epoch) for r in reported if r.outcome == "snooze" and not r.refused}
    begun = {
        (r.job, r.epoch)
        for r in reported
        if r.outcome == "start" and r.verdict in ("ok", "duplicate")
    }
    for job, epoch in sorted(begun - snoozed):
        final = finals.get(job)
        once = final is not None and final.delivery == "at_most_once"
        again = any(claim.epoch > epoch for claim in leases.get(job, ()))
        if once and again and not _retried(orders.get(job, ()), -1):
            yield f"at_most_once: {job} was handed out again after epoch {epoch} had begun"


def _no_stale_effect(
    leases: dict[str, list[Claimed]], reported: list[Reported], finals: dict[str, Final]
) -> Iterator[str]:
    for report in reported:
        newer = [claim for claim in leases.get(report.job, []) if claim.epoch > report.epoch]
        heard = report.accepted or (report.outcome, report.verdict) == ("start", "duplicate")
        if heard and any(claim.answered < report.asked for claim in newer):
            yield f"no_stale_effect: {report.job} heard epoch {report.epoch} after a newer lease"
        final = finals.get(report.job)
        if final and report.token == final.token and report.epoch != final.epoch:
            yield f"no_stale_effect: {report.job} was ended by epoch {report.epoch}"


def _kept_by_the_holder(reported: list[Reported], kept: Iterable[tuple[str, int]]) -> Iterator[str]:
    """Find leases that were begun or made longer although none of their holders was heard."""
    heard = {
        (report.job, report.epoch)
        for report in reported
        if report.outcome in KEEPS and not report.refused
    }
    for job, epoch in sorted(set(kept) - heard):
        yield f"no_stale_effect: {job} epoch {epoch} was kept by none of its holders"


def _refused_has_no_effect(reported: list[Reported], finals: dict[str, Final]) -> Iterator[str]:
    """Find reports that show although each time they were made they were refused.

    A holder who was asked to stop may say so in the operator's words, as does the sweep that ends
    the job in his place: such words show nothing.
    """
    refused: dict[tuple[str, str], bool] = {}
    for report in [report for report in reported if report.outcome != "cancelled"]:
        key = (report.job, report.token)
        refused[key] = refused.get(key, True) and report.refused
    for (job, token), always in refused.items():
        if always and job in finals and token in (finals[job].token, *finals[job].failures):
            yield f"no_stale_effect: {job} shows a report that was refused"


def _one_end(
    reported: list[Reported], finals: dict[str, Final], orders: dict[str, list[Ordered]]
) -> Iterator[str]:
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
        lasting = [r for r in reports if not _undone(r, orders.get(job, ()))]
        if len(lasting) > 1:
            yield f"one_end: {job} was accepted {len(lasting)} times"
        if job in finals:
            final = finals[job]
            here = (final.status, final.epoch, final.token)
            if any((r.status, r.epoch, r.token) != here for r in lasting):
                yield f"one_end: {job} ended otherwise than was acknowledged"


def _undone(end: Reported, orders: Sequence[Ordered]) -> bool:
    """Tell whether an operator may have put the job back after this end."""
    return end.status in RETRIABLE and _retried(orders, end.asked)


def _retried(orders: Sequence[Ordered], since: float) -> bool:
    return any(order.what == "retry" and order.answered > since for order in orders)


def _orders_were_heard(orders: dict[str, list[Ordered]], finals: dict[str, Final]) -> Iterator[str]:
    """Find jobs that were cancelled at once, or put back, and went on as if they had not been."""
    for job, given in orders.items():
        final = finals.get(job)
        for order in given if final else ():
            ended = order.what == "cancel" and order.status == "cancelled"
            if ended and final and final.status != "cancelled" and not _retried(given, order.asked):
                yield f"one_end: {job} is {final.status} after it was cancelled"


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


def _parents_equal_ended(parents: Sequence[Parent], finals: dict[str, Final]) -> Iterator[str]:
    """Find parents whose counters are not the fold of their jobs, or that lost some of them."""
    jobs: Counter[str | None] = Counter(final.parent for final in finals.values())
    ended = Counter(
        (final.parent, final.status) for final in finals.values() if not final.unsettled
    )
    for parent in parents:
        if jobs[parent.name] != parent.jobs:
            yield f"no_lost_job: parent {parent.name} has {jobs[parent.name]} of {parent.jobs} jobs"
        for status, count in parent.counted.items():
            if count != ended[parent.name, status]:
                yield (
                    f"settled_equals_ended: parent {parent.name} counts {count} {status},"
                    f" its jobs {ended[parent.name, status]}"
                )
    for name in sorted({name for name in jobs if name} - {parent.name for parent in parents}):
        yield f"no_lost_job: parent {name} was rolled back, its jobs were not"


def _legal_moves(moves: Sequence[Move], steps: frozenset[tuple[str, str]]) -> Iterator[str]:
    """Find steps that no call may make, and epochs that were skipped or given twice."""
    last: dict[str, Move] = {}
    for move in moves:
        before = last.get(move.job, Move(move.job, "none", 0))
        last[move.job] = move
        if (before.status, move.status) not in steps:
            yield f"legal_moves: {move.job} went from {before.status} to {move.status}"
        leased = before.status == "pending" and move.status in ("claimed", "running", "expired")
        allowed = (1,) if leased and move.status != "expired" else (0, 1) if leased else (0,)
        if move.epoch - before.epoch not in allowed:
            yield f"legal_moves: {move.job} came from epoch {before.epoch} to {move.epoch}"


def _one_live_job_per_key(moves: Sequence[Move], finals: dict[str, Final]) -> Iterator[str]:
    """Find live keys that two jobs had at a time."""
    alive: dict[str, str] = {}
    for move in moves:
        key = finals[move.job].key if move.job in finals else ""
        if not key.startswith(LIVE):
            continue
        if move.status not in ("pending", "claimed", "running"):
            if alive.get(key) == move.job:
                del alive[key]
        elif alive.setdefault(key, move.job) != move.job:
            yield f"one_job_per_key: {move.job} lives beside another of {key}"
