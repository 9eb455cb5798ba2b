"""The whole state at one moment, of the engine's tables and of the model, in the same shape."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import DictRow

from jobengine.testing.model import Between, Ended, Job, Lease, Model, Ready
from tests.property.host import Host

_JOBS = b"""
select v.job_id, v.tenant_id, v.queue, v.job_type, v.priority, v.status, v.attempt, v.max_attempts,
       v.lease_epoch, v.delivery, (v.input ->> 'parent')::integer as parent, v.output, v.error_code,
       v.error_message, v.agent_id, v.cancel_reason, v.dedup_key, v.live_key, v.created_at,
       v.run_at, v.expires_at, v.claimed_at, v.started_at, v.lease_expires_at, v.finished_at,
       v.settled_status, v.settle_error, v.settle_at, e.settle_tries,
       coalesce(r.lost, l.lost) as lost, l.request_id,
       (r.job_id is not null)::int + (l.job_id is not null)::int + (e.job_id is not null)::int
           as places,
       coalesce((select jsonb_object_agg(f.lease_epoch, f.reported_by) from jobengine.failure f
                 where f.job_id = v.job_id), '{}') as failures
from jobengine.jobs v
left join jobengine.ready r on r.job_id = v.job_id
left join jobengine.lease l on l.job_id = v.job_id
left join jobengine.ended e on e.job_id = v.job_id
"""

_REST = b"""
select (select count(*) from jobengine.ready) + (select count(*) from jobengine.lease)
           + (select count(*) from jobengine.ended) as places,
       (select count(distinct job_id) from jobengine.failure) as failed,
       (select coalesce(jsonb_object_agg(concat_ws('/', tenant_id, live_key), job_id), '{}')
        from jobengine.live_key) as live_keys,
       (select jsonb_object_agg(concat_ws('/', parent, status), jobs) from public.sum_parent
        where jobs <> 0) as sums,
       (select jsonb_object_agg(parent, jsonb_build_array(last_job_id, status))
        from public.last_parent where last_job_id is not null) as last
"""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Jobs by id, the keys of those that live, and the parents."""

    jobs: dict[UUID, dict[str, Any]]
    live_keys: dict[str, str]
    sums: dict[str, int]
    last: dict[str, list[str]]


def of_engine(conn: psycopg.Connection[DictRow]) -> Snapshot:
    """Read the tables; every row in one of them belongs to a job."""
    jobs = {row.pop("job_id"): row for row in conn.execute(_JOBS).fetchall()}
    rest = conn.execute(_REST).fetchone()
    assert rest is not None
    assert rest["places"] == len(jobs), "no_lost_job: ready, lease and ended are not the jobs"
    assert rest["failed"] == sum(bool(job["failures"]) for job in jobs.values())
    return Snapshot(jobs, rest["live_keys"], rest["sums"] or {}, rest["last"] or {})


def of_model(model: Model, host: Host) -> Snapshot:
    """Return what the tables must hold."""
    keys = {
        f"{job.tenant}/{job.live_key}": str(job.job_id)
        for job in model.jobs.values()
        if job.live_key is not None and not isinstance(job.at, Ended)
    }
    jobs = {job_id: _row(job) for job_id, job in model.jobs.items()}
    return Snapshot(jobs, keys, _sums(host), _last(host))


def differences(expected: Snapshot, found: Snapshot) -> list[str]:
    """Say what the tables hold otherwise; a time of the engine's choice need only be in range."""
    wrong = [
        f"{job_id} {name}: expected {_get(expected, job_id, name)},"
        f" found {_get(found, job_id, name)}"
        for job_id in sorted(expected.jobs.keys() | found.jobs.keys())
        for name in _NAMES
        if not _agree(_get(expected, job_id, name), _get(found, job_id, name))
    ]
    return wrong + [
        f"{part}: expected {getattr(expected, part)}, found {getattr(found, part)}"
        for part in ("live_keys", "sums", "last")
        if getattr(expected, part) != getattr(found, part)
    ]


def chosen_times(expected: Snapshot, found: Snapshot) -> dict[UUID, datetime]:
    """Return the times that the engine chose, by job."""
    return {
        job_id: found.jobs[job_id][name]
        for job_id, row in expected.jobs.items()
        for name in ("run_at", "settle_at")
        if isinstance(row[name], Between)
    }


def _get(snapshot: Snapshot, job_id: UUID, name: str) -> Any:
    return snapshot.jobs[job_id][name] if job_id in snapshot.jobs else "no such job"


def _agree(expected: object, found: object) -> bool:
    if isinstance(expected, Between):
        return isinstance(found, datetime) and expected.low <= found <= expected.high
    return expected == found


def _row(job: Job) -> dict[str, Any]:
    row = dict.fromkeys(_NAMES) | {
        "tenant_id": job.tenant,
        "queue": job.queue,
        "job_type": job.type.name,
        "priority": job.priority,
        "status": job.status,
        "attempt": job.at.attempt,
        "max_attempts": job.max_attempts,
        "lease_epoch": job.at.epoch,
        "delivery": job.type.delivery,
        "parent": job.input["parent"],
        "dedup_key": job.dedup_key,
        "live_key": job.live_key,
        "created_at": job.created_at,
        "places": 1,
        "failures": {str(epoch): reporter for epoch, reporter in job.failures.items()},
    }
    match job.at:
        case Ready() as ready:
            return row | _ready(ready)
        case Lease() as lease:
            return row | _lease(lease)
        case Ended() as ended:
            return row | _ended(ended)


def _ready(ready: Ready) -> dict[str, Any]:
    return {"run_at": ready.run_at, "expires_at": ready.expires_at, "lost": ready.lost}


def _lease(lease: Lease) -> dict[str, Any]:
    return {
        "agent_id": lease.agent,
        "cancel_reason": lease.cancel_reason,
        "expires_at": lease.expires_at,
        "claimed_at": None if lease.lapsed else lease.claimed_at,
        "started_at": lease.started_at,
        "lease_expires_at": None if lease.lapsed else lease.until,
        "lost": lease.lost,
        "request_id": lease.request_id,
    }


def _ended(ended: Ended) -> dict[str, Any]:
    return {
        "output": ended.output,
        "error_code": ended.error_code,
        "error_message": ended.error_message,
        "agent_id": ended.agent,
        "claimed_at": ended.claimed_at,
        "started_at": ended.started_at,
        "finished_at": ended.finished_at,
        "settled_status": ended.settled_status,
        "settle_error": ended.settle_error,
        "settle_at": ended.settle_at,
        "settle_tries": ended.settle_tries,
    }


def _sums(host: Host) -> dict[str, int]:
    return {f"{parent}/{status}": jobs for (parent, status), jobs in host.sums.items() if jobs}


def _last(host: Host) -> dict[str, list[str]]:
    return {str(parent): [str(job_id), status] for parent, (job_id, status) in host.last.items()}


_NAMES = (
    *("tenant_id", "queue", "job_type", "priority", "status", "attempt", "max_attempts"),
    *("lease_epoch", "delivery", "parent", "output", "error_code", "error_message", "agent_id"),
    *("cancel_reason", "dedup_key", "live_key", "created_at", "run_at", "expires_at", "claimed_at"),
    *("started_at", "lease_expires_at", "finished_at", "settled_status", "settle_error"),
    *("settle_at", "settle_tries", "lost", "request_id", "places", "failures"),
)
