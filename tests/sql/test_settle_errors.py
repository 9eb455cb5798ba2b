"""A settle that fails: the result is recorded all the same, and the parent follows later."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from psycopg.rows import DictRow

from tests.sql.helpers import Engine, after, named, second_session
from tests.sql.parents import Parents


def finish_all(engine: Engine, leases: list[DictRow]) -> list[str]:
    rows = engine.call("finish", **named(*leases), outcomes=["completed"] * len(leases))
    verdicts = {row["item"]: row["verdict"] for row in rows}
    return [verdicts[item] for item in range(1, len(leases) + 1)]


def hold_many(engine: Engine, parents: list[str]) -> list[DictRow]:
    inputs: list[Any] = [{"parent": parent} for parent in parents]
    engine.call("enqueue", job_types=["work"] * len(parents), inputs=inputs)
    return engine.claim(len(parents))


def unsettled(engine: Engine, job_id: UUID) -> tuple[Any, ...]:
    [ended] = engine.rows("ended", job_id)
    return ended["status"], ended["settled_status"], ended["settle_error"], ended["settle_tries"]


def test_the_result_is_recorded_although_the_settle_failed(
    engine: Engine, parents: Parents
) -> None:
    lease = engine.hold(input=parents.add("p"), live_key="a")
    parents.break_("p")
    assert engine.finish(lease, "completed", output={"a": 1}) == ("settle_failed", "completed")
    job = engine.job(lease["job_id"])
    assert (job["status"], job["output"]) == ("completed", {"a": 1})
    assert unsettled(engine, lease["job_id"]) == ("completed", None, "22023 not now", 1)
    assert after(0.8) <= job["settle_at"] <= after(1.2)
    assert parents.get("p") == (0, None)
    assert engine.size("live_key") == 0
    assert engine.finish(lease, "completed") == ("duplicate", "completed")


def test_the_hosts_statements_are_planned_as_anywhere(engine: Engine, parents: Parents) -> None:
    """The engine's own functions forbid some plans, and keep one for ever."""
    engine.db.execute("""
        create or replace function app.settle(p_jobs jobengine.settled_job[]) returns void
        language plpgsql security definer set search_path = app, pg_temp as $$
        begin
            raise exception '%', (
                select string_agg(concat_ws(' ', s.name, s.setting), ', ' order by s.name)
                from pg_settings s
                where (s.name like 'enable%' or s.name = 'plan_cache_mode')
                  and s.setting <> s.boot_val);
        end;
        $$""")
    lease = engine.hold(input=parents.add("p"))
    assert engine.finish(lease, "completed") == ("settle_failed", "completed")
    assert unsettled(engine, lease["job_id"])[2] == "P0001 <NULL>"


def test_a_cancel_answers_ok_although_the_settle_failed(engine: Engine, parents: Parents) -> None:
    job_id = engine.enqueue(input=parents.add("p"))
    parents.break_("p")
    assert engine.cancel(job_id) == [("ok", "cancelled")]
    assert unsettled(engine, job_id) == ("cancelled", None, "22023 not now", 1)


def test_settled_equals_ended_or_is_listed_as_unsettled(engine: Engine, parents: Parents) -> None:
    for name in "abc":
        parents.add(name)
    parents.break_("b")
    leases = hold_many(engine, ["a", "b", "c"])
    assert finish_all(engine, leases) == ["ok", "settle_failed", "ok"]
    assert [parents.get(name)[0] for name in "abc"] == [1, 0, 1]
    listed = engine.call("list", unsettled=True)
    assert [job["job_id"] for job in listed] == [leases[1]["job_id"]]


@pytest.mark.parametrize("poison", [0, 40, 99])
def test_a_data_error_splits_the_batch_until_the_poison_stands_alone(
    engine: Engine, parents: Parents, poison: int
) -> None:
    parents.add("good")
    parents.add("bad")
    parents.break_("bad")
    leases = hold_many(engine, ["bad" if n == poison else "good" for n in range(100)])
    verdicts = finish_all(engine, leases)
    assert [n for n, verdict in enumerate(verdicts) if verdict != "ok"] == [poison]
    assert verdicts[poison] == "settle_failed"
    assert parents.get("good") == (99, "completed")
    assert parents.calls() <= 1 + 2 * 7  # 100 jobs are halved 7 times at most


@pytest.mark.parametrize("sqlstate", ["22023", "JE010", "P0001", "23505"])
def test_a_batch_is_split_sixteen_times_at_most(
    engine: Engine, parents: Parents, sqlstate: str
) -> None:
    parents.add("good")
    parents.add("bad")
    parents.break_("bad", sqlstate)
    # Each second job is bad: to part them all takes 63 splits.
    leases = hold_many(engine, ["bad", "good"] * 32)
    verdicts = finish_all(engine, leases)
    assert parents.calls() == 1 + 2 * 16
    settled = [n for n, verdict in enumerate(verdicts) if verdict == "ok"]
    assert settled
    assert all(n % 2 for n in settled)
    assert parents.get("good") == (len(settled), "completed")
    parents.mend()
    engine.clock.advance(2)
    engine.sweep()  # what never stood alone is tried again, whatever the error was
    assert parents.get("good") == (32, "completed")


@pytest.mark.parametrize("sqlstate", ["40001", "40P01", "55P03", "42501", "42P01"])
def test_a_lock_serialization_or_right_error_defers_the_batch_whole(
    engine: Engine, parents: Parents, sqlstate: str
) -> None:
    for name in "abc":
        parents.add(name)
    parents.break_("b", sqlstate)
    leases = hold_many(engine, ["a", "b", "c"])
    assert finish_all(engine, leases) == ["settle_failed"] * 3
    assert parents.calls() == 1
    parents.mend()
    engine.clock.advance(1.2)
    assert engine.sweep() == (0, 0, 3, False)
    assert [parents.get(name)[0] for name in "abc"] == [1, 1, 1]


