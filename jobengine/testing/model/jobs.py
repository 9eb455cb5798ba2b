"""What the model keeps of a job, what its operations are told, and what it tells its host."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, TypeAlias
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Between:
    """A time that is the engine's to choose."""

    low: datetime
    high: datetime


Time: TypeAlias = datetime | Between


@dataclass(frozen=True, slots=True)
class JobType:
    """The limits that a job takes from its type; the defaults are the engine's."""

    name: str
    delivery: str = "at_least_once"
    settle: str | None = None
    priority: int = 5
    max_attempts: int = 5
    lease_seconds: float = 60
    backoff_seconds: float = 1
    backoff_max_seconds: float = 3600


@dataclass(frozen=True, slots=True)
class Item:
    """What enqueue is told of one job; None is the default."""

    job_type: str
    input: Any = None
    tenant: UUID | None = None
    queue: str | None = None
    priority: int | None = None
    delay: float | None = None
    expires_in: float | None = None
    max_attempts: int | None = None
    dedup_key: str | None = None
    live_key: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What finish is told of one lease."""

    job_id: UUID
    epoch: int
    outcome: str
    delay: float | None = None
    output: dict[str, Any] | None = None
    error_code: str | None = None
    error_message: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a claim."""

    agent: str
    queues: tuple[str, ...]
    limit: int
    tenant: UUID | None = None
    request_id: UUID | None = None
    two_phase: str = "never"


@dataclass(slots=True)
class Ready:
    run_at: Time
    attempt: int = 0
    epoch: int = 0
    lost: int = 0
    expires_at: datetime | None = None


@dataclass(slots=True)
class Lease:
    epoch: int
    attempt: int
    lost: int
    expires_at: datetime | None
    agent: str | None
    claimed_at: datetime
    started_at: datetime | None
    until: datetime
    request_id: UUID | None
    cancel_reason: str | None = None
    lapsed: bool = False


@dataclass(slots=True)
class Ended:
    status: str
    attempt: int
    epoch: int
    finished_at: datetime
    agent: str | None = None
    claimed_at: datetime | None = None
    started_at: datetime | None = None
    output: dict[str, Any] | None = None
    error_code: str | None = None
    error_message: str | None = None
    settled_status: str | None = None
    settle_error: str | None = None
    settle_tries: int = 0
    settle_at: Time | None = None


@dataclass(slots=True)
class Job:
    job_id: UUID
    tenant: UUID
    queue: str
    priority: int
    input: Any
    type: JobType
    max_attempts: int
    dedup_key: str | None
    live_key: str | None
    created_at: datetime
    at: Ready | Lease | Ended
    failures: dict[int, str] = field(default_factory=dict)  # lease epoch -> who reported it

    @property
    def status(self) -> str:
        match self.at:
            case Ready():
                return "pending"
            case Lease(lapsed=True):
                return "expired"
            case Lease():
                return "claimed" if self.at.started_at is None else "running"
            case Ended():
                return self.at.status


@dataclass(frozen=True, slots=True)
class Settled:
    """What a settle function is told of one job."""

    job_id: UUID
    status: str
    prior_status: str | None
    input: Any
    output: Any


class Host(Protocol):
    """The program whose settle functions the engine calls."""

    def settle(self, function: str, job: Settled, /) -> str | None:
        """Change the parents, or say why not: an error, or `parent_gone`."""
        ...
