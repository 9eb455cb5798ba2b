"""The lock order, ready → lease → ended → parents, each by id: no two batches wait in a circle.

Each test lets a third session halt the first batch at one row, so that the second one, which names
the same rows in the opposite order, would take what the first wants next if it did not sort.
"""

from __future__ import annotations

from itertools import combinations_with_replacement
from typing import Any

import psycopg
import pytest
from psycopg.rows import DictRow

from jobengine.testing import Clock
from tests.races import parents
from tests.races.calls import Lease, cancel, extend, finish, release, retry, start, sweep
from tests.races.jobs import held, overdue, run, seen, waiting
from tests.races.sessions import Call, Session

Sessions = tuple[Session, Session, Session]


def cancel_leases(*leases: Lease) -> Call:
    return cancel(*(job_id for job_id, _ in leases))


CALLS = {
    "finish": finish,
    "extend": extend,
    "start": start,
    "release": release,
    "cancel": cancel_leases,
}


@pytest.mark.parametrize("halt", [0, 1])
@pytest.mark.parametrize("names", list(combinations_with_replacement(CALLS, 2)), ids="-".join)
def test_batches_of_leases_in_opposite_order_do_not_deadlock(
    db: psycopg.Connection[DictRow], sessions: Sessions, names: tuple[str, str], halt: int
) -> None:
    one, two, three = sessions
    leases = held(db, 2, two_phase="always")
    wanted = [leases[halt], leases[1 - halt]]
    calls: list[Any] = [CALLS[name] for name in names]
    three.begin(extend(leases[halt]))

    first = one.send(calls[0](*wanted)).waits_for(three)
    second = two.send(calls[1](*reversed(wanted))).waits_for_someone()
    three.commit()

    assert len(first.rows()) == len(second.rows()) == 2


@pytest.mark.parametrize("halt", [0, 1])
def test_cancels_of_waiting_jobs_in_opposite_order_do_not_deadlock(
    db: psycopg.Connection[DictRow], sessions: Sessions, halt: int
) -> None:
    one, two, three = sessions
    jobs = waiting(db, 2)
    wanted = [jobs[halt], jobs[1 - halt]]
    three.begin(cancel(jobs[halt]))

    first = one.send(cancel(*wanted)).waits_for(three)
    second = two.send(cancel(*reversed(wanted))).waits_for_someone()
    three.rollback()

    assert {row["verdict"] for row in first.rows()} == {"ok"}
    assert {row["verdict"] for row in second.rows()} == {"duplicate"}


@pytest.mark.parametrize("halt", [0, 1])
def test_retries_in_opposite_order_do_not_deadlock(
    db: psycopg.Connection[DictRow], sessions: Sessions, halt: int
) -> None:
    one, two, three = sessions
    leases = held(db, 2)
    run(db, finish(*leases, outcome="rejected"))
    jobs = [job_id for job_id, _ in leases]
    wanted = [jobs[halt], jobs[1 - halt]]
    three.begin(retry(jobs[halt]))

    first = one.send(retry(*wanted)).waits_for(three)
    second = two.send(retry(*reversed(wanted))).waits_for_someone()
    three.rollback()

    assert {row["verdict"] for row in first.rows()} == {"ok"}
    assert {row["verdict"] for row in second.rows()} == {"conflict"}


@pytest.mark.parametrize("halt", [0, 1])
def test_late_finishes_in_opposite_order_do_not_deadlock(
    db: psycopg.Connection[DictRow], clock: Clock, sessions: Sessions, halt: int
) -> None:
    one, two, three = sessions
    leases = overdue(db, clock, 2, job_type="once")
    run(db, sweep())
    wanted = [leases[halt], leases[1 - halt]]
    three.begin(finish(leases[halt]))

    first = one.send(finish(*wanted)).waits_for(three)
    second = two.send(finish(*reversed(wanted))).waits_for_someone()
    three.rollback()

    assert {row["verdict"] for row in first.rows()} == {"ok"}
    assert {row["verdict"] for row in second.rows()} == {"duplicate"}


@pytest.mark.parametrize("halt", [1, 2])
def test_finishes_that_settle_two_parents_in_opposite_order_do_not_deadlock(
    db: psycopg.Connection[DictRow], sessions: Sessions, halt: int
) -> None:
    one, two, three = sessions
    parents.create(db, "work")
    forth = [*held(db, **parents.folder(halt)), *held(db, **parents.folder(3 - halt))]
    back = [*held(db, **parents.folder(3 - halt)), *held(db, **parents.folder(halt))]
    three.begin(parents.lock(halt))

    first = one.send(finish(*forth)).waits_for(three)
    second = two.send(finish(*back)).waits_for_someone()
    three.commit()

    assert {row["verdict"] for row in first.rows() + second.rows()} == {"ok"}
    assert parents.completed(db) == {1: 2, 2: 2}


def test_a_batch_of_held_and_unknown_jobs_locks_the_ended_rows_before_the_parents(
    db: psycopg.Connection[DictRow], clock: Clock, sessions: Sessions
) -> None:
    one, two, three = sessions
    parents.create(db, "work", "once")
    (unknown,) = overdue(db, clock, job_type="once", **parents.folder(1))
    run(db, sweep())
    assert seen(db, unknown[0])["status"] == "unknown"
    (lease,) = held(db, **parents.folder(1))
    three.begin(parents.lock(1))

    mixed = one.send(finish(lease, unknown)).waits_for(three)
    late = two.send(finish(unknown)).waits_for_someone()
    three.commit()

    assert {row["verdict"] for row in mixed.rows()} == {"ok"}
    assert {row["verdict"] for row in late.rows()} == {"duplicate"}
    assert parents.completed(db) == {1: 2}
