"""Jobs of every kind that a call may meet, and every call that may meet them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from tests.sql.helpers import Engine

LEASE_SECONDS = 60
OUTCOMES = ("completed", "failed", "rejected", "snooze", "cancelled", "unknown")


@dataclass(frozen=True)
class Kind:
    """What a job brings with it."""

    job_type: str
    max_attempts: int
    expires_in: float | None

    def enqueue(self, engine: Engine) -> DictRow:
        """Put one in; like every builder below, returns the job's id and lease epoch."""
        limits = {"max_attempts": self.max_attempts, "expires_in": self.expires_in}
        job_id = engine.enqueue(self.job_type, **limits)
        return engine.job(job_id)

    def hold(self, engine: Engine, *, started: bool) -> DictRow:
        """Put one in and take it."""
        return engine.take(self.enqueue(engine)["job_id"], started=started)


KINDS = [
    Kind(job_type, *limits)
    for job_type, limits in product(("work", "trade"), ((1, None), (2, None), (2, 30.0)))
]


def nothing(engine: Engine, kind: Kind) -> DictRow:
    """No job, only its id."""
    job = kind.enqueue(engine)
    engine.cancel(job["job_id"])
    engine.clock.advance(1)
    engine.call("prune", keep_seconds=0)
    return job


def pending(engine: Engine, kind: Kind) -> DictRow:
    return kind.enqueue(engine)


def pending_past_its_expiry(engine: Engine, kind: Kind) -> DictRow:
    job = kind.enqueue(engine)
    engine.clock.advance(31)
    return job


def pending_again(engine: Engine, kind: Kind) -> DictRow:
    job = kind.hold(engine, started=True)
    engine.finish(job, "snooze", delay=1)
    engine.clock.advance(2)
    return job


def claimed(engine: Engine, kind: Kind) -> DictRow:
    return kind.hold(engine, started=False)


def claimed_past_the_expiry(engine: Engine, kind: Kind) -> DictRow:
    job = claimed(engine, kind)
    engine.clock.advance(31)
    return job


def claimed_and_run_out(engine: Engine, kind: Kind) -> DictRow:
    job = claimed(engine, kind)
    engine.clock.advance(LEASE_SECONDS + 1)
    return job


def claimed_for_the_20th_time_and_run_out(engine: Engine, kind: Kind) -> DictRow:
    job = claimed(engine, kind)
    for _ in range(19):
        if engine.status(job["job_id"]) == "claimed":
            engine.clock.advance(LEASE_SECONDS + 1)
            engine.sweep()
            job = next(iter(engine.claim(two_phase="always")), job)
    engine.clock.advance(LEASE_SECONDS + 1)
    return job


def running(engine: Engine, kind: Kind) -> DictRow:
    return kind.hold(engine, started=True)


def running_and_run_out(engine: Engine, kind: Kind) -> DictRow:
    job = running(engine, kind)
    engine.clock.advance(LEASE_SECONDS + 1)
    return job


def running_and_asked_to_stop(engine: Engine, kind: Kind) -> DictRow:
    job = running(engine, kind)
    assert engine.cancel(job["job_id"]) == [("ok", "running")]
    return job


def running_asked_to_stop_and_run_out(engine: Engine, kind: Kind) -> DictRow:
    job = running_and_asked_to_stop(engine, kind)
    engine.clock.advance(LEASE_SECONDS + 1)
    return job


def completed(engine: Engine, kind: Kind) -> DictRow:
    return ended(engine, kind, "completed")


def failed(engine: Engine, kind: Kind) -> DictRow:
    return ended(engine, kind, "rejected")


def cancelled(engine: Engine, kind: Kind) -> DictRow:
    return ended(engine, kind, "cancelled")


def unknown(engine: Engine, kind: Kind) -> DictRow:
    """Unknown, where the job's delivery knows that."""
    return ended(engine, kind, "unknown")


def ended(engine: Engine, kind: Kind, outcome: str) -> DictRow:
    job = running(engine, kind)
    engine.finish(job, outcome)
    return job


def expired_and_still_in_lease(engine: Engine, kind: Kind) -> DictRow:
    job = pending_past_its_expiry(engine, kind)
    engine.claim()
    return engine.job(job["job_id"])


def expired(engine: Engine, kind: Kind) -> DictRow:
    job = expired_and_still_in_lease(engine, kind)
    engine.sweep()
    return job


SITUATIONS: dict[str, Callable[[Engine, Kind], DictRow]] = {
    builder.__name__: builder
    for builder in (
        nothing,
        pending,
        pending_past_its_expiry,
        pending_again,
        claimed,
        claimed_past_the_expiry,
        claimed_and_run_out,
        claimed_for_the_20th_time_and_run_out,
        running,
        running_and_run_out,
        running_and_asked_to_stop,
        running_asked_to_stop_and_run_out,
        completed,
        failed,
        cancelled,
        unknown,
        expired_and_still_in_lease,
        expired,
    )
}


def calls(job: DictRow) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every function of the engine with every argument that decides what it does."""
    job_id, epoch = job["job_id"], job["lease_epoch"]
    yield "enqueue", {"job_types": ["work"]}
    for phases in ("never", "at_most_once", "always"):
        request = {"queues": ["default"], "agent_id": "agent", "limit": 1, "two_phase": phases}
        yield "claim", {"requests": Jsonb([request])}
    for stale in (0, 1):
        lease = {"job_ids": [job_id], "lease_epochs": [epoch - stale]}
        for name in ("start", "extend", "release"):
            yield name, lease
        for outcome in OUTCOMES:
            yield "finish", {**lease, "outcomes": [outcome]}
    yield "cancel", {"job_ids": [job_id]}
    yield "cancel", {"tenant_id": job["tenant_id"], "queue": "default"}
    yield "retry", {"job_ids": [job_id]}
    yield "sweep", {}
    yield "prune", {"keep_seconds": 0}
    yield "get", {"job_ids": [job_id]}
    for name in ("list", "count", "stats"):
        yield name, {}
    yield "register_job_type", {"job_type": "work", "max_attempts": 1}
