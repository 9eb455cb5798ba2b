"""Jobs, as agents work on them and as their owners see them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import Field, JsonValue, model_validator

from api.models.base import Answer, Body, Epoch, JobStatus, Json, Limit, Name, Query, Seconds, Text

MOST_JOBS = 100  # that one question may bring


class NoJobs(Answer):
    """Nothing to do."""

    no_jobs: Literal[True] = True


class AgentJob(Answer):
    """A job to do, held until `lease_expires_at`; `type` and `payload` repeat the two before."""

    job_id: UUID
    job_type: str
    type: str
    input_data: JsonValue
    payload: JsonValue
    status: Literal["claimed", "running"]
    attempt: int
    lease_epoch: int
    lease_seconds: float
    lease_expires_at: datetime
    expires_at: datetime | None
    created_at: datetime


class AgentJobs(Answer):
    """Jobs to do, in this order, for an agent that asked with `max`."""

    jobs: list[AgentJob]


class Held(Body):
    """The lease that is spoken of; without an epoch, the one that this agent holds."""

    lease_epoch: Epoch | None = None


class Extend(Held):
    """Keep the lease, by its own length or so many seconds from now."""

    seconds: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] | None = None


class Result(Held):
    """What became of the job.

    `failed` is final. With `output_data.outcome` = "unknown" nobody can say whether it was done.
    """

    status: Literal["completed", "failed"]
    output_data: Json | None = None
    error_message: Text | None = None


class Started(Answer):
    """The job is running; `repeated`: it was before this call, and may have been done."""

    job_id: UUID
    status: Literal["running"]
    lease_epoch: int
    lease_expires_at: datetime | None
    repeated: bool


class Extended(Answer):
    """The lease's new end; with `cancel_requested`, stop and report."""

    job_id: UUID
    lease_epoch: int
    lease_expires_at: datetime | None
    cancel_requested: bool
    cancel_reason: str | None


class Acknowledged(Answer):
    """Taken note of."""

    acknowledged: Literal[True] = True


class NextQuery(Query):
    """`wait` up to 30 seconds for a job; `ack=1`: it is begun by a call of `start`.

    The same `request_id` gets the same job again while its lease lasts; `first=1` says that it is
    new, so that nobody looks for such a lease. `max` asks for a list of up to so many jobs.
    """

    wait: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0
    ack: bool = False
    request_id: UUID | None = None
    first: bool = False
    max: Annotated[int, Field(ge=1, le=MOST_JOBS)] | None = None

    @model_validator(mode="after")
    def _begun_one_by_one(self) -> Self:
        if self.max is not None and not self.ack:
            raise ValueError("max: goes with ack=1 only")
        return self


class NewJob(Body):
    """A job of the nine types, for an agent, a broker connection or whoever comes first."""

    job_type: Name
    input_data: Json = Field(default_factory=dict)
    agent_id: UUID | None = None
    broker_connection_id: UUID | None = None
    parent_type: Name | None = None
    parent_id: UUID | None = None
    dedup_key: Name | None = None
    live_key: Name | None = None
    expires_in: Seconds | None = None


class Created(Answer):
    """The job's id; `duplicate`: the first job of the same key."""

    job_id: UUID
    verdict: Literal["ok", "duplicate"]
    queue: str


class Job(Answer):
    """A job and where it stands."""

    id: UUID
    job_type: str
    status: JobStatus
    agent_id: UUID | None
    broker_connection_id: UUID | None
    parent_type: str | None
    parent_id: UUID | None
    queue: str
    priority: int
    input_data: JsonValue
    output_data: JsonValue
    error_code: str | None
    error_message: str | None
    cancel_reason: str | None
    attempt: int
    max_attempts: int
    lease_epoch: int
    created_at: datetime
    run_at: datetime | None
    expires_at: datetime | None
    claimed_at: datetime | None
    started_at: datetime | None
    lease_expires_at: datetime | None
    finished_at: datetime | None


class CancelJob(Body):
    """Why."""

    reason: Annotated[str, Field(min_length=1, max_length=200)] | None = None


class Cancelled(Answer):
    """The job's status now; `running`: its agent is asked to stop."""

    job_id: UUID
    status: JobStatus | None
    verdict: Literal["ok", "duplicate"]


class JobPage(Query):
    """The page of jobs before the job of that id."""

    status: JobStatus | None = None
    job_type: Name | None = None
    before: UUID | None = None
    limit: Limit = 50
