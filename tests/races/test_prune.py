"""Prune beside everything else: it waits for nobody, nobody waits for it, and no live job goes."""

from __future__ import annotations

import psycopg
from psycopg.rows import DictRow

from jobengine.testing import Clock
from tests.races.calls import cancel, claim, enqueue, extend, finish, get, prune, retry, sweep
from tests.races.jobs import held, overdue, run, status, waiting
from tests.races.sessions import Session

Sessions = tuple[Session, Session, Session]


def test_prune_beside_an_end_in_flight_leaves_the_job_alone(
    db: psycopg.Connection[DictRow], sessions: Sessions
) -> None:
    one, two, _ = sessions
    (lease,) = held(db)

    one.begin(finish(lease))
    assert two.run(prune())[0]["pruned"] == 0
    one.commit()

    assert status(db, lease[0]) == "completed"


def test_claim_extend_finish_and_cancel_do_not_wait_for_a_prune_in_progress(
    db: psycopg.Connection[DictRow], sessions: Sessions
) -> None:
    one, two, _ = sessions
    (gone,) = held(db)
    run(db, finish(gone))
    (lease,) = held(db)
    (job,) = waiting(db)

    assert one.begin(prune())[0]["pruned"] == 1

    assert two.run(extend(lease))[0]["verdict"] == "ok"
    assert two.run(finish(lease))[0]["verdict"] == "ok"
    assert [row["job_id"] for row in two.run(claim())] == [job]
    assert two.run(cancel(job))[0]["status"] == "running"
    assert two.run(enqueue())[0]["verdict"] == "ok"


def test_a_repeated_finish_beside_a_prune_in_progress_is_a_duplicate_then_not_found(
    db: psycopg.Connection[DictRow], sessions: Sessions
) -> None:
    one, two, _ = sessions
    (lease,) = held(db)
    run(db, finish(lease))

    one.begin(prune())
    assert two.run(finish(lease))[0]["verdict"] == "duplicate"
    one.commit()

    assert two.run(finish(lease))[0]["verdict"] == "not_found"


def test_prune_passes_by_a_job_that_a_retry_puts_back(
    db: psycopg.Connection[DictRow], sessions: Sessions
) -> None:
    one, two, _ = sessions
    (lease,) = held(db)
    run(db, finish(lease, outcome="rejected"))

    one.begin(retry(lease[0]))
    assert two.run(prune())[0]["pruned"] == 0
    one.commit()

    assert status(db, lease[0]) == "pending"
    assert two.run(prune())[0]["pruned"] == 0


def test_retry_behind_a_prune_in_progress_does_not_find_the_job(
    db: psycopg.Connection[DictRow], sessions: Sessions
) -> None:
    one, two, _ = sessions
    (lease,) = held(db)
    run(db, finish(lease, outcome="rejected"))

    one.begin(prune())
    back = two.send(retry(lease[0])).waits_for(one)
    one.commit()

    assert back.rows()[0]["verdict"] == "not_found"
    assert run(db, get(lease[0])) == []
    assert run(db, claim()) == []


def test_prune_passes_by_an_unknown_job_that_is_resolved_meanwhile(
    db: psycopg.Connection[DictRow], clock: Clock, sessions: Sessions
) -> None:
    one, two, _ = sessions
    (lease,) = overdue(db, clock, job_type="once")
    run(db, sweep())
    clock.advance(3600)

    one.begin(finish(lease))
    assert two.run(prune())[0]["pruned"] == 0
    one.commit()

    assert status(db, lease[0]) == "completed"


def test_of_two_prunes_each_takes_what_the_other_has_not(
    db: psycopg.Connection[DictRow], sessions: Sessions
) -> None:
    one, two, _ = sessions
    run(db, finish(*held(db, 3)))

    first = one.begin(prune())
    (lease,) = held(db)
    run(db, finish(lease))
    second = two.run(prune())
    one.commit()

    assert [first[0]["pruned"], second[0]["pruned"]] == [3, 1]
