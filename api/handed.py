"""What this process hands out: how an agent hears of a job, and who was given which lease.

What an agent says of a lease that it was given here needs no look first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from api import models
from jobengine import Job, Lease
from jobengine.records import Held, Started

if TYPE_CHECKING:
    from api.keys import Agent
    from api.service import Service

KEPT = 10_000  # leases; one that is forgotten, or of another process, costs a look


class Handed:
    """An epoch belongs to one holder for ever: what is known here does not grow old.

    Whether the lease still holds is for the engine to say, in the call that uses it.
    """

    def __init__(self) -> None:
        """Nothing was given yet."""
        self._agents: OrderedDict[tuple[UUID, int], UUID] = OrderedDict()

    def note(self, lease: Held, agent_id: UUID) -> None:
        """Remember to whom the lease was given."""
        self._agents[lease.job_id, lease.lease_epoch] = agent_id
        while len(self._agents) > KEPT:
            self._agents.popitem(last=False)

    def lease(self, job_id: UUID, epoch: int | None, agent_id: UUID) -> Lease | None:
        """Return the lease, if it is known that this agent was given it."""
        if epoch is None or self._agents.get((job_id, epoch)) != agent_id:
            return None
        return Lease(job_id, epoch)


def given_all(
    service: Service, agent: Agent, jobs: Sequence[Job], *, listed: bool
) -> models.AgentJob | models.AgentJobs:
    """Return the jobs, which need no further step: `listed`, or the only one."""
    found = [given(service, agent, job) for job in jobs]
    return models.AgentJobs(jobs=found) if listed else found[0]


def given(
    service: Service, agent: Agent, job: Job, started: Started | None = None
) -> models.AgentJob:
    """Return the job as its agent hears of it, and note that it is the agent's."""
    service.metrics.jobs_delivered += 1
    service.handed.note(job, agent.agent_id)
    lease_expires_at = (started and started.lease_expires_at) or job.lease_expires_at
    return _agent_job(job, lease_expires_at, begun=bool(started or job.started_at))


def _agent_job(job: Job, lease_expires_at: datetime, *, begun: bool) -> models.AgentJob:
    return models.AgentJob(
        job_id=job.job_id,
        job_type=job.job_type,
        type=job.job_type,
        input_data=job.input,
        payload=job.input,
        status="running" if begun else "claimed",
        attempt=job.attempt,
        lease_epoch=job.lease_epoch,
        lease_seconds=job.lease_seconds,
        lease_expires_at=lease_expires_at,
        expires_at=job.expires_at,
        created_at=job.created_at,
    )
