"""Settle functions through every way of ending: what they are told, and when."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from tests.sql.helpers import ANNA, Engine, everything, named
from tests.sql.parents import Parents


def finish(outcome: str, job_type: str = "work") -> Callable[[Engine], UUID]:
    def end(engine: Engine) -> UUID:
        lease = engine.hold(job_type, input={"parent": "p"}, max_attempts=1)
        engine.finish(lease, outcome)
        return UUID(str(lease["job_id"]))

    return end


def cancel_pending(engine: Engine) -> UUID:
    job_id = engine.enqueue(input={"parent": "p"})
    engine.cancel(job_id)
    return job_id


def cancel_claimed(engine: Engine) -> UUID:
    job_id = engine.enqueue(input={"parent": "p"})
    engine.take(job_id, started=False)
    engine.cancel(job_id)
    return job_id


def asked_to_stop(engine: Engine) -> DictRow:
    lease = engine.hold(input={"parent": "p"})
    engine.cancel(lease["job_id"])
    return lease


def release_when_asked_to_stop(engine: Engine) -> UUID:
    lease = asked_to_stop(engine)
    engine.verdict("release", lease)
    return UUID(str(lease["job_id"]))


def snooze_when_asked_to_stop(engine: Engine) -> UUID:
    lease = asked_to_stop(engine)
    engine.finish(lease, "snooze")
    return UUID(str(lease["job_id"]))


def run_out_when_asked_to_stop(engine: Engine) -> UUID:
    lease = asked_to_stop(engine)
    engine.clock.advance(60)
    engine.sweep()
    return UUID(str(lease["job_id"]))


def run_out(job_type: str) -> Callable[[Engine], UUID]:
    def end(engine: Engine) -> UUID:
        job_id = engine.enqueue(job_type, input={"parent": "p"}, max_attempts=1)
        engine.take(job_id)
        engine.clock.advance(60)
        engine.sweep()
        return job_id

    return end


def lose_twenty_times(engine: Engine) -> UUID:
    job_id = engine.enqueue(input={"parent": "p"})
    for _ in range(20):
        engine.take(job_id, started=False)
        engine.clock.advance(60)
        engine.sweep()
    return job_id


def expire_in_waiting(engine: Engine) -> UUID:
    job_id = engine.enqueue(input={"parent": "p"}, expires_in=1)
    engine.clock.advance(1)
    engine.sweep()
    return job_id


def expire_in_a_claim(engine: Engine) -> UUID:
    job_id = engine.enqueue(input={"parent": "p"}, expires_in=1)
    engine.clock.advance(1)
    engine.claim()
    engine.sweep()
    return job_id


def expire_at_the_start(engine: Engine) -> UUID:
    lease = engine.hold(started=False, input={"parent": "p"}, expires_in=1)
    engine.clock.advance(1)
    engine.verdict("start", lease)
    engine.sweep()
    return UUID(str(lease["job_id"]))


@pytest.mark.parametrize(
    "end, status",
    [
        (finish("completed"), "completed"),
        (finish("failed"), "failed"),
        (finish("rejected"), "failed"),
        (finish("cancelled"), "cancelled"),
        (finish("unknown"), "failed"),
        (finish("failed", "trade"), "failed"),
        (finish("unknown", "trade"), "unknown"),
        (cancel_pending, "cancelled"),
        (cancel_claimed, "cancelled"),
        (release_when_asked_to_stop, "cancelled"),
        (snooze_when_asked_to_stop, "cancelled"),
        (run_out_when_asked_to_stop, "cancelled"),
        (run_out("work"), "failed"),
        (run_out("trade"), "unknown"),
        (lose_twenty_times, "failed"),
        (expire_in_waiting, "expired"),
        (expire_in_a_claim, "expired"),
        (expire_at_the_start, "expired"),
    ],
)
def test_settled_equals_ended_whatever_ends_the_job(
    engine: Engine, parents: Parents, end: Callable[[Engine], UUID], status: str
) -> None:
    parents.add("p")
    job_id = end(engine)
    assert engine.status(job_id) == status
    assert parents.seen(job_id) == [(status, None)]
    assert parents.get("p") == (int(status == "completed"), status)
    [ended] = engine.rows("ended", job_id)
    settled = [ended[name] for name in ("settled_status", "settle_error", "settle_tries")]
    assert [*settled, ended["settle_at"]] == [status, None, 0, None]


def test_the_settle_function_is_told_the_whole_job(engine: Engine, parents: Parents) -> None:
    lease = engine.hold("trade", input=parents.add("p"), meta={"m": 1}, tenant_id=ANNA)
    engine.finish(lease, "failed", output=Jsonb([1]), error_code="E1", error_message="bad")
    assert parents.told(lease["job_id"]) == {
        "call": 1,
        "job_id": lease["job_id"],
        "tenant_id": ANNA,
        "job_type": "trade",
        "status": "failed",
        "prior_status": None,
        "input": {"parent": "p"},
        "output": [1],
        "error_code": "E1",
        "error_message": "bad",
        "meta": {"m": 1},
        "agent_id": "agent",
    }


@pytest.mark.parametrize(
    "end, holder",
    [
        (cancel_pending, None),
        (expire_in_waiting, None),
        (expire_in_a_claim, None),
        (cancel_claimed, "agent"),
        (run_out_when_asked_to_stop, "agent"),
        (run_out("trade"), "agent"),
    ],
)
def test_the_settle_function_is_told_who_held_the_job(
    engine: Engine, parents: Parents, end: Callable[[Engine], UUID], holder: str | None
) -> None:
    parents.add("p")
    assert parents.told(end(engine))["agent_id"] == holder


def test_a_late_end_is_of_the_same_holder_and_a_job_that_waits_again_has_none(
    engine: Engine, parents: Parents
) -> None:
    lease = engine.hold("trade", input=parents.add("p"))
    engine.finish(lease, "unknown")
    engine.finish(lease, "rejected")
    told = parents.told(lease["job_id"])
    assert (told["status"], told["agent_id"]) == ("failed", "agent")
    engine.call("retry", job_ids=[lease["job_id"]])
    told = parents.told(lease["job_id"])
    assert (told["status"], told["agent_id"]) == ("pending", None)


@pytest.mark.parametrize("outcome", ["failed", "snooze"])
def test_a_job_that_waits_again_is_not_settled(
    engine: Engine, parents: Parents, outcome: str
) -> None:
    lease = engine.hold(input=parents.add("p"))
    engine.finish(lease, outcome)
    assert (parents.calls(), parents.get("p")) == (0, (0, None))


def test_a_batch_is_settled_in_one_call_per_type_in_order_of_id(
    engine: Engine, parents: Parents
) -> None:
    parents.add("p")
    engine.register("plain")
    for job_type in ("work", "trade", "plain"):
        engine.enqueue_many(20, job_type, input={"parent": "p"})
    leases = engine.claim(60)
    engine.call("finish", **named(*leases[::-1]), outcomes=["completed"] * 60)
    query = "select call, job_type, array_agg(job_id) as ids from app.seen group by 1, 2 order by 1"
    calls = engine.db.execute(query).fetchall()
    assert [(row["call"], row["job_type"], len(row["ids"])) for row in calls] == [
        (1, "trade", 20),
        (2, "work", 20),
    ]
    assert parents.get("p") == (40, "completed")
    query = "select bool_and(job_id >= before) as sorted from (select job_id, lag(job_id)"
    query += " over (partition by call order by ctid) as before from app.seen) s"
    assert engine.db.execute(query.encode()).fetchall() == [{"sorted": True}]


def test_a_type_without_a_settle_function_leaves_no_trace(engine: Engine, parents: Parents) -> None:
    engine.register("plain")
    job_id = engine.enqueue("plain", input=parents.add("p"))
    engine.cancel(job_id)
    [ended] = engine.rows("ended", job_id)
    assert (ended["settled_status"], ended["settle_at"]) == (None, None)
    assert parents.calls() == 0


def test_the_parents_change_in_the_callers_transaction(engine: Engine, parents: Parents) -> None:
    lease = engine.hold(input=parents.add("p"))
    before = everything(engine.db)
    with engine.db.transaction(force_rollback=True):
        assert engine.finish(lease, "completed") == ("ok", "completed")
        assert parents.get("p") == (1, "completed")
    assert parents.get("p") == (0, None)
    assert everything(engine.db) == before
    assert engine.finish(lease, "completed") == ("ok", "completed")
    assert parents.get("p") == (1, "completed")


@pytest.mark.parametrize("outcome", ["completed", "failed"])
def test_the_resolution_of_an_unknown_job_knows_what_was_settled_before(
    engine: Engine, parents: Parents, outcome: str
) -> None:
    lease = engine.hold("trade", input=parents.add("p"))
    engine.finish(lease, "unknown")
    assert engine.finish(lease, outcome) == ("ok", outcome)
    assert parents.seen(lease["job_id"]) == [("unknown", None), (outcome, "unknown")]
    assert parents.get("p") == (int(outcome == "completed"), outcome)
    [ended] = engine.rows("ended", lease["job_id"])
    assert ended["settled_status"] == outcome


def test_the_resolution_of_an_unsettled_unknown_job_has_no_prior_status(
    engine: Engine, parents: Parents
) -> None:
    lease = engine.hold("trade", input=parents.add("p"))
    parents.break_("p")
    assert engine.finish(lease, "unknown") == ("settle_failed", "unknown")
    parents.mend()
    assert engine.finish(lease, "completed") == ("ok", "completed")
    assert parents.seen(lease["job_id"]) == [("completed", None)]
    assert engine.rows("ended", lease["job_id"])[0]["settle_at"] is None
    engine.clock.advance(100)
    assert engine.sweep() == (0, 0, 0, False)


def test_a_retried_job_takes_its_former_end_back_once(engine: Engine, parents: Parents) -> None:
    lease = engine.hold(input=parents.add("p"))
    engine.finish(lease, "rejected")
    engine.retry(lease["job_id"])
    engine.finish(engine.take(lease["job_id"]), "completed")
    assert parents.seen(lease["job_id"]) == [
        ("failed", None),
        ("pending", "failed"),
        ("completed", None),
    ]
    assert parents.get("p") == (1, "completed")


def test_settled_equals_ended_after_a_mixed_life(engine: Engine, parents: Parents) -> None:
    for name in "ab":
        parents.add(name)
    jobs = [engine.enqueue("trade", input={"parent": "ab"[n % 2]}) for n in range(12)]
    leases = engine.claim(12)
    outcomes = ["completed", "unknown", "rejected"] * 4
    engine.call("finish", **named(*leases), outcomes=outcomes)
    unknown = [
        lease for lease, outcome in zip(leases, outcomes, strict=True) if outcome == "unknown"
    ]
    engine.call("finish", **named(*unknown), outcomes=["completed", "failed"] * 2)
    engine.retry(*[job_id for job_id in jobs if engine.status(job_id) == "failed"])
    again = engine.claim(12)
    engine.call("finish", **named(*again), outcomes=["completed"] * len(again))
    for name in "ab":
        query = """
            select count(*) filter (where status = 'completed') as completed
            from jobengine.jobs where input ->> 'parent' = %s"""
        [row] = engine.db.execute(query, (name,)).fetchall()
        assert parents.get(name)[0] == row["completed"] == 6
