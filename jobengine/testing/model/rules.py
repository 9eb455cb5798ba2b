"""What the engine promises, in plain Python: one dictionary of jobs, one clock, no concurrency.

Written from the design and the headers of the functions. A time that the engine jitters is a
`Between` until `adopt` replaces it by the one that the engine chose.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from jobengine.records import NO_TENANT
from jobengine.testing.model.jobs import Ended, Item, Job, Lease, Ready, Report, Request
from jobengine.testing.model.store import Store, certain

LOST_LEASES = 20
RETRYABLE = ("failed", "cancelled", "expired")
Answer = tuple[str, str | None]  # verdict and status


class Model(Store):
    """The engine."""

    # --- putting in, and taking ---

    def enqueue(self, items: Sequence[Item], ids: Sequence[UUID]) -> list[tuple[str, UUID]]:
        """Answer verdict and id per item; `ids` are those that new jobs get."""
        return [self._enqueue(item, new) for item, new in zip(items, ids, strict=True)]

    def _enqueue(self, item: Item, new: UUID) -> tuple[str, UUID]:
        tenant = item.tenant or NO_TENANT
        for job in self.jobs.values():
            same_dedup = item.dedup_key is not None and job.dedup_key == item.dedup_key
            same_live = item.live_key is not None and self._live(job) == item.live_key
            if job.tenant == tenant and (same_dedup or same_live):
                return "duplicate", job.job_id
        kind = self.types[item.job_type]
        expires_at = None if item.expires_in is None else self._in(item.expires_in)
        self.jobs[new] = Job(
            job_id=new,
            tenant=tenant,
            queue=item.queue or "default",
            priority=kind.priority if item.priority is None else item.priority,
            input=item.input,
            type=kind,
            max_attempts=item.max_attempts or kind.max_attempts,
            dedup_key=item.dedup_key,
            live_key=item.live_key,
            created_at=self.now,
            at=Ready(run_at=self._in(item.delay or 0), expires_at=expires_at),
        )
        return "ok", new

    def _live(self, job: Job) -> str | None:
        return None if isinstance(job.at, Ended) else job.live_key

    def claim(self, requests: Sequence[Request]) -> list[list[Job]]:
        """Answer the jobs that each request gets, in order."""
        return [self._repeated(request) or self._claim(request) for request in requests]

    def _repeated(self, request: Request) -> list[Job]:
        if request.request_id is None:
            return []
        held = [
            job
            for job, lease in self._leases()
            if lease.request_id == request.request_id
            and lease.agent == request.agent
            and lease.until > self.now
            and request.tenant in (None, job.tenant)
        ]
        return sorted(held, key=lambda job: (job.priority, job.job_id))

    def _claim(self, request: Request) -> list[Job]:
        taken: list[Job] = []
        for job, ready in self._due(request):
            if len(taken) == request.limit:
                break
            job.at = self._lease(job, ready, request)
            if not job.at.lapsed:
                taken.append(job)
        return taken

    def _due(self, request: Request) -> list[tuple[Job, Ready]]:
        due = [
            (job, ready)
            for job, ready in self._ready()
            if request.tenant in (None, job.tenant)
            and job.queue in request.queues
            and certain(ready.run_at) <= self.now
        ]
        return sorted(
            due,
            key=lambda pair: (
                pair[0].tenant,
                pair[0].priority,
                request.queues.index(pair[0].queue),
                certain(pair[1].run_at),
                pair[0].job_id,
            ),
        )

    def _lease(self, job: Job, ready: Ready, request: Request) -> Lease:
        lapsed = ready.expires_at is not None and ready.expires_at <= self.now
        two_phase = request.two_phase in ("always", job.type.delivery)
        begun = not lapsed and not two_phase
        return Lease(
            epoch=ready.epoch + 1,
            attempt=ready.attempt + 1,
            lost=0 if begun else ready.lost,
            expires_at=ready.expires_at,
            agent=None if lapsed else request.agent,
            claimed_at=self.now,
            started_at=self.now if begun else None,
            until=self.now if lapsed else self._in(job.type.lease_seconds),
            request_id=None if lapsed else request.request_id,
            lapsed=lapsed,
        )

    # --- holding ---

    def start(self, items: Sequence[tuple[UUID, int]]) -> list[str]:
        return [self._start(*item) for item in items]

    def _start(self, job_id: UUID, epoch: int) -> str:
        lease = self._held(job_id, epoch)
        if lease is None:
            return self._strayed(job_id)
        if lease.started_at is not None:
            return "duplicate"
        if lease.expires_at is not None and lease.expires_at <= self.now:
            lease.lapsed, lease.agent, lease.request_id, lease.until = True, None, None, self.now
            return "stale_lease"
        lease.started_at, lease.lost = self.now, 0
        lease.until = self._in(self.jobs[job_id].type.lease_seconds)
        return "ok"

    def extend(self, items: Sequence[tuple[UUID, int]], seconds: float | None) -> list[str]:
        verdicts = []
        for job_id, epoch in items:
            lease = self._held(job_id, epoch)
            if lease is not None:
                lease.until = self._in(seconds or self.jobs[job_id].type.lease_seconds)
            verdicts.append("ok" if lease is not None else self._strayed(job_id))
        return verdicts

    def release(self, items: Sequence[tuple[UUID, int]]) -> list[str]:
        return [self._release(*item) for item in items]

    def _release(self, job_id: UUID, epoch: int) -> str:
        lease = self._held(job_id, epoch)
        if lease is None:
            return self._strayed(job_id)
        job = self.jobs[job_id]
        if lease.started_at is not None and job.type.delivery == "at_most_once":
            return "conflict"
        if lease.cancel_reason is not None:
            self._end_held(job, lease, "cancelled", code="cancelled", message=lease.cancel_reason)
        else:
            self._back(job, lease, self.now, spent=False)
        return "ok"

    # --- ending ---

    def finish(self, reports: Sequence[Report]) -> list[Answer]:
        """Answer verdict and status: holders are heard first, then who resolves an unknown."""
        answers: dict[int, Answer] = {}
        for hear in (self._hear_holder, self._hear_late):
            for place, report in enumerate(reports):
                if place not in answers and (answer := hear(report)):
                    answers[place] = answer
        for place, report in enumerate(reports):
            answers.setdefault(place, self._late_verdict(report))
        return [answers[place] for place in range(len(reports))]

    def _hear_holder(self, report: Report) -> Answer | None:
        lease = self._held(report.job_id, report.epoch)
        if lease is None:
            return None
        job = self.jobs[report.job_id]
        status = self._after(job, lease, report.outcome)
        if report.outcome in ("failed", "rejected", "unknown"):
            job.failures[lease.epoch] = "holder"
        if status == "pending":
            self._back_reported(job, lease, report)
            return "retried", status
        cancelled = status == "cancelled"
        self._end_held(
            job,
            lease,
            status,
            code=report.error_code or ("cancelled" if cancelled else None),
            message=report.error_message or (lease.cancel_reason if cancelled else None),
            output=report.output,
        )
        return self._recorded(job), status

    def _after(self, job: Job, lease: Lease, outcome: str) -> str:
        if outcome in ("completed", "cancelled"):
            return outcome
        if outcome == "rejected":
            return "failed"
        if outcome != "snooze":
            if lease.started_at is not None and job.type.delivery == "at_most_once":
                return outcome
            if lease.attempt >= job.max_attempts:
                return "failed"
        return "pending" if lease.cancel_reason is None else "cancelled"

    def _back_reported(self, job: Job, lease: Lease, report: Report) -> None:
        if report.outcome == "snooze":
            self._back(job, lease, self._in(report.delay or 0), spent=False, lost=0)
        elif report.delay is not None:
            self._back(job, lease, self._in(report.delay), spent=True)
        else:
            self._back(job, lease, self._backoff(job, lease.attempt), spent=True)

    def _hear_late(self, report: Report) -> Answer | None:
        job = self.jobs.get(report.job_id)
        status = {"completed": "completed", "failed": "failed", "rejected": "failed"}.get(
            report.outcome
        )
        if job is None or status is None or not isinstance(job.at, Ended):
            return None
        if job.at.status != "unknown" or job.at.epoch != report.epoch:
            return None
        job.at = replace(
            job.at,
            status=status,
            output=report.output,
            error_code=report.error_code,
            error_message=report.error_message,
            finished_at=self.now,
        )
        if status == "failed":
            job.failures.setdefault(report.epoch, "holder")
        self._settle(job, job.at)
        return self._recorded(job), status

    def _recorded(self, job: Job) -> str:
        assert isinstance(job.at, Ended)
        return "ok" if job.at.settle_error is None else "settle_failed"

    def _late_verdict(self, report: Report) -> Answer:
        job = self.jobs.get(report.job_id)
        if job is None:
            return "not_found", None
        ended = job.at if isinstance(job.at, Ended) else None
        status = ended.status if ended else None
        same_lease = ended is not None and ended.epoch == report.epoch
        said = "failed" if report.outcome == "rejected" else report.outcome
        if report.outcome == "unknown" and job.type.delivery == "at_least_once":
            said = "failed"
        if same_lease and said == status:
            return "duplicate", status
        resolved = same_lease and status == "completed"
        if said == "failed" and job.failures.get(report.epoch) == "holder" and not resolved:
            return "duplicate", status
        return "conflict" if same_lease else "stale_lease", status

    def cancel(self, ids: Iterable[UUID], tenant: UUID | None, reason: str) -> dict[UUID, Answer]:
        return {job_id: self._cancel(job_id, tenant, reason) for job_id in sorted(set(ids))}

    def cancellable(self, tenant: UUID, queue: str, job_type: str | None) -> list[UUID]:
        """Return the jobs that a cancel by queue means."""
        return [
            job.job_id
            for job in self.jobs.values()
            if (job.tenant, job.queue) == (tenant, queue)
            and job_type in (None, job.type.name)
            and job.status in ("pending", "claimed", "running")
            and not (isinstance(job.at, Lease) and job.at.cancel_reason)
        ]

    def _cancel(self, job_id: UUID, tenant: UUID | None, reason: str) -> Answer:
        job = self.jobs.get(job_id)
        if job is None or tenant not in (None, job.tenant):
            return "not_found", None
        match job.at:
            case Ready() as ready:
                self._end_ready(job, ready, "cancelled", reason)
                return "ok", "cancelled"
            case Lease(lapsed=False, started_at=None) as lease:
                self._end_held(job, lease, "cancelled", code="cancelled", message=reason)
                return "ok", "cancelled"
            case Lease(lapsed=False) as lease:
                lease.cancel_reason = lease.cancel_reason or reason
                return "ok", "running"
        return "duplicate" if job.status == "cancelled" else "conflict", job.status

    # --- again, and housekeeping ---

    def retry(
        self,
        ids: Iterable[UUID],
        run_at: datetime | None,
        expires_at: datetime | None,
        tenant: UUID | None,
    ) -> dict[UUID, Answer]:
        keys: set[tuple[UUID, str | None]] = set()
        ready = Ready(run_at=run_at or self.now, expires_at=expires_at)
        return {job_id: self._retry(job_id, ready, tenant, keys) for job_id in sorted(set(ids))}

    def _retry(
        self, job_id: UUID, ready: Ready, tenant: UUID | None, keys: set[tuple[UUID, str | None]]
    ) -> Answer:
        job = self.jobs.get(job_id)
        if job is None or tenant not in (None, job.tenant):
            return "not_found", None
        ended = job.at
        if not isinstance(ended, Ended) or ended.status not in RETRYABLE or ended.settle_at:
            return "conflict", job.status
        if job.live_key is not None:
            key = (job.tenant, job.live_key)
            taken = {(other.tenant, self._live(other)) for other in self.jobs.values()} | keys
            if key in taken:
                return "conflict", job.status
            keys.add(key)  # even if the parent refuses: keys are taken before parents are asked
        if self._tell(job, "pending", ended.settled_status) is not None:
            return "settle_failed", job.status
        job.at = replace(ready, epoch=ended.epoch)
        return "ok", "pending"

    def sweep(self) -> tuple[int, int, int]:
        """Answer how many went back to wait, ended, and were settled."""
        due = [
            (job, ended)
            for job, ended in self._ended()
            if ended.settle_at is not None and certain(ended.settle_at) <= self.now
        ]
        returned = ended_count = 0
        for job, lease in self._leases(lapsed=True):
            if lease.until <= self.now:
                self._run_out(job, lease)
                returned += isinstance(job.at, Ready)
                ended_count += isinstance(job.at, Ended)
        for job, ready in self._ready():
            if ready.expires_at is not None and ready.expires_at <= self.now:
                self._end_ready(job, ready, "expired", None)
                ended_count += 1
        for job, ended in due:
            self._settle(job, ended)
        return returned, ended_count, sum(ended.settle_error is None for _, ended in due)

    def _run_out(self, job: Job, lease: Lease) -> None:
        """Take back a lease that nobody kept."""
        if lease.lapsed:
            self._end_held(job, lease, "expired", code="expired")
        elif lease.started_at is None and lease.lost + 1 < LOST_LEASES:
            self._back(job, lease, self.now, spent=False, lost=lease.lost + 1)
        elif lease.started_at is None:
            job.failures[lease.epoch] = "sweep"
            self._end_held(job, lease, "failed", code="undeliverable")
        else:
            job.failures[lease.epoch] = "sweep"
            status = self._after(job, lease, "unknown")
            if status == "pending":
                self._back(job, lease, self._backoff(job, lease.attempt), spent=True)
            else:
                code = "cancelled" if status == "cancelled" else "lease_expired"
                self._end_held(job, lease, status, code=code, message=lease.cancel_reason)

    def prune(self, keep_seconds: float) -> list[UUID]:
        until = self._in(-keep_seconds)
        gone = [
            job.job_id
            for job, ended in self._ended()
            if ended.finished_at < until
            and job.created_at <= until
            and ended.status != "unknown"
            and ended.settle_at is None
        ]
        for job_id in gone:
            del self.jobs[job_id]
        return gone
