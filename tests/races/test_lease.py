"""Calls on held jobs that meet: whoever commits first is right, the other one is told."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg.rows import DictRow

from jobengine.testing import Clock
from tests.races.calls import Lease, claim, enqueue, extend, finish, get, release, start, sweep
from tests.races.jobs import held, overdue, run, seen, status
from tests.races.sessions import Call, Session

Sessions = tuple[Session, Session, Session]

SWEPT_NOTHING = {"returned": 0, "ended": 0, "settled": 0, "more": False}


def test_finish_behind_a_sweep_is_stale(
    db: psycopg.Connection[DictRow], clock: Clock, sessions: Sessions
) -> None:
    one, two, _ = sessions
    (lease,) = overdue(db, clock)

    one.begin(sweep())
    late = two.send(finish(lease)).waits_for(one)
    one.commit()

    assert late.rows()[0]["verdict"] == "stale_lease"
    assert status(db, lease[0]) == "pending"


def test_finish_behind_a_sweep_that_rolls_back_counts(
    db: psycopg.Connection[DictRow], clock: Clock, sessions: Sessions
) -> None:
    one, two, _ = sessions
    (lease,) = overdue(db, clock)

    one.begin(sweep())
    late = two.send(finish(lease)).waits_for(one)
    one.rollback()

    assert late.rows()[0]["verdict"] == "ok"
    assert status(db, lease[0]) == "completed"


def test_finish_behind_a_sweep_resolves_the_unknown_job(
    db: psycopg.Connection[DictRow], clock: Clock, sessions: Sessions
) -> None:
    one, two, _ = sessions
    (lease,) = overdue(db, clock, job_type="once")

    one.begin(sweep())
    late = two.send(finish(lease)).waits_for(one)
    one.commit()

    assert late.rows()[0] | {"verdict": "ok", "status": "completed"} == late.rows()[0]
    assert status(db, lease[0]) == "completed"


@pytest.mark.parametrize(
    "calls",
    [
        pytest.param(extend, id="extend"),
        pytest.param(finish, id="finish"),
        pytest.param(release, id="release"),
    ],
)
def test_a_sweep_passes_by_a_lease_that_another_call_holds(
    db: psycopg.Connection[DictRow], clock: Clock, sessions: Sessions, calls: Any
) -> None:
    one, two, _ = sessions
    (lease,) = overdue(db, clock)

    (answer,) = one.begin(calls(lease))

    assert answer["verdict"] == "ok"
    assert two.run(sweep()) == [SWEPT_NOTHING]
    one.commit()
    assert run(db, sweep()) == [SWEPT_NOTHING]


def test_a_second_sweep_answers_at_once_that_it_did_nothing(
    db: psycopg.Connection[DictRow], clock: Clock, sessions: Sessions
) -> None:
    one, two, _ = sessions
    overdue(db, clock)

    assert one.begin(sweep()) == [SWEPT_NOTHING | {"returned": 1}]
    assert two.run(sweep()) == [SWEPT_NOTHING]


@pytest.mark.parametrize("calls", [extend, release])
def test_a_call_behind_a_sweep_is_stale(
    db: psycopg.Connection[DictRow], clock: Clock, sessions: Sessions, calls: Any
) -> None:
    one, two, _ = sessions
    (lease,) = overdue(db, clock)

    one.begin(sweep())
    late = two.send(calls(lease)).waits_for(one)
    one.commit()

    assert late.rows()[0]["verdict"] == "stale_lease"
    assert status(db, lease[0]) == "pending"


def test_a_start_behind_a_sweep_is_stale_and_the_next_lease_is_another(
    db: psycopg.Connection[DictRow], clock: Clock, sessions: Sessions
) -> None:
    one, two, three = sessions
    (lease,) = overdue(db, clock, two_phase="always")

    one.begin(sweep())
    late = two.send(start(lease)).waits_for(one)
    one.commit()
    (again,) = three.run(claim())

    assert late.rows()[0]["verdict"] == "stale_lease"
    assert (again["job_id"], again["lease_epoch"]) == (lease[0], lease[1] + 1)


def test_of_two_starts_one_begins_the_work(
    db: psycopg.Connection[DictRow], sessions: Sessions
) -> None:
    one, two, _ = sessions
    (lease,) = held(db, two_phase="always")

    first = one.begin(start(lease))
    second = two.send(start(lease)).waits_for(one)
    one.commit()

    assert [first[0]["verdict"], second.rows()[0]["verdict"]] == ["ok", "duplicate"]


@pytest.mark.parametrize(
    "outcome, verdict", [("completed", "duplicate"), ("failed", "conflict"), ("snooze", "conflict")]
)
def test_of_two_finishes_of_one_lease_the_second_changes_nothing(
    db: psycopg.Connection[DictRow], sessions: Sessions, outcome: str, verdict: str
) -> None:
    one, two, _ = sessions
    (lease,) = held(db)

    one.begin(finish(lease))
    second = two.send(finish(lease, outcome=outcome, error_codes="late")).waits_for(one)
    one.commit()

    assert second.rows()[0]["verdict"] == verdict
    after = seen(db, lease[0])
    assert (after["status"], after["error_code"]) == ("completed", None)


def test_of_two_late_finishes_of_an_unknown_job_one_resolves_it(
    db: psycopg.Connection[DictRow], clock: Clock, sessions: Sessions
) -> None:
    one, two, _ = sessions
    (lease,) = overdue(db, clock, job_type="once")
    run(db, sweep())
    assert status(db, lease[0]) == "unknown"

    first = one.begin(finish(lease))
    second = two.send(finish(lease, outcome="failed")).waits_for(one)
    one.commit()

    assert first[0]["verdict"] == "ok"
    assert second.rows()[0]["verdict"] == "conflict"
    assert status(db, lease[0]) == "completed"


@pytest.mark.parametrize(
    "calls, ends",
    [(release, {"ok": "pending"}), (finish, {"ok": "completed"})],
)
def test_release_and_finish_of_one_lease(
    db: psycopg.Connection[DictRow], sessions: Sessions, calls: Any, ends: dict[str, str]
) -> None:
    one, two, _ = sessions
    (lease,) = held(db)
    other = finish if calls is release else release

    first = one.begin(calls(lease))
    second = two.send(other(lease)).waits_for(one)
    one.commit()

    assert first[0]["verdict"] == "ok"
    assert second.rows()[0]["verdict"] == "stale_lease"
    assert status(db, lease[0]) == ends["ok"]


def finish_failed(*leases: Lease) -> Call:
    return finish(*leases, outcome="failed")


@pytest.mark.parametrize("older", [extend, finish, finish_failed, release, start])
def test_no_stale_effect(db: psycopg.Connection[DictRow], sessions: Sessions, older: Any) -> None:
    """A call with the old epoch meets the claim of the new one in flight."""
    one, two, _ = sessions
    (lease,) = held(db)
    run(db, release(lease))

    one.begin(claim())
    meanwhile = two.run(older(lease))
    one.commit()
    before = seen(db, lease[0])
    afterwards = two.run(older(lease))

    assert [meanwhile[0]["verdict"], afterwards[0]["verdict"]] == ["stale_lease", "stale_lease"]
    assert seen(db, lease[0]) == before
    assert (before["status"], before["lease_epoch"]) == ("running", 2)


def test_an_enqueue_in_flight_is_claimed_once_it_is_committed(
    db: psycopg.Connection[DictRow], sessions: Sessions
) -> None:
    one, two, _ = sessions

    (job,) = one.begin(enqueue())
    assert two.run(claim()) == []
    assert two.run(get(job["job_id"])) == []
    one.commit()

    assert two.run(claim())[0]["job_id"] == job["job_id"]
