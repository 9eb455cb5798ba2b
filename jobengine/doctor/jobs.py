"""Checks of the jobs: what waits for somebody who does not come, and what needs an operator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg

from jobengine.doctor.findings import found
from jobengine.doctor.patient import Outcome, Patient, number
from jobengine.records import NO_TENANT

_NAMED = 5  # so many are named, the others counted


async def settle(patient: Patient) -> Outcome:
    """Would every registered settle function be accepted today."""
    findings = [
        found("settle_invalid", f"{row.settle} of job type {row.name}", row.remedy)
        for row in await patient.ask("settle")
    ]
    return findings or "every settle function can be called"


async def unsettled(patient: Patient) -> Outcome:
    """Do the parents of all ended jobs know it."""
    rows = await patient.ask("unsettled")
    if not rows:
        return "every end is settled"
    seen = f"{_jobs(rows)}; most often: {rows[0].error}"
    remedy = (
        "jobengine list --unsettled\n"
        "-- mend the settle function or its tables; sweep then settles by itself, or at once:\n"
        "jobengine sweep --all"
    )
    return [found("unsettled", seen, remedy)]


async def parent_gone(patient: Patient) -> Outcome:
    """Was every parent there when its job ended."""
    rows = await patient.ask("parent_gone")
    if not rows:
        return "every parent was there"
    remedy = (
        "jobengine list --unsettled\n"
        "-- nothing to mend if the parents were deleted; prune removes these jobs with the others"
    )
    return [found("parent_gone", f"{_jobs(rows)}: {_types(rows)}", remedy)]


async def unknown(patient: Patient) -> Outcome:
    """Is the outcome of every job known."""
    rows = await patient.ask("unknown")
    if not rows:
        return "every outcome is known"
    remedy = (
        "jobengine list --status unknown\n"
        "-- look what became of each, then say so:\n"
        "jobengine finish <job> --outcome completed"
    )
    return [found("unknown", f"{_jobs(rows)}: {_types(rows)}", remedy)]


def _jobs(rows: Sequence[Any]) -> str:
    oldest = max(row.seconds for row in rows)
    return f"{number(sum(row.jobs for row in rows), 'job')}, the oldest for {oldest:.0f} s"


def _types(rows: Sequence[Any]) -> str:
    return _some([f"{row.jobs:,} {row.name}" for row in rows])


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join([*names[:_NAMED], *([f"{more:,} more"] if more > 0 else [])])


async def leases(patient: Patient) -> Outcome:
    """Does somebody take run-out leases back."""
    row = await patient.ask_one("leases")
    if row.seconds <= patient.limits.overdue:
        return "no run-out lease waits for a sweep"
    seen = f"{number(row.leases, 'lease')} run out, the first {row.seconds:.0f} s ago"
    remedy = (
        "jobengine sweep --all\n"
        "-- and so that it goes on by itself: run a worker, or `jobengine work`"
    )
    return [found("leases_overdue", seen, remedy)]


async def queues(patient: Patient) -> Outcome:
    """Does somebody claim from every queue with due jobs."""
    idle = patient.limits.idle
    rows = await patient.ask("queues")
    lonely = [row for row in rows if row.seconds > idle and _never_since(row, idle)]
    awake = await _awake(patient) if lonely else set()
    lonely = [row for row in lonely if not awake & {(row.tenant_id, row.queue), (None, row.queue)}]
    if not lonely:
        return f"{number(len(rows), 'queue')} with due jobs, all served"
    seen = _some([_lonely(row) for row in lonely])
    remedy = "-- run a worker for these queues: Worker(engine, queues=[…]), `jobengine work`"
    return [found("no_worker", seen, remedy)]


def _never_since(row: Any, idle: float) -> bool:
    return row.claimed is None or bool(row.claimed > idle)


def _lonely(row: Any) -> str:
    last = "none that is known" if row.claimed is None else f"{row.claimed:.0f} s ago"
    return (
        f"{row.queue}{_tenant(row)} ({number(row.jobs, 'job')}, due for {row.seconds:.0f} s,"
        f" last claim: {last})"
    )


def _tenant(row: Any) -> str:
    return "" if row.tenant_id == NO_TENANT else f" of tenant {row.tenant_id}"


async def _awake(patient: Patient) -> set[tuple[Any, str]]:
    """Return for whom somebody sleeps who will look again; nobody, where this role cannot see."""
    try:
        rows = await patient.ask("waiting")
    except psycopg.errors.InsufficientPrivilege:
        return set()
    return {(row.tenant_id, row.queue) for row in rows if row.sleepers}
