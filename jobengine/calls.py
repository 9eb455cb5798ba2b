"""One function per SQL function: the same name, the same arguments, its rows as records.

The contract of each is the header of `sql/engine/functions/<name>.sql`. Nothing is checked or
changed here; `jobengine.engine` is the face for people. Arrays come in PostgreSQL's text form
(`jobengine._db.array`). The connection may be a plain one: then nothing is awaited on the way.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from jobengine import _db
from jobengine._db import AnyConnection, Brief, Lined, Rows
from jobengine.records import (
    Cancelled,
    Enqueued,
    Extended,
    Finished,
    Job,
    JobInfo,
    Pruned,
    QueueStats,
    Released,
    Retried,
    Started,
    Swept,
)


async def register_job_type(
    conn: AnyConnection,
    *,
    job_type: str,
    priority: int | None = None,
    max_attempts: int | None = None,
    lease_seconds: float | None = None,
    delivery: str | None = None,
    backoff_seconds: float | None = None,
    backoff_max_seconds: float | None = None,
    settle: str | None = None,
) -> None:
    """Create a job type or change its limits: register_job_type.sql."""
    await _db.scalars(
        conn,
        """select jobengine.register_job_type(
            p_job_type => %(job_type)s, p_priority => %(priority)s,
            p_max_attempts => %(max_attempts)s, p_lease_seconds => %(lease_seconds)s,
            p_delivery => %(delivery)s, p_backoff_seconds => %(backoff_seconds)s,
            p_backoff_max_seconds => %(backoff_max_seconds)s, p_settle => %(settle)s)::text""",
        {
            "job_type": job_type,
            "priority": priority,
            "max_attempts": max_attempts,
            "lease_seconds": lease_seconds,
            "delivery": delivery,
            "backoff_seconds": backoff_seconds,
            "backoff_max_seconds": backoff_max_seconds,
            "settle": settle,
        },
    )


async def enqueue(
    conn: AnyConnection | Brief | Lined,
    *,
    job_types: str | None,
    inputs: str | None = None,
    queues: str | None = None,
    tenant_ids: str | None = None,
    priorities: str | None = None,
    run_ats: str | None = None,
    delays: str | None = None,
    expires_ats: str | None = None,
    expires_ins: str | None = None,
    dedup_keys: str | None = None,
    live_keys: str | None = None,
    max_attempts: str | None = None,
    lease_seconds: str | None = None,
    metas: str | None = None,
    wakes: str | None = None,
) -> Rows[Enqueued]:
    """Put jobs in: enqueue.sql."""
    return await _db.rows_of_few(
        conn,
        Enqueued,
        """select * from jobengine.enqueue(
            p_job_types => %(job_types)s, p_inputs => %(inputs)s, p_queues => %(queues)s,
            p_tenant_ids => %(tenant_ids)s, p_priorities => %(priorities)s,
            p_run_ats => %(run_ats)s, p_delays => %(delays)s, p_expires_ats => %(expires_ats)s,
            p_expires_ins => %(expires_ins)s, p_dedup_keys => %(dedup_keys)s,
            p_live_keys => %(live_keys)s, p_max_attempts => %(max_attempts)s,
            p_lease_seconds => %(lease_seconds)s, p_metas => %(metas)s, p_wakes => %(wakes)s)""",
        {
            "job_types": job_types,
            "inputs": inputs,
            "queues": queues,
            "tenant_ids": tenant_ids,
            "priorities": priorities,
            "run_ats": run_ats,
            "delays": delays,
            "expires_ats": expires_ats,
            "expires_ins": expires_ins,
            "dedup_keys": dedup_keys,
            "live_keys": live_keys,
            "max_attempts": max_attempts,
            "lease_seconds": lease_seconds,
            "metas": metas,
            "wakes": wakes,
        },
    )


async def claim(conn: AnyConnection | Brief, *, requests: str) -> Rows[Job]:
    """Take due jobs for each of a set of requests (JSON): claim.sql."""
    return await _db.rows(
        conn,
        Job,
        "select * from jobengine.claim(p_requests => %(requests)s)",
        {"requests": requests},
    )


async def start(
    conn: AnyConnection | Brief, *, job_ids: str | None, lease_epochs: str | None
) -> Rows[Started]:
    """Begin the work on leases claimed in two phases: start.sql."""
    return await _db.rows(
        conn,
        Started,
        """select * from jobengine.start(
            p_job_ids => %(job_ids)s, p_lease_epochs => %(lease_epochs)s)""",
        {"job_ids": job_ids, "lease_epochs": lease_epochs},
    )


async def extend(
    conn: AnyConnection | Brief,
    *,
    job_ids: str | None,
    lease_epochs: str | None,
    seconds: float | None = None,
) -> Rows[Extended]:
    """Keep leases while their work goes on: extend.sql."""
    return await _db.rows(
        conn,
        Extended,
        """select * from jobengine.extend(p_job_ids => %(job_ids)s,
            p_lease_epochs => %(lease_epochs)s, p_seconds => %(seconds)s)""",
        {"job_ids": job_ids, "lease_epochs": lease_epochs, "seconds": seconds},
    )


async def finish(
    conn: AnyConnection | Brief,
    *,
    job_ids: str | None,
    lease_epochs: str | None,
    outcomes: str | None,
    outputs: str | None = None,
    error_codes: str | None = None,
    error_messages: str | None = None,
    delays: str | None = None,
) -> Rows[Finished]:
    """Report what became of held jobs: finish.sql."""
    return await _db.rows_of_few(
        conn,
        Finished,
        """select * from jobengine.finish(p_job_ids => %(job_ids)s,
            p_lease_epochs => %(lease_epochs)s, p_outcomes => %(outcomes)s,
            p_outputs => %(outputs)s, p_error_codes => %(error_codes)s,
            p_error_messages => %(error_messages)s, p_delays => %(delays)s)""",
        {
            "job_ids": job_ids,
            "lease_epochs": lease_epochs,
            "outcomes": outcomes,
            "outputs": outputs,
            "error_codes": error_codes,
            "error_messages": error_messages,
            "delays": delays,
        },
        needed=3,
    )


async def release(
    conn: AnyConnection | Brief, *, job_ids: str | None, lease_epochs: str | None
) -> Rows[Released]:
    """Give held jobs back unused: release.sql."""
    return await _db.rows(
        conn,
        Released,
        """select * from jobengine.release(
            p_job_ids => %(job_ids)s, p_lease_epochs => %(lease_epochs)s)""",
        {"job_ids": job_ids, "lease_epochs": lease_epochs},
    )


async def cancel(
    conn: AnyConnection,
    *,
    job_ids: str | None = None,
    reason: str | None = None,
    tenant_id: UUID | None = None,
    queue: str | None = None,
    job_type: str | None = None,
    limit: int = 1000,
) -> Rows[Cancelled]:
    """Stop jobs, by id or by tenant, queue and type: cancel.sql."""
    return await _db.rows(
        conn,
        Cancelled,
        """select * from jobengine.cancel(p_job_ids => %(job_ids)s, p_reason => %(reason)s,
            p_tenant_id => %(tenant_id)s, p_queue => %(queue)s,
            p_job_type => %(job_type)s, p_limit => %(limit)s)""",
        {
            "job_ids": job_ids,
            "reason": reason,
            "tenant_id": tenant_id,
            "queue": queue,
            "job_type": job_type,
            "limit": limit,
        },
    )


async def retry(
    conn: AnyConnection,
    *,
    job_ids: str | None,
    run_at: datetime | None = None,
    expires_at: datetime | None = None,
    tenant_id: UUID | None = None,
) -> Rows[Retried]:
    """Put ended jobs back to wait: retry.sql."""
    return await _db.rows(
        conn,
        Retried,
        """select * from jobengine.retry(p_job_ids => %(job_ids)s, p_run_at => %(run_at)s,
            p_expires_at => %(expires_at)s, p_tenant_id => %(tenant_id)s)""",
        {"job_ids": job_ids, "run_at": run_at, "expires_at": expires_at, "tenant_id": tenant_id},
    )


async def sweep(conn: AnyConnection, *, limit: int = 1000) -> Rows[Swept]:
    """Take back run-out leases, end what expired, settle again: sweep.sql."""
    return await _db.rows(
        conn, Swept, "select * from jobengine.sweep(p_limit => %(limit)s)", {"limit": limit}
    )


async def prune(
    conn: AnyConnection, *, keep_seconds: float, after: UUID | None = None, limit: int = 10000
) -> Rows[Pruned]:
    """Remove jobs that ended long ago: prune.sql."""
    return await _db.rows(
        conn,
        Pruned,
        """select * from jobengine.prune(p_keep_seconds => %(keep_seconds)s,
            p_after => %(after)s, p_limit => %(limit)s)""",
        {"keep_seconds": keep_seconds, "after": after, "limit": limit},
    )


async def get(
    conn: AnyConnection, *, job_ids: str | None, tenant_id: UUID | None = None
) -> Rows[JobInfo]:
    """Jobs with where they stand: get.sql."""
    return await _db.rows(
        conn,
        JobInfo,
        "select * from jobengine.get(p_job_ids => %(job_ids)s, p_tenant_id => %(tenant_id)s)",
        {"job_ids": job_ids, "tenant_id": tenant_id},
    )


async def list(  # noqa: A001 - one operation, one name at every layer
    conn: AnyConnection,
    *,
    tenant_id: UUID | None = None,
    status: str | None = None,
    queue: str | None = None,
    job_type: str | None = None,
    unsettled: bool = False,
    before: UUID | None = None,
    limit: int = 50,
) -> Rows[JobInfo]:
    """A page of jobs, newest first: list.sql."""
    return await _db.rows(
        conn,
        JobInfo,
        """select * from jobengine.list(p_tenant_id => %(tenant_id)s, p_status => %(status)s,
            p_queue => %(queue)s, p_job_type => %(job_type)s, p_unsettled => %(unsettled)s,
            p_before => %(before)s, p_limit => %(limit)s)""",
        {
            "tenant_id": tenant_id,
            "status": status,
            "queue": queue,
            "job_type": job_type,
            "unsettled": unsettled,
            "before": before,
            "limit": limit,
        },
    )


async def count(
    conn: AnyConnection,
    *,
    tenant_id: UUID | None = None,
    status: str | None = None,
    queue: str | None = None,
    job_type: str | None = None,
    unsettled: bool = False,
    cap: int | None = 10000,
) -> int:
    """How many jobs match: count.sql."""
    found: Rows[Any] = await _db.scalars(
        conn,
        """select jobengine.count(p_tenant_id => %(tenant_id)s, p_status => %(status)s,
            p_queue => %(queue)s, p_job_type => %(job_type)s, p_unsettled => %(unsettled)s,
            p_cap => %(cap)s)""",
        {
            "tenant_id": tenant_id,
            "status": status,
            "queue": queue,
            "job_type": job_type,
            "unsettled": unsettled,
            "cap": cap,
        },
    )
    return int(found[0])


async def stats(conn: AnyConnection, *, tenant_id: UUID | None = None) -> Rows[QueueStats]:
    """What waits and what is held, per queue: stats.sql."""
    return await _db.rows(
        conn,
        QueueStats,
        "select * from jobengine.stats(p_tenant_id => %(tenant_id)s)",
        {"tenant_id": tenant_id},
    )


async def _doze(
    conn: AnyConnection,
    *,
    listener_id: UUID,
    tenant_ids: str | None,
    queues: str | None,
    seconds: float,
) -> None:
    """Say that a process sleeps until a job comes: _doze.sql."""
    await _db.scalars(
        conn,
        """select jobengine._doze(p_listener_id => %(listener_id)s,
            p_tenant_ids => %(tenant_ids)s, p_queues => %(queues)s,
            p_seconds => %(seconds)s)::text""",
        {
            "listener_id": listener_id,
            "tenant_ids": tenant_ids,
            "queues": queues,
            "seconds": seconds,
        },
    )


async def _rouse(conn: AnyConnection, *, listener_id: UUID) -> None:
    """Say that a process does not sleep any more: _rouse.sql."""
    await _db.scalars(
        conn,
        "select jobengine._rouse(p_listener_id => %(listener_id)s)::text",
        {"listener_id": listener_id},
    )


async def _tenants(
    conn: AnyConnection, *, after: UUID | None = None, limit: int = 1000
) -> Rows[UUID]:
    """Find the tenants that have waiting jobs: _tenants.sql."""
    return await _db.scalars(
        conn,
        "select t from jobengine._tenants(p_after => %(after)s, p_limit => %(limit)s) t",
        {"after": after, "limit": limit},
    )


async def _next_due(
    conn: AnyConnection, *, tenant_ids: str | None, queues: str | None
) -> float | None:
    """Tell in how many seconds the next scheduled job is due: _next_due.sql."""
    found: Rows[float | None] = await _db.scalars(
        conn,
        """select jobengine._next_due(
            p_tenant_ids => %(tenant_ids)s, p_queues => %(queues)s)""",
        {"tenant_ids": tenant_ids, "queues": queues},
    )
    return found[0]
