from __future__ import annotations

from uuid import UUID

import psycopg
import pytest
from psycopg.rows import DictRow

from jobengine.testing import Clock
from tests.races.calls import cancel, claim, extend, finish, retry, start, sweep
from tests.races.jobs import held, overdue, run, seen, status, waiting
from tests.races.sessions import Running, Session

Sessions = tuple[Session, Session, Session]


def answer(running: Running) -> tuple[str, str | None]:
    (row,) = running.rows()
    return row["verdict"], row["status"]


def ended_in_failure(db: psycopg.Connection[DictRow]) -> UUID:
    (lease,) = held(db)
    run(db, finish(lease, outcome="rejected"))
    return lease[0]


@pytest.mark.parametrize("two_phase, found", [("always", "cancelled"), ("never", "running")])
def test_cancel_waits_for_a_claim_in_flight_and_finds_the_job_in_its_lease(
    db: psycopg.Connection[DictRow], sessions: Sessions, two_phase: str, found: str
) -> None:
    one, two, _ = sessions
    (job,) = waiting(db)

    one.begin(claim(two_phase=two_phase))
    asked = two.send(cancel(job)).waits_for(one)
    one.commit()

    assert answer(asked) == ("ok", found)
    assert status(db, job) == found


def test_cancel_stops_the_job_of_a_claim_that_rolls_back(
    db: psycopg.Connection[DictRow], sessions: Sessions
) -> None:
    one, two, _ = sessions
    (job,) = waiting(db)

    one.begin(claim())
    asked = two.send(cancel(job)).waits_for(one)
    one.rollback()

    assert answer(asked) == ("ok", "cancelled")


@pytest.mark.parametrize(
    "outcome, found",
    [
        ("completed", ("conflict", "completed")),
        ("cancelled", ("duplicate", "cancelled")),
        ("failed", ("ok", "cancelled")),
    ],
)
def test_cancel_waits_for_a_finish_in_flight_and_finds_where_it_left_the_job(
    db: psycopg.Connection[DictRow], sessions: Sessions, outcome: str, found: tuple[str, str]
) -> None:
    one, two, _ = sessions
    (lease,) = held(db)

    one.begin(finish(lease, outcome=outcome))
    asked = two.send(cancel(lease[0])).waits_for(one)
    one.commit()

    assert answer(asked) == found
    assert status(db, lease[0]) == found[1]


@pytest.mark.parametrize("outcome, found", [("completed", "completed"), ("failed", "cancelled")])
def test_finish_behind_a_cancel_in_flight_counts_as_what_it_was_but_is_not_retried(
    db: psycopg.Connection[DictRow], sessions: Sessions, outcome: str, found: str
) -> None:
    one, two, _ = sessions
    (lease,) = held(db)

    one.begin(cancel(lease[0]))
    reported = two.send(finish(lease, outcome=outcome)).waits_for(one)
    one.commit()

    assert answer(reported) == ("ok", found)
    assert status(db, lease[0]) == found


def test_start_behind_a_cancel_in_flight_is_stale(
    db: psycopg.Connection[DictRow], sessions: Sessions
) -> None:
    one, two, _ = sessions
    (lease,) = held(db, two_phase="always")

    one.begin(cancel(lease[0]))
    started = two.send(start(lease)).waits_for(one)
    one.commit()

    assert started.rows()[0]["verdict"] == "stale_lease"
    assert status(db, lease[0]) == "cancelled"


def test_cancel_behind_a_start_in_flight_asks_the_holder_to_stop(
    db: psycopg.Connection[DictRow], sessions: Sessions
) -> None:
    one, two, _ = sessions
    (lease,) = held(db, two_phase="always")

    one.begin(start(lease))
    asked = two.send(cancel(lease[0])).waits_for(one)
    one.commit()

    assert answer(asked) == ("ok", "running")
    assert run(db, extend(lease))[0]["cancel_reason"] == "asked"


def test_cancel_waits_for_a_sweep_in_flight_and_stops_the_job_that_came_back(
    db: psycopg.Connection[DictRow], clock: Clock, sessions: Sessions
) -> None:
    one, two, _ = sessions
    (lease,) = overdue(db, clock)

    one.begin(sweep())
    asked = two.send(cancel(lease[0])).waits_for(one)
    one.commit()

    assert answer(asked) == ("ok", "cancelled")


def test_cancel_looks_again_for_a_job_that_moved_behind_its_back(
    db: psycopg.Connection[DictRow], sessions: Sessions
) -> None:
    """It has looked in ready when the job goes there from ended, where it looks last."""
    one, two, three = sessions
    failed = ended_in_failure(db)
    (lease,) = held(db)

    one.begin(extend(lease))
    asked = two.send(cancel(failed, lease[0])).waits_for(one)
    assert three.run(retry(failed))[0]["verdict"] == "ok"
    one.commit()

    assert {row["job_id"]: (row["verdict"], row["status"]) for row in asked.rows()} == {
        failed: ("ok", "cancelled"),
        lease[0]: ("ok", "running"),
    }


def test_of_two_cancels_the_second_learns_of_the_first(
    db: psycopg.Connection[DictRow], sessions: Sessions
) -> None:
    one, two, _ = sessions
    (job,) = waiting(db)

    one.begin(cancel(job))
    asked = two.send(cancel(job)).waits_for(one)
    one.commit()

    assert answer(asked) == ("duplicate", "cancelled")


def test_of_two_retries_one_puts_the_job_back(
    db: psycopg.Connection[DictRow], sessions: Sessions
) -> None:
    one, two, _ = sessions
    failed = ended_in_failure(db)

    one.begin(retry(failed))
    again = two.send(retry(failed)).waits_for(one)
    one.commit()

    assert answer(again) == ("conflict", "pending")
    assert [row["job_id"] for row in run(db, claim(limit=2))] == [failed]


def test_retry_does_not_see_a_finish_in_flight(
    db: psycopg.Connection[DictRow], sessions: Sessions
) -> None:
    one, two, _ = sessions
    (lease,) = held(db)

    one.begin(finish(lease, outcome="rejected"))
    assert answer(two.send(retry(lease[0]))) == ("conflict", "running")
    one.commit()

    assert answer(two.send(retry(lease[0]))) == ("ok", "pending")


@pytest.mark.parametrize("outcome, verdict", [("rejected", "duplicate"), ("completed", "conflict")])
def test_a_finish_repeated_beside_a_retry_in_flight_changes_nothing(
    db: psycopg.Connection[DictRow], sessions: Sessions, outcome: str, verdict: str
) -> None:
    one, two, _ = sessions
    failed = ended_in_failure(db)

    one.begin(retry(failed))
    assert answer(two.send(finish((failed, 1), outcome=outcome))) == (verdict, "failed")
    one.commit()

    after = seen(db, failed)
    assert (after["status"], after["attempt"], after["lease_epoch"]) == ("pending", 0, 1)
