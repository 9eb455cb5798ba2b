"""A job in flight between tables is seen once, where it was or is: never twice, never not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import DictRow

from tests.races.calls import cancel, claim, finish, get, release, retry
from tests.races.jobs import held, run, waiting
from tests.races.sessions import BEGIN, Call, Session

Sessions = tuple[Session, Session, Session]


def claimed(db: psycopg.Connection[DictRow]) -> tuple[UUID, Call]:
    (job,) = waiting(db)
    return job, claim()


def released(db: psycopg.Connection[DictRow]) -> tuple[UUID, Call]:
    (lease,) = held(db)
    return lease[0], release(lease)


def finished(db: psycopg.Connection[DictRow]) -> tuple[UUID, Call]:
    (lease,) = held(db)
    return lease[0], finish(lease)


def cancelled(db: psycopg.Connection[DictRow]) -> tuple[UUID, Call]:
    (job,) = waiting(db)
    return job, cancel(job)


def retried(db: psycopg.Connection[DictRow]) -> tuple[UUID, Call]:
    (lease,) = held(db)
    run(db, finish(lease, outcome="rejected"))
    return lease[0], retry(lease[0])


@dataclass(frozen=True)
class Move:
    """A job, the call that moves it, and its status before and after."""

    made: Callable[[psycopg.Connection[DictRow]], tuple[UUID, Call]]
    before: str
    after: str


moves = pytest.mark.parametrize(
    "move",
    [
        pytest.param(Move(claimed, "pending", "running"), id="ready to lease"),
        pytest.param(Move(released, "running", "pending"), id="lease to ready"),
        pytest.param(Move(finished, "running", "completed"), id="lease to ended"),
        pytest.param(Move(cancelled, "pending", "cancelled"), id="ready to ended"),
        pytest.param(Move(retried, "failed", "pending"), id="ended to ready"),
    ],
)


@moves
def test_get_sees_a_job_in_flight_where_it_was_and_does_not_wait(
    db: psycopg.Connection[DictRow], sessions: Sessions, move: Move
) -> None:
    one, two, _ = sessions
    job, call = move.made(db)

    one.begin(call)
    assert [row["status"] for row in two.run(get(job))] == [move.before]
    one.commit()

    assert [row["status"] for row in two.run(get(job))] == [move.after]


@pytest.mark.parametrize("table", ["ready", "lease", "ended"])
@moves
def test_get_that_is_halted_while_the_job_moves_sees_it_once(
    db: psycopg.Connection[DictRow], sessions: Sessions, move: Move, table: str
) -> None:
    """Its statement has begun, and it cannot read one of the tables until the job has moved."""
    one, two, _ = sessions
    job, call = move.made(db)

    one.run(BEGIN)
    one.run(Call(sql.SQL("set local role jobengine_owner"), {}))
    one.run(
        Call(
            sql.SQL("lock table jobengine.{} in access exclusive mode").format(
                sql.Identifier(table)
            ),
            {},
        )
    )
    halted = two.send(get(job)).waits_for(one)
    one.run(call)
    one.commit()

    (row,) = halted.rows()
    assert row["status"] in (move.before, move.after)
