from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from tests.sql.helpers import ANNA, BERT, NOBODY, START, Engine, after, ids, second_session

NEVER = dict.fromkeys(
    [
        "output",
        "error_code",
        "error_message",
        "agent_id",
        "cancel_reason",
        "dedup_key",
        "live_key",
        "run_at",
        "expires_at",
        "claimed_at",
        "started_at",
        "lease_expires_at",
        "finished_at",
        "settled_status",
        "settle_error",
        "settle_at",
    ]
)


def fresh(job_id: UUID, **changes: Any) -> dict[str, Any]:
    """The view's row of a new job, with changes."""
    return {
        "job_id": job_id,
        "tenant_id": ANNA,
        "queue": "default",
        "job_type": "work",
        "priority": 5,
        "status": "pending",
        "attempt": 0,
        "max_attempts": 5,
        "lease_epoch": 0,
        "delivery": "at_least_once",
        "input": {"a": 1},
        "meta": {"b": 2},
        "created_at": START,
        **NEVER,
        **changes,
    }


def test_a_job_is_shown_as_it_is_at_every_moment(engine: Engine) -> None:
    job_id = engine.enqueue(
        tenant_id=ANNA, input={"a": 1}, meta={"b": 2}, live_key="k", expires_in=100
    )
    pending = fresh(job_id, live_key="k", run_at=START, expires_at=after(100))
    assert engine.job(job_id) == pending
    engine.clock.advance(1)
    lease = engine.take(job_id, started=False)
    held = {
        "status": "claimed",
        "attempt": 1,
        "lease_epoch": 1,
        "agent_id": "agent",
        "run_at": None,
        "claimed_at": after(1),
        "lease_expires_at": after(61),
    }
    assert engine.job(job_id) == pending | held
    engine.clock.advance(1)
    engine.verdict("start", lease)
    running = held | {"status": "running", "started_at": after(2), "lease_expires_at": after(62)}
    assert engine.job(job_id) == pending | running
    engine.cancel(job_id, reason="enough")
    assert engine.job(job_id) == pending | running | {"cancel_reason": "enough"}
    engine.clock.advance(1)
    engine.finish(lease, "completed", output={"c": 3}, error_code="E", error_message="text")
    ended = {
        "status": "completed",
        "output": {"c": 3},
        "error_code": "E",
        "error_message": "text",
        "expires_at": None,
        "lease_expires_at": None,
        "finished_at": after(3),
    }
    assert engine.job(job_id) == pending | running | ended


def test_a_lapsed_job_is_shown_as_expired(engine: Engine) -> None:
    job_id = engine.enqueue(expires_in=1)
    engine.clock.advance(1)
    engine.claim()
    lapsed = engine.job(job_id)
    assert (lapsed["status"], lapsed["expires_at"], lapsed["agent_id"]) == (
        "expired",
        after(1),
        None,
    )
    assert (lapsed["claimed_at"], lapsed["lease_expires_at"]) == (None, None)
    engine.sweep()
    assert engine.job(job_id)["status"] == "expired"


def test_the_jobs_that_exist_come_by_id(engine: Engine) -> None:
    job_ids = engine.enqueue_many(3)
    rows = engine.call("get", job_ids=[*job_ids[::-1], NOBODY, None, job_ids[0]])
    assert ids(rows) == job_ids
    assert engine.call("get", job_ids=[NOBODY]) == []
    assert engine.call("get", job_ids=[]) == []
    assert engine.call("get", job_ids=None) == []


def test_tenant_isolated_jobs_of_another_tenant_are_not_shown(engine: Engine) -> None:
    mine, theirs = engine.enqueue(tenant_id=ANNA), engine.enqueue(tenant_id=BERT)
    assert ids(engine.call("get", job_ids=[mine, theirs], tenant_id=ANNA)) == [mine]
    assert len(engine.call("get", job_ids=[mine, theirs])) == 2


@pytest.mark.parametrize("commit", ["before", "after"])
def test_no_lost_job_a_job_in_flight_is_seen_once(engine: Engine, commit: str) -> None:
    job_id = engine.enqueue()
    with second_session(engine.db) as other, other.transaction():
        Engine(other, engine.clock).take(job_id)
        if commit == "after":
            assert engine.status(job_id) == "pending"
    assert engine.status(job_id) == "running"
