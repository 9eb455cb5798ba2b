from __future__ import annotations

from typing import Any

import pytest

from tests.sql.helpers import (
    ANNA,
    BERT,
    NO_TENANT,
    START,
    Engine,
    after,
    everything,
    ids,
    second_session,
)


def test_a_claim_returns_the_whole_job_and_its_lease(engine: Engine) -> None:
    job_id = engine.enqueue(
        "trade", input={"a": 1}, meta={"b": 2}, priority=3, lease_seconds=30, expires_in=100
    )
    engine.clock.advance(5)
    [lease] = engine.claim()
    assert lease == {
        "request": 1,
        "job_id": job_id,
        "tenant_id": NO_TENANT,
        "queue": "default",
        "job_type": "trade",
        "priority": 3,
        "input": {"a": 1},
        "meta": {"b": 2},
        "run_at": START,
        "attempt": 1,
        "max_attempts": 5,
        "lease_epoch": 1,
        "lease_expires_at": after(35),
        "lease_seconds": 30,
        "started_at": after(5),
        "delivery": "at_most_once",
        "expires_at": after(100),
        "created_at": START,
    }
    job = engine.job(job_id)
    assert {name: job[name] for name in lease.keys() & job.keys()} == {
        name: lease[name] for name in lease.keys() & job.keys()
    } | {"run_at": None}
    assert (job["status"], job["agent_id"], job["claimed_at"]) == ("running", "agent", after(5))


def test_no_double_claim(engine: Engine) -> None:
    job_id = engine.enqueue()
    assert ids(engine.claim(10)) == [job_id]
    before = everything(engine.db)
    assert engine.claim(10) == []
    assert everything(engine.db) == before


def test_no_lost_job_a_claimed_job_is_in_lease_only(engine: Engine) -> None:
    engine.enqueue_many(3)
    engine.claim(2)
    assert (engine.size("ready"), engine.size("lease"), engine.size("ended")) == (1, 2, 0)


def test_the_order_is_priority_then_queue_as_given_then_run_at_then_id(engine: Engine) -> None:
    late = engine.enqueue(queue="b", priority=1)
    third = engine.enqueue(queue="a", priority=0, run_at=after(0))
    second = engine.enqueue(queue="a", priority=0, run_at=after(-2))
    same_time = engine.enqueue_many(3, queue="a", priority=0, run_at=after(-3))
    first = engine.enqueue(queue="b", priority=0)
    last = engine.enqueue(queue="a", priority=2)
    order = [first, *same_time, second, third, late, last]
    with engine.db.transaction(force_rollback=True):
        assert ids(engine.claim(100, queues=["b", "a"])) == order
    one_by_one = [job["job_id"] for _ in order for job in engine.claim(1, queues=["b", "a"])]
    assert one_by_one == order


def test_the_limit_bounds_a_request_over_its_queues_and_priorities(engine: Engine) -> None:
    for queue in ("a", "b"):
        for priority in (1, 2):
            engine.enqueue_many(2, queue=queue, priority=priority)
    leases = engine.claim(5, queues=["a", "b"])
    places = [(lease["priority"], lease["queue"]) for lease in leases]
    assert places == [(1, "a"), (1, "a"), (1, "b"), (1, "b"), (2, "a")]
    assert engine.size("lease") == 5


def test_a_request_may_take_more_than_a_thousand_jobs(engine: Engine) -> None:
    job_ids = engine.enqueue_many(2101)
    assert ids(engine.claim(2100)) == job_ids[:2100]


def test_jobs_of_other_queues_and_times_stay(engine: Engine) -> None:
    engine.enqueue(queue="other")
    engine.enqueue(delay=0.001)
    due = engine.enqueue()
    assert ids(engine.claim(10)) == [due]
    engine.clock.advance(0.001)
    assert len(engine.claim(10)) == 1


