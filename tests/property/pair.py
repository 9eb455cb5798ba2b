"""The engine and its model side by side: every operation is done by both, and must agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import DictRow

from jobengine.testing import Clock
from jobengine.testing.model import Answer, Item, Job, JobType, Model, Report, Request
from tests.property import host, snapshot
from tests.property.engine import Engine, Row
from tests.property.snapshot import Snapshot

HeldLease = tuple[UUID, int]
# Few attempts and short times, so that they are met.
_LIMITS: dict[str, Any] = {
    "max_attempts": 2,
    "lease_seconds": 10,
    "backoff_seconds": 4,
    "backoff_max_seconds": 6,
}


def _kind(name: str, **limits: Any) -> JobType:
    return JobType(name, **_LIMITS | limits)


TYPES = (
    _kind("plain", backoff_seconds=0),
    _kind("once", delivery="at_most_once", priority=0),
    _kind("sum", settle="settle_sum", max_attempts=3),
    _kind("trade", delivery="at_most_once", settle="settle_sum", priority=0),
    _kind("build", settle="settle_last", backoff_seconds=0),
    _kind("deploy", delivery="at_most_once", settle="settle_last", lease_seconds=5),
)
WITHOUT_EFFECT = {"stale_lease", "duplicate", "conflict", "not_found"}


def prepare(conn: psycopg.Connection[DictRow]) -> Clock:
    """Make the host and the job types, which every pair on this connection shares."""
    clock = Clock(conn)
    host.install(conn)
    for kind in TYPES:
        Engine(conn).register(kind)
    return clock


class Pair:
    """One transaction of the engine, rolled back at the end, and a model of it."""

    def __init__(self, conn: psycopg.Connection[DictRow], clock: Clock) -> None:
        conn.execute("begin")
        conn.execute("select setseed(0)")  # the same steps meet the same jitter
        self.engine = Engine(conn)
        self._clock = clock
        self.host = host.Host()
        self.model = Model(TYPES, self.host, datetime(2030, 1, 1, tzinfo=UTC))
        self._seen = snapshot.of_engine(conn)
        self._granted: dict[UUID, dict[int, tuple[str, UUID | None]]] = {}
        self._pruned: Counter[str] = Counter()
        self._quiet = False  # the last step had no effect, says the engine

    def close(self) -> None:
        self.engine.conn.execute("rollback")

    # --- the operations ---

    def enqueue(self, items: Sequence[Item]) -> list[UUID]:
        """Return the ids of the new jobs, which are later than all before."""
        self.tick(0.000001)
        rows = self.engine.enqueue(items)
        found = [(row["verdict"], row["job_id"]) for row in rows]
        new = [job_id for verdict, job_id in found if verdict == "ok"]
        assert [row["item"] for row in rows] == list(range(1, len(items) + 1)), rows
        assert new == sorted(new), "ids of one call do not ascend"
        self._agree("enqueue", self.model.enqueue(items, [row["job_id"] for row in rows]), found)
        return new

    def claim(self, requests: Sequence[Request]) -> list[tuple[str, HeldLease]]:
        """Return who holds which lease now."""
        rows = self.engine.claim(requests)
        expected = [
            (number, _granted(job))
            for number, jobs in enumerate(self.model.claim(requests), 1)
            for job in jobs
        ]
        rows.sort(key=lambda row: row["request"])  # repeated requests come first
        found = [(row["request"], _given(row)) for row in rows]
        self._agree("claim", expected, found)
        self._quiet = False  # jobs may have lapsed
        for row in rows:
            self._no_double_claim(row, requests[row["request"] - 1])
        return [
            (requests[row["request"] - 1].agent, (row["job_id"], row["lease_epoch"]))
            for row in rows
        ]

    def start(self, leases: Sequence[HeldLease]) -> None:
        rows = self.engine.start(leases)
        expected = self.model.start(leases)
        self._agree("start", expected, _verdicts(rows))
        if any(self._lapsed(job_id) for job_id, _ in leases):
            self._quiet = False
        for row in rows:
            kept = row["verdict"] in ("ok", "duplicate")
            assert row["lease_expires_at"] == (self._until(row["job_id"]) if kept else None), row

    def extend(self, leases: Sequence[HeldLease], seconds: float | None) -> None:
        rows = self.engine.extend(leases, seconds)
        self._agree("extend", self.model.extend(leases, seconds), _verdicts(rows))
        for row in rows:
            kept = row["verdict"] == "ok"
            assert row["lease_expires_at"] == (self._until(row["job_id"]) if kept else None), row
            lease = self.model.jobs[row["job_id"]].at if kept else None
            assert row["cancel_reason"] == getattr(lease, "cancel_reason", None), row

    def release(self, leases: Sequence[HeldLease]) -> None:
        rows = self.engine.release(leases)
        self._agree("release", self.model.release(leases), _verdicts(rows))

    def finish(self, reports: Sequence[Report]) -> None:
        rows = self.engine.finish(reports)
        found = [(row["verdict"], row["status"]) for row in rows]
        self._agree("finish", self.model.finish(reports), found)

    def cancel(self, ids: Sequence[UUID], reason: str, tenant: UUID | None) -> None:
        found = _answers(self.engine.cancel(ids, reason, tenant))
        self._agree("cancel", self.model.cancel(ids, tenant, reason), found)

    def cancel_queue(self, tenant: UUID, queue: str, job_type: str | None, reason: str) -> None:
        found = _answers(self.engine.cancel_queue(tenant, queue, job_type, reason))
        ids = self.model.cancellable(tenant, queue, job_type)
        self._agree("cancel", self.model.cancel(ids, tenant, reason), found)

    def retry(
        self,
        ids: Sequence[UUID],
        delay: float | None,
        expires_in: float | None,
        tenant: UUID | None,
    ) -> None:
        run_at, expires_at = (
            None if seconds is None else self.now + timedelta(seconds=seconds)
            for seconds in (delay, expires_in)
        )
        found = _answers(self.engine.retry(ids, run_at, expires_at, tenant))
        self._agree("retry", self.model.retry(ids, run_at, expires_at, tenant), found)

    def sweep(self) -> None:
        row = self.engine.sweep()
        found = (row["returned"], row["ended"], row["settled"])
        self._agree("sweep", self.model.sweep(), found)
        assert row["more"] is False

    def prune(self, keep_seconds: float) -> None:
        before = dict(self._seen.jobs)
        row = self.engine.prune(keep_seconds)
        gone = self.model.prune(keep_seconds)
        self._agree("prune", len(gone), row["pruned"])
        self._pruned.update(_settled_sums(before[job_id] for job_id in gone))

    # --- the world around ---

    @property
    def now(self) -> datetime:
        return self.model.now

    def tick(self, seconds: float) -> None:
        """Move the clock on, or back."""
        self._clock.advance(seconds)
        self.model.now += timedelta(seconds=seconds)

    def times_to_come(self) -> list[datetime]:
        """Return when a lease or a job runs out, or a job or a settle falls due."""
        names = ("run_at", "expires_at", "lease_expires_at", "settle_at")
        times = [job[name] for job in self._seen.jobs.values() for name in names]
        return sorted({time for time in times if time is not None and time > self.now})

    def most_of_a_type(self) -> int:
        return max(Counter(job.type.name for job in self.model.jobs.values()).values(), default=0)

    def mood(self, mood: str) -> None:
        """Let every settle function work (`calm`), fail (`broken`) or be `locked`."""
        self.engine.conn.execute("update public.mood set mood = %s", (mood,))
        self.host.mood = mood

    def poison(self, job_id: UUID) -> None:
        self.engine.conn.execute("insert into public.poison values (%s)", (job_id,))
        self.host.poison.add(job_id)

    def heal(self, job_id: UUID) -> None:
        self.engine.conn.execute("delete from public.poison where job_id = %s", (job_id,))
        self.host.poison.discard(job_id)

    # --- what must hold after every step ---

    def check(self) -> None:
        found = snapshot.of_engine(self.engine.conn)
        expected = snapshot.of_model(self.model, self.host)
        wrong = snapshot.differences(expected, found)
        assert not wrong, "\n".join(wrong)
        for job_id, time in snapshot.chosen_times(expected, found).items():
            self.model.adopt(job_id, time)
        self._no_lost_job(found)
        self._no_stale_effect(found)
        self._settled_equals_ended(found)
        self._seen = found

    def _no_lost_job(self, found: Snapshot) -> None:
        for job_id, job in found.jobs.items():
            assert job["places"] == 1, f"no_lost_job: {job_id} is in {job['places']} tables"

    def _no_double_claim(self, row: Row, request: Request) -> None:
        """Judge by what was granted and shown before, not by the model."""
        job_id, epoch = row["job_id"], row["lease_epoch"]
        granted = self._granted.setdefault(job_id, {})
        claimer = (request.agent, request.request_id)
        if epoch in granted:
            again = request.request_id is not None and granted[epoch] == claimer
            assert again, f"no_double_claim: {job_id} {epoch} twice"
        else:
            assert epoch > max(granted, default=0), f"no_double_claim: {job_id} back to {epoch}"
            before = self._seen.jobs[job_id]["status"]
            assert before == "pending", f"no_double_claim: {job_id} was {before}"
            granted[epoch] = claimer

    def _no_stale_effect(self, found: Snapshot) -> None:
        if self._quiet:
            assert found == self._seen, "no_stale_effect: a refused call changed something"

    def _settled_equals_ended(self, found: Snapshot) -> None:
        folded = self._pruned + Counter(_settled_sums(found.jobs.values()))
        assert folded == Counter(found.sums), f"settled_equals_ended: {folded}, {found.sums}"
        for job_id, job in found.jobs.items():
            if job["finished_at"] is not None and self.model.types[job["job_type"]].settle:
                listed = job["settle_at"] is not None or job["settle_error"] == "parent_gone"
                settled = job["settled_status"] == job["status"]
                assert settled != listed, f"settled_equals_ended: {job_id} {job}"

    # --- looking without changing ---

    def look(self, tenant: UUID | None) -> None:
        """Compare list, stats and the next due time."""
        jobs = [job for job in self.model.jobs.values() if tenant in (None, job.tenant)]
        for status in ("pending", "claimed", "running", "completed", "expired", "unknown"):
            ids = sorted((job.job_id for job in jobs if job.status == status), reverse=True)
            assert self.engine.listed(tenant, status) == ids, status
        rows = self.engine.stats(tenant)
        assert _stats(rows, "unknown") == sum(job.status == "unknown" for job in jobs), rows
        assert _stats(rows, "running") == sum(job.status == "running" for job in jobs), rows
        assert _stats(rows, "due") + _stats(rows, "scheduled") == sum(
            job.status == "pending" for job in jobs
        ), rows

    # --- helpers ---

    def _agree(self, what: str, expected: object, found: object) -> None:
        assert expected == found, f"{what}: expected {expected}, found {found}"
        self._quiet = _without_effect(found)

    def _lapsed(self, job_id: UUID) -> bool:
        job = self.model.jobs.get(job_id)
        return job is not None and getattr(job.at, "lapsed", False)

    def _until(self, job_id: UUID) -> datetime | None:
        until: datetime | None = getattr(self.model.jobs[job_id].at, "until", None)
        return until


def _granted(job: Job) -> dict[str, Any]:
    """Return what claim must say of a job that the model has leased."""
    lease: Any = job.at
    return {
        "job_id": job.job_id,
        "tenant_id": job.tenant,
        "queue": job.queue,
        "job_type": job.type.name,
        "priority": job.priority,
        "parent": job.input["parent"],
        "attempt": lease.attempt,
        "max_attempts": job.max_attempts,
        "lease_epoch": lease.epoch,
        "lease_expires_at": lease.until,
        "lease_seconds": job.type.lease_seconds,
        "started_at": lease.started_at,
        "delivery": job.type.delivery,
        "expires_at": lease.expires_at,
        "created_at": job.created_at,
    }


def _given(row: Row) -> dict[str, Any]:
    given = row | {"parent": row["input"]["parent"]}
    return {
        name: value
        for name, value in given.items()
        if name not in ("request", "input", "meta", "run_at")
    }


def _verdicts(rows: Iterable[Row]) -> list[str]:
    return [row["verdict"] for row in rows]


def _answers(rows: Iterable[Row]) -> dict[UUID, Answer]:
    return {row["job_id"]: (row["verdict"], row["status"]) for row in rows}


def _without_effect(found: object) -> bool:
    """Tell whether every verdict of an answer says that nothing changed."""
    answers = found.values() if isinstance(found, dict) else found
    if not isinstance(answers, Iterable):
        return False
    verdicts = [answer[0] if isinstance(answer, tuple) else answer for answer in answers]
    return all(verdict in WITHOUT_EFFECT for verdict in verdicts)


def _settled_sums(jobs: Iterable[dict[str, Any]]) -> Counter[str]:
    sums = {kind.name for kind in TYPES if kind.settle == "settle_sum"}
    return Counter(
        f"{job['parent']}/{job['settled_status']}"
        for job in jobs
        if job["job_type"] in sums and job["settled_status"] is not None
    )


def _stats(rows: Iterable[Row], name: str) -> int:
    return sum(row[name] for row in rows)
