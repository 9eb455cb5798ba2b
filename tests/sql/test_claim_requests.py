from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.sql.helpers import ANNA, BERT, Engine, after, everything, ids, refused, second_session

REQUEST = UUID(int=7)
GOOD: dict[str, Any] = {"queues": ["default"], "agent_id": "agent", "limit": 1}
MISSING = object()


@pytest.mark.parametrize("requests", [None, {}, 1, [1], [GOOD, []], [None]])
def test_requests_that_are_no_array_of_objects_are_refused(engine: Engine, requests: Any) -> None:
    arguments = {"requests": None if requests is None else Jsonb(requests)}
    assert refused(engine.db, "claim", **arguments) == ("requests", None)


@pytest.mark.parametrize(
    "field, value",
    [
        ("queues", MISSING),
        ("queues", None),
        ("queues", "default"),
        ("queues", {"a": 1}),
        ("queues", []),
        ("queues", ["a"] * 101),
        ("queues", ["a", 1]),
        ("queues", ["a", None]),
        ("agent_id", MISSING),
        ("agent_id", None),
        ("agent_id", 7),
        ("agent_id", ""),
        ("agent_id", "a" * 201),
        ("limit", MISSING),
        ("limit", None),
        ("limit", "1"),
        ("limit", 0),
        ("limit", 10001),
        ("two_phase", "sometimes"),
        ("two_phase", ""),
    ],
)
def test_a_broken_request_refuses_the_whole_call(engine: Engine, field: str, value: Any) -> None:
    engine.enqueue()
    broken = {**GOOD, field: value}
    if value is MISSING:
        del broken[field]
    answer = refused(engine.db, "claim", requests=Jsonb([GOOD, broken, broken]))
    assert answer == (field, 2)


def test_the_bounds_themselves_are_allowed(engine: Engine) -> None:
    job_id = engine.enqueue()
    names = ["default", *[f"q{n}" for n in range(99)]]
    assert ids(engine.claim(10000, queues=names, agent_id="ä" * 200)) == [job_id]


class TestRepeats:
    """A claim with a request_id may be repeated: it takes nothing twice."""

    def test_a_repeat_gets_the_same_leases_unchanged(self, engine: Engine) -> None:
        engine.enqueue_many(4, expires_in=1000)
        first = engine.claim(2, request_id=REQUEST)
        before = everything(engine.db)
        engine.clock.advance(59)
        repeat = engine.claim(2, request_id=REQUEST)
        # A lease does not keep the run_at that its job had.
        assert repeat == [{**lease, "run_at": None} for lease in first]
        assert everything(engine.db) == before

    def test_a_repeat_in_the_same_call_takes_nothing_twice(self, engine: Engine) -> None:
        engine.enqueue_many(4)
        request = {"limit": 2, "request_id": REQUEST}
        leases = engine.claim_all(request, request)
        assert [lease["request"] for lease in leases] == [1, 1, 2, 2]
        assert ids(leases[:2]) == ids(leases[2:])
        assert engine.size("lease") == 2

    def test_a_repeat_gets_what_is_still_held(self, engine: Engine) -> None:
        engine.enqueue_many(3)
        first, second = engine.claim(2, request_id=REQUEST)
        engine.finish(first, "completed")
        assert ids(engine.claim(2, request_id=REQUEST)) == [second["job_id"]]

    def test_a_repeat_shows_what_was_started_and_extended(self, engine: Engine) -> None:
        engine.enqueue()
        [first] = engine.claim(1, request_id=REQUEST, two_phase="always")
        engine.clock.advance(1)
        engine.verdict("start", first)
        engine.verdict("extend", first, seconds=500)
        [lease] = engine.claim(1, request_id=REQUEST, two_phase="always")
        assert (lease["started_at"], lease["lease_expires_at"]) == (after(1), after(501))

    def test_after_the_run_out_a_repeat_is_a_fresh_claim(self, engine: Engine) -> None:
        job_ids = engine.enqueue_many(2)
        engine.claim(1, request_id=REQUEST)
        engine.clock.advance(60)
        assert ids(engine.claim(1, request_id=REQUEST)) == [job_ids[1]]
        assert engine.size("lease") == 2

    def test_after_the_end_a_repeat_is_a_fresh_claim(self, engine: Engine) -> None:
        job_ids = engine.enqueue_many(2)
        [lease] = engine.claim(1, request_id=REQUEST)
        engine.finish(lease, "completed")
        assert ids(engine.claim(1, request_id=REQUEST)) == [job_ids[1]]

    @pytest.mark.parametrize(
        "other", [{"agent_id": "other"}, {"request_id": uuid4()}, {"tenant_id": BERT}]
    )
    def test_another_agent_request_or_tenant_is_no_repeat(
        self, engine: Engine, other: dict[str, Any]
    ) -> None:
        engine.enqueue_many(2, tenant_id=ANNA)
        bert = engine.enqueue(tenant_id=BERT)
        request = {"tenant_id": ANNA, "request_id": REQUEST}
        [first] = engine.claim(1, **request)
        [second] = engine.claim(1, **{**request, **other})
        assert second["job_id"] != first["job_id"]
        assert (second["job_id"] == bert) == ("tenant_id" in other)

    def test_a_lapsed_lease_is_not_handed_out_by_a_repeat(self, engine: Engine) -> None:
        engine.enqueue(expires_in=10)
        [lease] = engine.claim(1, request_id=REQUEST, two_phase="always")
        engine.clock.advance(10)
        assert engine.verdict("start", lease) == "stale_lease"
        assert engine.claim(1, request_id=REQUEST) == []

    def test_no_double_claim_a_racing_repeat_waits_for_the_first_try(self, engine: Engine) -> None:
        engine.enqueue_many(2)
        with second_session(engine.db) as other:
            with other.transaction():
                [first] = Engine(other, engine.clock).claim(1, request_id=REQUEST)
                engine.db.execute("set lock_timeout = '1ms'")
                with pytest.raises(psycopg.errors.LockNotAvailable):
                    engine.claim(1, request_id=REQUEST)
            assert ids(engine.claim(1, request_id=REQUEST)) == [first["job_id"]]
        assert engine.size("lease") == 1