def test_a_parent_that_another_session_holds_defers_the_batch_whole(
    engine: Engine, parents: Parents
) -> None:
    parents.add("free")
    parents.add("held")
    leases = hold_many(engine, ["free", "held", "free"])
    with second_session(engine.db) as other, other.transaction():
        other.execute("select from app.parent where parent_id = 'held' for update")
        assert finish_all(engine, leases) == ["settle_failed"] * 3
    assert parents.get("free") == (0, None)
    error = unsettled(engine, leases[0]["job_id"])[2]
    assert error.startswith("55P03 canceling statement due to lock timeout")
    engine.clock.advance(1.2)
    assert engine.sweep() == (0, 0, 3, False)
    assert parents.get("free") == (2, "completed")


def test_an_error_of_one_type_is_no_matter_of_another(engine: Engine, parents: Parents) -> None:
    parents.add("p")
    parents.add("q")
    parents.break_("q", "40001")
    trade = engine.hold("trade", input={"parent": "p"})
    work = engine.hold("work", input={"parent": "q"})
    assert finish_all(engine, [trade, work]) == ["ok", "settle_failed"]


def test_parent_gone_is_kept_and_not_tried_again(engine: Engine, parents: Parents) -> None:
    parents.add("p")
    leases = hold_many(engine, ["p", "gone", "p"])
    assert finish_all(engine, leases) == ["ok", "settle_failed", "ok"]
    gone = leases[1]["job_id"]
    assert unsettled(engine, gone) == ("completed", None, "parent_gone", 1)
    assert engine.job(gone)["settle_at"] is None
    calls = parents.calls()
    engine.clock.advance(1_000_000)
    assert engine.sweep() == (0, 0, 0, False)
    assert parents.calls() == calls
    assert [job["job_id"] for job in engine.call("list", unsettled=True)] == [gone]


def test_sweep_settles_again_with_backoff(engine: Engine, parents: Parents) -> None:
    job_id = engine.enqueue(input=parents.add("p"))
    parents.break_("p")
    engine.cancel(job_id)
    elapsed = 0.0
    for tries in range(1, 5):
        wait = 2.0 ** (tries - 1)
        settle_at = engine.job(job_id)["settle_at"]
        assert after(elapsed + 0.8 * wait) <= settle_at <= after(elapsed + 1.2 * wait)
        assert unsettled(engine, job_id)[3] == tries
        engine.clock.advance(0.7 * wait)
        assert engine.sweep() == (0, 0, 0, False)
        engine.clock.advance(0.5 * wait)
        elapsed += 1.2 * wait
        assert engine.sweep() == (0, 0, 0, False)
    parents.mend()
    engine.clock.advance(20)
    assert engine.sweep() == (0, 0, 1, False)
    assert unsettled(engine, job_id) == ("cancelled", "cancelled", None, 0)
    assert engine.job(job_id)["settle_at"] is None
    assert parents.seen(job_id) == [("cancelled", None)]
    assert engine.sweep() == (0, 0, 0, False)


def test_the_backoff_of_a_settle_ends_at_an_hour(engine: Engine, parents: Parents) -> None:
    job_id = engine.enqueue(input=parents.add("p"))
    parents.break_("p")
    engine.cancel(job_id)
    for _ in range(20):
        engine.clock.advance(5000)
        engine.sweep()
    assert unsettled(engine, job_id)[3] == 21
    assert engine.job(job_id)["settle_at"] <= after(20 * 5000 + 4320)


def test_the_limit_of_sweep_bounds_the_settles(engine: Engine, parents: Parents) -> None:
    parents.add("p")
    parents.break_("p", "40001")
    finish_all(engine, hold_many(engine, ["p"] * 3))
    engine.clock.advance(2)
    assert engine.sweep(limit=2) == (0, 0, 0, True)
    parents.mend()
    engine.clock.advance(4)
    assert engine.sweep(limit=2) == (0, 0, 2, True)
    assert engine.sweep(limit=2) == (0, 0, 1, False)


def test_a_poison_that_is_still_poison_stops_no_other(engine: Engine, parents: Parents) -> None:
    parents.add("good")
    parents.add("bad")
    parents.break_("good")
    parents.break_("bad")
    finish_all(engine, hold_many(engine, ["good", "bad", "good"]))
    parents.mend()
    parents.break_("bad")
    engine.clock.advance(2)
    assert engine.sweep() == (0, 0, 2, False)
    assert parents.get("good") == (2, "completed")


def test_jobs_whose_type_settles_no_more_stay_unsettled_until_it_does(
    engine: Engine, parents: Parents
) -> None:
    job_id = engine.enqueue(input=parents.add("p"))
    parents.break_("p")
    engine.cancel(job_id)
    parents.mend()
    engine.register("work", settle="")
    engine.clock.advance(2)
    assert engine.sweep(limit=1) == (0, 0, 0, False)
    assert unsettled(engine, job_id) == ("cancelled", None, "22023 not now", 1)
    engine.register("work", settle="app.settle")
    assert engine.sweep(limit=1) == (0, 0, 1, True)
    assert parents.get("p") == (0, "cancelled")


def test_a_settle_function_that_was_dropped_defers_the_batch(
    engine: Engine, parents: Parents
) -> None:
    lease = engine.hold(input=parents.add("p"))
    engine.db.execute("alter function app.settle rename to away")
    assert engine.finish(lease, "completed") == ("settle_failed", "completed")
    engine.db.execute("alter function app.away rename to settle")
    engine.clock.advance(2)
    assert engine.sweep() == (0, 0, 1, False)
    assert parents.get("p") == (1, "completed")
