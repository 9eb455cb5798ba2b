"""The engine for programs without asyncio: the client's operations on a plain connection.

Each function takes a `psycopg.Connection` (Django's `connection.connection`, SQLAlchemy's
`connection.connection.driver_connection`, or your own) and is otherwise the method of `JobEngine`
of the same name. It runs in whatever transaction the connection is in: a job that was enqueued
exists when that commits, and never if it rolls back. How the connection is set up (autocommit, row
and cursor factories, adapters, isolation level) does not matter; only `cancel` needs READ
COMMITTED. Behind a pooler in transaction mode, connect with `prepare_threshold=None`, as for every
use of psycopg there. All raise `jobengine.errors.EngineError` and its subclasses.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from datetime import datetime
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar
from uuid import UUID

import psycopg
from psycopg.pq import TransactionStatus

from jobengine import _db, calls
from jobengine._bulk import enqueue_all
from jobengine._db import AnyConnection
from jobengine._retrying import looks
from jobengine.errors import InvalidArgument, WaitTimeout
from jobengine.records import Cancelled, Enqueued, JobInfo, NewJob

__all__ = ["Connection", "cancel", "enqueue", "enqueue_many", "get", "wait"]

Connection: TypeAlias = psycopg.Connection[Any]
P = ParamSpec("P")
T = TypeVar("T")


def enqueue(
    connection: Connection,
    job_type: str,
    input: Any = None,  # noqa: A002 - the column's name
    *,
    queue: str | None = None,
    tenant_id: UUID | None = None,
    priority: int | None = None,
    run_at: datetime | None = None,
    delay: float | None = None,
    expires_at: datetime | None = None,
    expires_in: float | None = None,
    dedup_key: str | None = None,
    live_key: str | None = None,
    max_attempts: int | None = None,
    lease: float | None = None,
    meta: dict[str, Any] | None = None,
    wake: bool | None = None,
) -> Enqueued:
    """Put one job in; the arguments are those of `NewJob` (enqueue.sql)."""
    job = NewJob(
        job_type=job_type,
        input=input,
        queue=queue,
        tenant_id=tenant_id,
        priority=priority,
        run_at=run_at,
        delay=delay,
        expires_at=expires_at,
        expires_in=expires_in,
        dedup_key=dedup_key,
        live_key=live_key,
        max_attempts=max_attempts,
        lease=lease,
        meta=meta,
        wake=wake,
    )
    return enqueue_many(connection, [job])[0]


def enqueue_many(connection: Connection, jobs: Iterable[NewJob]) -> Sequence[Enqueued]:
    """Put jobs in, all or none, and answer in their order; tens of thousands in one call."""
    return _call(connection, enqueue_all, jobs)


def get(connection: Connection, job_id: UUID, *, tenant_id: UUID | None = None) -> JobInfo | None:
    """Return the job, or None; with a tenant, only a job of that one (get.sql)."""
    found = _call(connection, calls.get, job_ids=_db.array([job_id]), tenant_id=tenant_id)
    return found[0] if found else None


def wait(connection: Connection, job_id: UUID, *, timeout: float | None = None) -> JobInfo:
    """Return the job once it has ended; `WaitTimeout` after `timeout` seconds.

    Asks the database again and again, twice a second in the end, and leaves no transaction open.
    Refuses a connection that is in a transaction: a job that it enqueued could never run.
    """
    _refuse_transaction(connection)
    deadline = None if timeout is None else time.monotonic() + timeout
    for pause in looks():
        if (job := _look_for(connection, job_id)).ended:
            return job
        left = pause if deadline is None else min(pause, deadline - time.monotonic())
        if left <= 0:
            raise WaitTimeout
        time.sleep(left)
    raise AssertionError


def cancel(
    connection: Connection,
    job_ids: Iterable[UUID] | None = None,
    *,
    reason: str | None = None,
    tenant_id: UUID | None = None,
    queue: str | None = None,
    job_type: str | None = None,
    limit: int = 1000,
) -> Sequence[Cancelled]:
    """Stop jobs, by id or by tenant, queue and type (cancel.sql)."""
    return _call(
        connection,
        calls.cancel,
        job_ids=None if job_ids is None else _db.array(job_ids) or "{}",
        reason=reason,
        tenant_id=tenant_id,
        queue=queue,
        job_type=job_type,
        limit=limit,
    )


def _call(
    connection: Connection,
    call: Callable[Concatenate[AnyConnection, P], Coroutine[Any, Any, T]],
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Run a call of `jobengine.calls` to its end, which is one step on a plain connection."""
    if _status(connection) == TransactionStatus.INERROR:
        raise InvalidArgument("connection", "no transaction that has failed: roll it back first")
    try:
        call(connection, *args, **kwargs).send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError


def _status(connection: Connection) -> TransactionStatus:
    if not isinstance(connection, psycopg.Connection):
        raise InvalidArgument("connection", "a psycopg.Connection")
    return connection.info.transaction_status


def _refuse_transaction(connection: Connection) -> None:
    # A broken connection has the status UNKNOWN; the first look says so.
    if _status(connection) not in {TransactionStatus.IDLE, TransactionStatus.UNKNOWN}:
        raise InvalidArgument("connection", "not in a transaction: commit or roll back first")


def _look_for(connection: Connection, job_id: UUID) -> JobInfo:
    """Return the job; a connection without autocommit has begun a transaction for that."""
    try:
        job = get(connection, job_id)
    finally:
        if _status(connection) in {TransactionStatus.INTRANS, TransactionStatus.INERROR}:
            connection.rollback()
    if job is None:
        raise InvalidArgument("job_id", "the id of a job")
    return job