def test_several_requests_are_served_in_order(engine: Engine) -> None:
    jobs = engine.enqueue_many(5, queue="a")
    other = engine.enqueue(queue="b")
    leases = engine.claim_all(
        {"queues": ["a"], "limit": 2, "agent_id": "first"},
        {"queues": ["none"], "limit": 2},
        {"queues": ["a", "b"], "limit": 10, "agent_id": "third"},
    )
    assert [(lease["request"], lease["job_id"]) for lease in leases] == [
        *[(1, job_id) for job_id in jobs[:2]],
        *[(3, job_id) for job_id in jobs[2:]],
        (3, other),
    ]
    agents = [engine.job(lease["job_id"])["agent_id"] for lease in leases]
    assert agents == ["first"] * 2 + ["third"] * 4


def test_no_requests_no_jobs(engine: Engine) -> None:
    engine.enqueue()
    assert engine.claim_all() == []


def test_tenant_isolated_a_claim_takes_nothing_of_another_tenant(engine: Engine) -> None:
    engine.enqueue(tenant_id=BERT)
    engine.enqueue()
    mine = engine.enqueue(tenant_id=ANNA)
    assert ids(engine.claim(10, tenant_id=ANNA)) == [mine]
    assert ids(engine.claim(10, tenants=[ANNA])) == []


def test_tenants_are_served_in_the_order_given(engine: Engine) -> None:
    annas = engine.enqueue_many(2, tenant_id=ANNA)
    berts = engine.enqueue_many(2, tenant_id=BERT, priority=0)
    nobodys = engine.enqueue_many(2)
    leases = engine.claim(5, tenants=[BERT, ANNA])
    assert ids(leases) == berts + annas
    assert ids(engine.claim(5)) == nobodys


def test_without_tenants_every_tenant_is_found(engine: Engine) -> None:
    jobs = [engine.enqueue(tenant_id=tenant_id) for tenant_id in (BERT, NO_TENANT, ANNA)]
    assert ids(engine.claim(10)) == [jobs[1], jobs[2], jobs[0]]


@pytest.mark.parametrize(
    "two_phase, begun",
    [
        ("always", []),
        ("at_most_once", ["work"]),
        ("never", ["work", "trade"]),
        (None, ["work", "trade"]),
    ],
)
def test_two_phase_says_which_jobs_still_need_start(
    engine: Engine, two_phase: str | None, begun: list[str]
) -> None:
    engine.enqueue("work")
    engine.enqueue("trade")
    leases = engine.claim(2, two_phase=two_phase)
    assert {lease["job_type"]: lease["started_at"] for lease in leases} == {
        "work": START if "work" in begun else None,
        "trade": START if "trade" in begun else None,
    }
    assert {lease["job_type"]: engine.status(lease["job_id"]) for lease in leases} == {
        "work": "running" if "work" in begun else "claimed",
        "trade": "running" if "trade" in begun else "claimed",
    }


def test_epoch_and_attempt_grow_with_every_lease(engine: Engine) -> None:
    job_id = engine.enqueue()
    engine.finish(engine.take(job_id), "failed", delay=0)
    engine.finish(engine.take(job_id), "snooze")
    engine.verdict("release", engine.take(job_id))
    lease = engine.take(job_id)
    assert (lease["lease_epoch"], lease["attempt"]) == (4, 2)


def test_a_row_that_another_session_holds_is_skipped(engine: Engine) -> None:
    held, free = engine.enqueue_many(2)
    with second_session(engine.db) as other, other.transaction():
        query = "select from jobengine.ready where job_id = %s for update"
        other.execute(query, (held,))
        engine.db.execute("set lock_timeout = '1s'")
        assert ids(engine.claim(10)) == [free]
    assert ids(engine.claim(10)) == [held]


