"""What every operation of the model shares: the jobs, the clock, and the one way to end."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from jobengine.testing.model.jobs import (
    Between,
    Ended,
    Host,
    Job,
    JobType,
    Lease,
    Ready,
    Settled,
    Time,
)


class Store:
    """Jobs, each ready, leased or ended."""

    def __init__(self, types: Iterable[JobType], host: Host, now: datetime) -> None:
        self.types = {kind.name: kind for kind in types}
        self.host = host
        self.now = now
        self.jobs: dict[UUID, Job] = {}

    def adopt(self, job_id: UUID, time: datetime) -> None:
        """Go on with the time that the engine chose."""
        match self.jobs[job_id].at:
            case Ready() as ready:
                ready.run_at = time
            case Ended() as ended:
                ended.settle_at = time

    def _held(self, job_id: UUID, epoch: int) -> Lease | None:
        job = self.jobs.get(job_id)
        if job is None or not isinstance(job.at, Lease) or job.at.lapsed or job.at.epoch != epoch:
            return None
        return job.at

    def _strayed(self, job_id: UUID) -> str:
        return "stale_lease" if job_id in self.jobs else "not_found"

    def _back(
        self, job: Job, lease: Lease, run_at: Time, *, spent: bool, lost: int | None = None
    ) -> None:
        job.at = Ready(
            run_at=run_at,
            attempt=lease.attempt if spent else lease.attempt - 1,
            epoch=lease.epoch,
            lost=lease.lost if lost is None else lost,
            expires_at=lease.expires_at,
        )

    def _end_ready(self, job: Job, ready: Ready, status: str, message: str | None) -> None:
        self._end(
            job,
            Ended(
                status=status,
                attempt=ready.attempt,
                epoch=ready.epoch,
                finished_at=self.now,
                error_code=status,
                error_message=message,
            ),
        )

    def _end_held(
        self,
        job: Job,
        lease: Lease,
        status: str,
        *,
        code: str | None,
        message: str | None = None,
        output: dict[str, Any] | None = None,
    ) -> None:
        self._end(
            job,
            Ended(
                status=status,
                attempt=lease.attempt,
                epoch=lease.epoch,
                finished_at=self.now,
                agent=lease.agent,
                claimed_at=lease.claimed_at,
                started_at=lease.started_at,
                output=output,
                error_code=code,
                error_message=message,
            ),
        )

    def _end(self, job: Job, ended: Ended) -> None:
        job.at = ended
        self._settle(job, ended)

    def _settle(self, job: Job, ended: Ended) -> None:
        if job.type.settle is None:
            return
        ended.settle_error = self._tell(job, ended.status, ended.settled_status, ended.output)
        if ended.settle_error is None:
            ended.settled_status, ended.settle_tries, ended.settle_at = ended.status, 0, None
        else:
            ended.settle_tries += 1
            again = self._jitter(min(3600, 2 ** (ended.settle_tries - 1)))
            ended.settle_at = None if ended.settle_error == "parent_gone" else again

    def _tell(
        self, job: Job, status: str, prior_status: str | None, output: Any = None
    ) -> str | None:
        if job.type.settle is None:
            return None
        return self.host.settle(
            job.type.settle, Settled(job.job_id, status, prior_status, job.input, output)
        )

    def _backoff(self, job: Job, attempt: int) -> Between:
        kind = job.type
        return self._jitter(
            min(kind.backoff_max_seconds, kind.backoff_seconds * 2 ** (attempt - 1))
        )

    def _jitter(self, seconds: float) -> Between:
        return Between(self._in(0.8 * seconds), self._in(1.2 * seconds))

    def _in(self, seconds: float) -> datetime:
        return self.now + timedelta(seconds=seconds)

    def _ready(self) -> list[tuple[Job, Ready]]:
        return [(job, job.at) for job in self.jobs.values() if isinstance(job.at, Ready)]

    def _leases(self, *, lapsed: bool = False) -> list[tuple[Job, Lease]]:
        return [
            (job, job.at)
            for job in self.jobs.values()
            if isinstance(job.at, Lease) and (lapsed or not job.at.lapsed)
        ]

    def _ended(self) -> list[tuple[Job, Ended]]:
        return [(job, job.at) for job in self.jobs.values() if isinstance(job.at, Ended)]


def certain(time: Time) -> datetime:
    """Return a time that is known by now."""
    assert isinstance(time, datetime), f"{time} is the engine's to choose: adopt() one"
    return time
