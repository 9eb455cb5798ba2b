"""Two transactions that want the same dedup key or live key."""

from __future__ import annotations

from uuid import UUID

import psycopg
import pytest
from psycopg.rows import DictRow

from tests.races.calls import call, cancel, claim, enqueue, finish, keyed, prune, retry
from tests.races.jobs import held, run, status, waiting
from tests.races.sessions import Running, Session

Sessions = tuple[Session, Session, Session]


def answer(running: Running) -> tuple[str, UUID]:
    (row,) = running.rows()
    return row["verdict"], row["job_id"]


@pytest.mark.parametrize("key", ["dedup_keys", "live_keys"])
def test_the_second_enqueue_of_a_key_waits_and_gets_the_first_job(
    db: psycopg.Connection[DictRow], sessions: Sessions, key: str
) -> None:
    one, two, _ = sessions

    (first,) = one.begin(keyed(key, "k"))
    second = two.send(keyed(key, "k")).waits_for(one)
    one.commit()

    assert answer(second) == ("duplicate", first["job_id"])
    assert len(run(db, claim(limit=9))) == 1


@pytest.mark.parametrize("key", ["dedup_keys", "live_keys"])
def test_the_second_enqueue_of_a_key_makes_the_job_when_the_first_rolls_back(
    db: psycopg.Connection[DictRow], sessions: Sessions, key: str
) -> None:
    one, two, _ = sessions

    (first,) = one.begin(keyed(key, "k"))
    second = two.send(keyed(key, "k")).waits_for(one)
    one.rollback()

    verdict, job = answer(second)
    assert verdict == "ok"
    assert job != first["job_id"]
    assert [row["job_id"] for row in run(db, claim(limit=9))] == [job]


@pytest.mark.parametrize("key", ["dedup_keys", "live_keys"])
def test_another_key_and_another_tenant_do_not_wait(
    db: psycopg.Connection[DictRow], sessions: Sessions, key: str
) -> None:
    one, two, _ = sessions

    one.begin(keyed(key, "k"))

    assert two.run(keyed(key, "other"))[0]["verdict"] == "ok"
    assert two.run(keyed(key, "k", tenant_ids=UUID(int=1)))[0]["verdict"] == "ok"


@pytest.mark.parametrize("key", ["dedup_keys", "live_keys"])
def test_two_enqueues_of_the_same_keys_in_opposite_order_do_not_deadlock(
    db: psycopg.Connection[DictRow], sessions: Sessions, key: str
) -> None:
    """Both are halted in the middle: whoever goes on first wants what the other took before."""
    one, two, three = sessions
    three.begin(keyed(key, "b"))

    types = ["work", "work", "work"]
    forth = call("enqueue", job_types=types, **{key: ["a", "b", "c"]})
    back = call("enqueue", job_types=types, **{key: ["c", "b", "a"]})
    first = one.send(forth).waits_for(three)
    second = two.send(back).waits_for_someone()
    three.rollback()

    made = {row["job_id"] for row in first.rows()}
    assert {row["job_id"] for row in second.rows()} == made
    assert len(made) == 3


def test_a_key_that_comes_free_while_the_call_is_under_way_is_taken(
    db: psycopg.Connection[DictRow], sessions: Sessions
) -> None:
    """It has found the live key taken, and waits for a dedup key, when the job ends."""
    one, two, three = sessions
    former = run(db, keyed("live_keys", "live"))[0]["job_id"]

    three.begin(keyed("dedup_keys", "dedup"))
    both = call(
        "enqueue",
        job_types=["work", "work"],
        live_keys=["live", None],
        dedup_keys=[None, "dedup"],
    )
    asked = one.send(both).waits_for(three)
    assert two.run(cancel(former))[0]["verdict"] == "ok"
    three.rollback()

    assert [row["verdict"] for row in asked.rows()] == ["ok", "ok"]


def test_a_live_key_freed_by_an_end_in_flight_goes_to_the_one_who_waits(
    db: psycopg.Connection[DictRow], sessions: Sessions
) -> None:
    one, two, _ = sessions
    (lease,) = held(db, live_keys="k")

    one.begin(finish(lease))
    again = two.send(enqueue(live_keys="k")).waits_for(one)
    one.commit()

    verdict, job = answer(again)
    assert verdict == "ok"
    assert job != lease[0]
    assert status(db, job) == "pending"


def test_a_live_key_stays_when_the_end_in_flight_rolls_back(
    db: psycopg.Connection[DictRow], sessions: Sessions
) -> None:
    one, two, _ = sessions
    (lease,) = held(db, live_keys="k")

    one.begin(finish(lease))
    again = two.send(enqueue(live_keys="k")).waits_for(one)
    one.rollback()

    assert answer(again) == ("duplicate", lease[0])


def test_retry_waits_for_an_enqueue_of_its_live_key(
    db: psycopg.Connection[DictRow], sessions: Sessions
) -> None:
    one, two, _ = sessions
    (lease,) = held(db, live_keys="k")
    run(db, finish(lease, outcome="rejected"))

    one.begin(enqueue(live_keys="k"))
    back = two.send(retry(lease[0])).waits_for(one)
    one.commit()

    assert answer(back) == ("conflict", lease[0])
    assert status(db, lease[0]) == "failed"


def test_enqueue_waits_for_a_retry_that_takes_its_live_key(
    db: psycopg.Connection[DictRow], sessions: Sessions
) -> None:
    one, two, _ = sessions
    (lease,) = held(db, live_keys="k")
    run(db, finish(lease, outcome="rejected"))

    one.begin(retry(lease[0]))
    again = two.send(enqueue(live_keys="k")).waits_for(one)
    one.commit()

    assert answer(again) == ("duplicate", lease[0])


def test_a_dedup_key_freed_by_a_prune_in_flight_goes_to_the_one_who_waits(
    db: psycopg.Connection[DictRow], sessions: Sessions
) -> None:
    one, two, _ = sessions
    (lease,) = held(db, dedup_keys="k")
    run(db, finish(lease))

    assert one.begin(prune())[0]["pruned"] == 1
    again = two.send(enqueue(dedup_keys="k")).waits_for(one)
    one.commit()

    verdict, job = answer(again)
    assert verdict == "ok"
    assert job != lease[0]


def test_the_live_key_of_a_waiting_job_is_found_while_its_claim_is_in_flight(
    db: psycopg.Connection[DictRow], sessions: Sessions
) -> None:
    one, two, _ = sessions
    (job,) = waiting(db, live_keys="k")

    one.begin(claim())

    assert answer(two.send(enqueue(live_keys="k"))) == ("duplicate", job)