class TestExpiry:
    """A row past expires_at is never handed out."""

    def test_an_expired_job_lapses_on_the_way(self, engine: Engine) -> None:
        expired = engine.enqueue(expires_in=10, priority=0)
        due = engine.enqueue(expires_in=10.001)
        engine.clock.advance(10)
        assert ids(engine.claim(1)) == [due]
        job = engine.job(expired)
        shown = [job[name] for name in ("status", "agent_id", "claimed_at", "lease_expires_at")]
        assert shown == ["expired", None, None, None]
        [lease] = engine.rows("lease", expired)
        assert (lease["lapsed"], lease["agent_id"], lease["request_id"]) == (True, None, None)

    def test_a_claim_goes_on_until_it_is_full(self, engine: Engine) -> None:
        engine.enqueue_many(7, expires_in=1, queue="a")
        good = engine.enqueue_many(3, queue="b", priority=9)
        engine.clock.advance(1)
        assert ids(engine.claim(3, queues=["a", "b"])) == good
        assert engine.call("count", status="expired") == [{"count": 7}]

    def test_at_most_a_thousand_jobs_lapse_per_request(self, engine: Engine) -> None:
        engine.enqueue_many(1005, expires_in=1, priority=0)
        good = engine.enqueue_many(2)
        engine.clock.advance(1)
        assert engine.claim(600) == []
        assert engine.call("count", status="expired") == [{"count": 1000}]
        assert ids(engine.claim(600)) == good
        assert engine.call("count", status="expired") == [{"count": 1005}]

    def test_each_request_may_let_a_thousand_lapse(self, engine: Engine) -> None:
        engine.enqueue_many(2000, expires_in=1)
        good = engine.enqueue(priority=9)
        engine.clock.advance(1)
        leases = engine.claim_all(*[{"limit": 500}] * 3)
        assert [(lease["request"], lease["job_id"]) for lease in leases] == [(3, good)]

    def test_the_thousand_is_shared_by_the_tenants_of_a_request(self, engine: Engine) -> None:
        engine.enqueue_many(999, expires_in=1, tenant_id=ANNA)
        engine.enqueue_many(2, expires_in=1, tenant_id=BERT)
        engine.clock.advance(1)
        assert engine.claim(10, tenants=[ANNA, BERT]) == []
        assert engine.call("count", status="expired") == [{"count": 1000}]


def mark(job: Any, **changes: Any) -> dict[str, Any]:
    names = ("tenant_id", "queue", "priority", "run_at", "job_id")
    return {name: job[name] for name in names} | changes


class TestMarks:
    """A mark is a lower bound, exclusive, for its tenant, queue and priority."""

    def test_a_claim_looks_beyond_its_mark(self, engine: Engine) -> None:
        jobs = engine.enqueue_many(4)
        marks = [mark(engine.job(jobs[1]))]
        assert ids(engine.claim(10, marks=marks)) == jobs[2:]
        assert ids(engine.claim(10)) == jobs[:2]

    def test_a_mark_bounds_run_at_before_the_id(self, engine: Engine) -> None:
        late = engine.enqueue(run_at=after(-1))
        early, same_time = engine.enqueue_many(2, run_at=after(-2))
        marks = [mark(engine.job(early))]
        assert ids(engine.claim(10, marks=marks)) == [same_time, late]

    @pytest.mark.parametrize(
        "other", [{"tenant_id": ANNA}, {"queue": "other"}, {"priority": 4}, {"priority": 6}]
    )
    def test_a_mark_says_nothing_of_other_jobs(self, engine: Engine, other: dict[str, Any]) -> None:
        jobs = engine.enqueue_many(2)
        marks = [mark(engine.job(jobs[1]), **other)]
        assert ids(engine.claim(10, marks=marks)) == jobs

    def test_each_queue_has_its_own_mark(self, engine: Engine) -> None:
        first = engine.enqueue_many(2, queue="a")
        second = engine.enqueue_many(2, queue="b", priority=0)
        marks = [mark(engine.job(first[0])), mark(engine.job(second[0]))]
        leases = engine.claim(10, queues=["a", "b"], marks=marks)
        assert ids(leases) == [second[1], first[1]]
