from __future__ import annotations

from typing import Any

from tests.sql.helpers import ANNA, BERT, Engine
from tests.sql.parents import Parents


def row(tenant_id: Any, queue: str, **counts: Any) -> dict[str, Any]:
    names = ("due", "scheduled", "claimed", "running", "unknown", "unsettled")
    return {
        "tenant_id": tenant_id,
        "queue": queue,
        **dict.fromkeys(names, 0),
        "oldest_due_seconds": None,
        **counts,
    }


def test_an_empty_engine_has_no_rows(engine: Engine) -> None:
    assert engine.call("stats") == []


def test_what_waits_and_what_is_held_is_counted_per_tenant_and_queue(engine: Engine) -> None:
    engine.enqueue_many(2, tenant_id=ANNA, queue="a", delay=10)
    engine.enqueue_many(3, tenant_id=ANNA, queue="a")
    engine.enqueue(tenant_id=ANNA, queue="b", delay=0.001)
    engine.enqueue_many(3, tenant_id=BERT, queue="a")
    engine.claim(2, tenant_id=BERT, queues=["a"])
    engine.claim(1, tenant_id=BERT, queues=["a"], two_phase="always")
    assert engine.call("stats") == [
        row(ANNA, "a", due=3, scheduled=2, oldest_due_seconds=0),
        row(ANNA, "b", scheduled=1),
        row(BERT, "a", running=2, claimed=1),
    ]
    engine.clock.advance(10)
    stats = engine.call("stats", tenant_id=ANNA)
    assert stats == [
        row(ANNA, "a", due=5, oldest_due_seconds=10),
        row(ANNA, "b", due=1, oldest_due_seconds=9.999),
    ]


def test_unknown_and_unsettled_jobs_are_counted_other_ends_are_not(
    engine: Engine, parents: Parents
) -> None:
    parents.add("good")
    parents.add("bad")
    parents.break_("bad")
    for parent, outcome in [
        ("good", "unknown"),
        ("good", "completed"),
        ("bad", "completed"),
        ("bad", "failed"),
        ("bad", "unknown"),
    ]:
        lease = engine.hold("trade", tenant_id=ANNA, input={"parent": parent})
        engine.finish(lease, outcome)
    engine.cancel(engine.enqueue(tenant_id=BERT, input={"parent": "good"}))
    assert engine.call("stats") == [row(ANNA, "default", unknown=2, unsettled=3)]


def test_lapsed_jobs_are_not_held(engine: Engine) -> None:
    engine.enqueue(expires_in=1)
    engine.clock.advance(1)
    engine.claim()
    assert engine.call("stats") == []


def test_tenant_isolated_stats_of_one_tenant(engine: Engine, parents: Parents) -> None:
    parents.break_("bad")
    for tenant_id in (ANNA, BERT):
        engine.finish(engine.hold("trade", tenant_id=tenant_id, input={"parent": "bad"}), "unknown")
        engine.hold("trade", tenant_id=tenant_id, queue="q")
        engine.enqueue(tenant_id=tenant_id)
    stats = engine.call("stats", tenant_id=BERT)
    assert stats == [
        row(BERT, "default", due=1, unknown=1, unsettled=1, oldest_due_seconds=0),
        row(BERT, "q", running=1),
    ]
    assert len(engine.call("stats")) == 4