class TestOneJobEach:
    """Many requests of one tenant for one job each are answered by one statement."""

    def wants(self, **request: Any) -> dict[str, Any]:
        return {"tenant_id": ANNA, **request}

    def test_each_gets_the_first_due_of_its_queues(self, engine: Engine) -> None:
        late = engine.enqueue(queue="a", tenant_id=ANNA, priority=6)
        soon = engine.enqueue(queue="b", tenant_id=ANNA, priority=4)
        engine.enqueue(queue="c", tenant_id=ANNA, delay=60)
        other = engine.enqueue(queue="c", tenant_id=BERT)
        leases = engine.claim_all(
            self.wants(queues=["a", "b"], agent_id="one"),
            self.wants(queues=["c"], agent_id="two"),
            self.wants(queues=["a"], agent_id="three", two_phase="always"),
            self.wants(queues=["c"], agent_id="four", tenant_id=BERT),
        )
        assert [(lease["request"], lease["job_id"]) for lease in leases] == [
            (1, soon),
            (3, late),
            (4, other),
        ]
        assert [lease["started_at"] is None for lease in leases] == [False, True, False]
        assert engine.job(late)["agent_id"] == "three"

    def test_requests_for_the_same_queue_get_different_jobs(self, engine: Engine) -> None:
        jobs = engine.enqueue_many(3, tenant_id=ANNA)
        leases = engine.claim_all(*[self.wants(agent_id=f"agent {n}") for n in range(5)])
        assert sorted(ids(leases)) == sorted(jobs)
        assert len({lease["request"] for lease in leases}) == 3

    def test_a_job_that_lapses_leads_to_the_next_one(self, engine: Engine) -> None:
        lapsed = engine.enqueue(tenant_id=ANNA, expires_in=1)
        due = engine.enqueue(tenant_id=ANNA)
        engine.clock.advance(2)
        leases = engine.claim_all(self.wants(), self.wants(queues=["empty"]))
        assert [(lease["request"], lease["job_id"]) for lease in leases] == [(1, due)]
        assert engine.job(lapsed)["status"] == "expired"

    def test_twins_get_the_same_lease(self, engine: Engine) -> None:
        job_id, _ = engine.enqueue_many(2, tenant_id=ANNA)
        twin = self.wants(request_id=REQUEST)
        leases = engine.claim_all(twin, self.wants(queues=["empty"]), twin)
        assert [(lease["request"], lease["job_id"]) for lease in leases] == [
            (1, job_id),
            (3, job_id),
        ]

    def test_a_repeat_and_a_first_try_go_together(self, engine: Engine) -> None:
        first, second = engine.enqueue_many(2, tenant_id=ANNA)
        engine.claim_all(self.wants(request_id=REQUEST), self.wants(queues=["empty"]))
        leases = engine.claim_all(
            self.wants(request_id=UUID(int=8)), self.wants(request_id=REQUEST)
        )
        assert {(lease["request"], lease["job_id"]) for lease in leases} == {
            (1, second),
            (2, first),
        }
