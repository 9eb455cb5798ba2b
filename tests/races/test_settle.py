"""Ends that meet at their parents. Each test here waits for a real timeout, of 1 or 5 seconds."""

from __future__ import annotations

import psycopg
from psycopg.rows import DictRow

from jobengine.testing import Clock
from tests.races import parents
from tests.races.calls import finish, sweep
from tests.races.jobs import held, run, seen
from tests.races.sessions import Session

Sessions = tuple[Session, Session, Session]


def test_an_end_behind_a_locked_parent_is_recorded_and_settled_later(
    db: psycopg.Connection[DictRow], clock: Clock, sessions: Sessions
) -> None:
    one, two, _ = sessions
    parents.create(db, "work", patience=5)
    jobs = [*held(db, **parents.folder(1)), *held(db, **parents.folder(2))]
    one.begin(parents.lock(2))

    reported = two.send(finish(*jobs)).waits_for(one).rows()

    assert [row["verdict"] for row in reported] == ["settle_failed"] * 2
    assert [row["status"] for row in reported] == ["completed"] * 2
    found = seen(db, jobs[0][0])
    assert (found["status"], found["settled_status"]) == ("completed", None)
    assert found["settle_error"].startswith("55P03")
    assert parents.completed(db) == {}

    one.rollback()
    clock.advance(2)
    assert run(db, sweep())[0]["settled"] == 2
    assert parents.completed(db) == {1: 1, 2: 1}


def test_a_deadlock_at_the_parents_of_two_job_types_defers_one_end_and_fails_no_call(
    db: psycopg.Connection[DictRow], clock: Clock, sessions: Sessions
) -> None:
    """Each type sorts its own parents; the engine settles type by type."""
    one, two, three = sessions
    parents.create(db, "work", "once")
    work_first = [
        *held(db, job_type="once", **parents.folder(1)),
        *held(db, job_type="work", **parents.folder(2)),
    ]
    once_first = [
        *held(db, job_type="once", **parents.folder(2)),
        *held(db, job_type="work", **parents.folder(1)),
    ]
    three.begin(parents.lock(1))
    waits_at_1 = one.send(finish(*work_first)).waits_for(three)
    waits_at_1_holding_2 = two.send(finish(*once_first)).waits_for_someone()
    three.commit()

    rows = waits_at_1.rows() + waits_at_1_holding_2.rows()
    assert {row["status"] for row in rows} == {"completed"}
    assert sorted(row["verdict"] for row in rows) == ["ok", "ok", "ok", "settle_failed"]
    assert sum(parents.completed(db).values()) == 3

    clock.advance(2)
    assert run(db, sweep())[0]["settled"] == 1
    assert parents.completed(db) == {1: 2, 2: 2}
