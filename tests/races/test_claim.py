from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from tests.races.calls import call, cancel, claim
from tests.races.jobs import run, status, waiting
from tests.races.sessions import Call, Rows, Session

Sessions = tuple[Session, Session, Session]


def ids(rows: Rows) -> set[UUID]:
    return {row["job_id"] for row in rows}


def test_no_double_claim(db: psycopg.Connection[DictRow], sessions: Sessions) -> None:
    one, two, three = sessions
    jobs = waiting(db, 5)

    first = one.begin(claim(limit=2))
    second = two.begin(claim(limit=2))
    third = three.begin(claim(limit=5))

    assert [len(first), len(second), len(third)] == [2, 2, 1]
    assert ids(first) | ids(second) | ids(third) == set(jobs)


def test_a_claim_neither_waits_for_another_nor_sees_its_jobs(
    db: psycopg.Connection[DictRow], sessions: Sessions
) -> None:
    one, two, _ = sessions
    waiting(db)

    one.begin(claim())

    assert two.run(claim()) == []


def test_a_claim_goes_on_behind_the_jobs_that_others_hold(
    db: psycopg.Connection[DictRow], sessions: Sessions
) -> None:
    one, two, three = sessions
    claimed, cancelled, locked, *free = waiting(db, 5)
    one.begin(claim())
    two.begin(cancel(cancelled))
    three.run(Call(sql.SQL("set role jobengine_owner"), {}))
    three.begin(
        Call(
            sql.SQL("select 1 from jobengine.ready where job_id = %(id)s for update"),
            {"id": locked},
        )
    )

    assert ids(run(db, claim(limit=5))) == set(free)
    assert status(db, claimed) == "pending"  # of the claim in progress nothing is seen yet


def test_the_jobs_of_a_claim_that_rolls_back_are_claimed_again_with_the_same_epoch(
    db: psycopg.Connection[DictRow], sessions: Sessions
) -> None:
    one, two, _ = sessions
    waiting(db)

    (lost,) = one.begin(claim())
    one.rollback()
    (found,) = two.run(claim())

    assert (found["job_id"], found["lease_epoch"]) == (lost["job_id"], 1)


def test_a_repeated_request_waits_for_its_first_try_and_gets_the_same_leases(
    db: psycopg.Connection[DictRow], sessions: Sessions
) -> None:
    one, two, _ = sessions
    waiting(db, 4)
    request = claim(limit=2, request_id=uuid4())

    first = one.begin(request)
    again = two.send(request).waits_for(one)
    one.commit()

    leases = {(row["job_id"], row["lease_epoch"]) for row in first}
    assert {(row["job_id"], row["lease_epoch"]) for row in again.rows()} == leases
    assert len(leases) == 2


def test_a_repeated_request_claims_itself_when_its_first_try_rolls_back(
    db: psycopg.Connection[DictRow], sessions: Sessions
) -> None:
    one, two, _ = sessions
    jobs = waiting(db, 2)
    request = claim(limit=2, request_id=uuid4())

    one.begin(request)
    again = two.send(request).waits_for(one)
    one.rollback()

    assert ids(again.rows()) == set(jobs)


@pytest.mark.parametrize("other", [{"request_id": uuid4()}, {"agent_id": "other"}])
def test_another_request_does_not_wait(
    db: psycopg.Connection[DictRow], sessions: Sessions, other: dict[str, Any]
) -> None:
    one, two, _ = sessions
    waiting(db, 2)
    request: dict[str, Any] = {"request_id": uuid4(), "agent_id": "agent"}

    first = one.begin(claim(**request))
    second = two.run(claim(**(request | other)))

    assert ids(first) & ids(second) == set()
    assert len(second) == 1


@pytest.mark.parametrize("held", [0, 1])
def test_claims_that_repeat_two_requests_in_opposite_order_do_not_deadlock(
    db: psycopg.Connection[DictRow], sessions: Sessions, held: int
) -> None:
    one, two, three = sessions
    waiting(db, 2)
    requests = [
        {"queues": ["default"], "agent_id": "a", "limit": 1, "request_id": str(uuid4())}
        for _ in range(2)
    ]
    three.begin(call("claim", requests=Jsonb([requests[held]])))

    # One that locked in the order given would hold the one request and wait for the other, and
    # the second claim the reverse, as soon as the third lets go.
    first = one.send(call("claim", requests=Jsonb([requests[held], requests[1 - held]])))
    first.waits_for(three)
    second = two.send(call("claim", requests=Jsonb([requests[1 - held], requests[held]])))
    second.waits_for_someone()
    three.commit()

    assert ids(first.rows()) == ids(second.rows())
