"""What the engine's calls take and give: one frozen record per shape, fields named as in SQL.

Times are timezone-aware; durations are seconds. Records that are read from PostgreSQL have exactly
the columns of their SQL function, in its order.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol, TypeAlias
from uuid import UUID

Status: TypeAlias = Literal[
    "pending", "claimed", "running", "completed", "failed", "cancelled", "expired", "unknown"
]
Verdict: TypeAlias = Literal[
    "ok",
    "retried",
    "duplicate",
    "stale_lease",
    "conflict",
    "not_found",
    "settle_failed",
    "busy",
]
Outcome: TypeAlias = Literal["completed", "failed", "rejected", "snooze", "cancelled", "unknown"]
Delivery: TypeAlias = Literal["at_least_once", "at_most_once"]
TwoPhase: TypeAlias = Literal["always", "at_most_once", "never"]

NO_TENANT = UUID(int=0)
ENDED: frozenset[Status] = frozenset(("completed", "failed", "cancelled", "expired", "unknown"))


class Held(Protocol):
    """A lease, by its two parts: a `Job` that was claimed, or a `Lease`."""

    @property
    def job_id(self) -> UUID: ...

    @property
    def lease_epoch(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on a job: the job and the epoch of its lease, which every report names."""

    job_id: UUID
    lease_epoch: int


# Not frozen, as who enqueues many makes as many of them: 0.5 µs each for 1.9 (`bench -- bulk`).
@dataclass(slots=True, kw_only=True)
class NewJob:
    """A job to enqueue; None means the default of the job type or of the engine.

    `run_at` or `delay` (seconds) postpone it; `expires_at` or `expires_in` end it unless it was
    begun by then. `dedup_key` is unique per tenant until pruned, `live_key` while the job lives.
    """

    job_type: str
    input: Any = None
    queue: str | None = None
    tenant_id: UUID | None = None
    priority: int | None = None
    run_at: datetime | None = None
    delay: float | None = None
    expires_at: datetime | None = None
    expires_in: float | None = None
    dedup_key: str | None = None
    live_key: str | None = None
    max_attempts: int | None = None
    lease: float | None = None
    meta: dict[str, Any] | None = None
    wake: bool | None = None


@dataclass(frozen=True, slots=True)
class Enqueued:
    """An enqueued job: `ok`, or `duplicate` with the id of the first job of its key."""

    item: int
    job_id: UUID
    verdict: Verdict

    @property
    def id(self) -> UUID:
        """The job's id."""
        return self.job_id


@dataclass(frozen=True, slots=True)
class Job:
    """A job that the caller holds: what to do, and until when it is nobody else's."""

    request: int
    job_id: UUID
    tenant_id: UUID
    queue: str
    job_type: str
    priority: int
    input: Any
    meta: dict[str, Any]
    run_at: datetime | None
    attempt: int
    max_attempts: int
    lease_epoch: int
    lease_expires_at: datetime
    lease_seconds: float
    started_at: datetime | None
    delivery: Delivery
    expires_at: datetime | None
    created_at: datetime

    @property
    def id(self) -> UUID:
        """The job's id."""
        return self.job_id


@dataclass(frozen=True, slots=True)
class JobInfo:
    """Where a job stands: the view `jobengine.jobs`."""

    job_id: UUID
    tenant_id: UUID
    queue: str
    job_type: str
    priority: int
    status: Status
    attempt: int
    max_attempts: int
    lease_epoch: int
    delivery: Delivery
    input: Any
    meta: dict[str, Any]
    output: Any
    error_code: str | None
    error_message: str | None
    agent_id: str | None
    cancel_reason: str | None
    dedup_key: str | None
    live_key: str | None
    created_at: datetime
    run_at: datetime | None
    expires_at: datetime | None
    claimed_at: datetime | None
    started_at: datetime | None
    lease_expires_at: datetime | None
    finished_at: datetime | None
    settled_status: Status | None
    settle_error: str | None
    settle_at: datetime | None

    @property
    def id(self) -> UUID:
        """The job's id."""
        return self.job_id

    @property
    def ended(self) -> bool:
        """Whether the job has ended; an `unknown` one may still be resolved."""
        return self.status in ENDED


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What became of a held job; `delay` (seconds) is for `snooze`, or replaces the backoff."""

    job_id: UUID
    lease_epoch: int
    outcome: Outcome
    output: Any = None
    error_code: str | None = None
    error_message: str | None = None
    delay: float | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """The answer to `start`: `ok`, `duplicate`, `stale_lease` or `not_found`."""

    item: int
    job_id: UUID
    verdict: Verdict
    lease_expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Extended:
    """The answer to `extend`; with a `cancel_reason` the holder is asked to stop."""

    item: int
    job_id: UUID
    verdict: Verdict
    lease_expires_at: datetime | None
    cancel_reason: str | None


@dataclass(frozen=True, slots=True)
class Finished:
    """The answer to `finish`, with the status that the job has now, if it is known."""

    item: int
    job_id: UUID
    verdict: Verdict
    status: Status | None


@dataclass(frozen=True, slots=True)
class Released:
    """The answer to `release`: `ok`, `conflict`, `stale_lease` or `not_found`."""

    item: int
    job_id: UUID
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The answer to `cancel`: `ok` with `running` means that its holder is asked to stop."""

    job_id: UUID
    verdict: Verdict
    status: Status | None


@dataclass(frozen=True, slots=True)
class Retried:
    """The answer to `retry`: `ok`, `conflict`, `settle_failed`, `not_found` or `busy`."""

    job_id: UUID
    verdict: Verdict
    status: Status | None


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep did; `more`: a limit was met, sweep again."""

    returned: int
    ended: int
    settled: int
    more: bool


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a prune removed; `more`: go on after `last_job_id`."""

    pruned: int
    last_job_id: UUID | None
    more: bool


@dataclass(frozen=True, slots=True)
class QueueStats:
    """What waits in a queue, what is held, and what needs an operator."""

    tenant_id: UUID
    queue: str
    due: int
    scheduled: int
    claimed: int
    running: int
    unknown: int
    unsettled: int
    oldest_due_seconds: float | None


@dataclass(frozen=True, slots=True)
class Reject:
    """Returned by a handler: the job fails for good, without another attempt."""

    message: str
    code: str = "rejected"


@dataclass(frozen=True, slots=True)
class Snooze:
    """Returned by a handler: again in so many seconds, without spending an attempt."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Cancel:
    """Returned by a handler: the job ends `cancelled`."""

    reason: str = "cancelled"
