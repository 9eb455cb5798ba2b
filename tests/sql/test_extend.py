from __future__ import annotations

import pytest

from tests.sql.helpers import NOBODY, Engine, after, ids, named, refused


def test_a_lease_is_extended_by_the_jobs_own_seconds(engine: Engine) -> None:
    lease = engine.hold(lease_seconds=30)
    engine.clock.advance(20)
    [row] = engine.call("extend", **named(lease))
    assert row == {
        "item": 1,
        "job_id": lease["job_id"],
        "verdict": "ok",
        "lease_expires_at": after(50),
        "cancel_reason": None,
    }
    assert engine.job(lease["job_id"])["lease_expires_at"] == after(50)
    assert engine.sweep() == (0, 0, 0, False)


@pytest.mark.parametrize("seconds", [0.1, 7, 86400])
def test_a_lease_is_extended_by_the_seconds_given(engine: Engine, seconds: float) -> None:
    [row] = engine.call("extend", **named(engine.hold()), seconds=seconds)
    assert row["lease_expires_at"] == after(seconds)


def test_a_lease_that_ran_out_but_was_not_taken_back_is_kept_alive(engine: Engine) -> None:
    lease = engine.hold()
    engine.clock.advance(1000)
    assert engine.verdict("extend", lease) == "ok"
    assert engine.sweep() == (0, 0, 0, False)
    assert engine.finish(lease, "completed") == ("ok", "completed")


def test_a_lease_is_extended_before_its_start(engine: Engine) -> None:
    lease = engine.hold(started=False)
    engine.clock.advance(59)
    assert engine.verdict("extend", lease) == "ok"
    assert engine.job(lease["job_id"])["lease_expires_at"] == after(119)
    assert engine.status(lease["job_id"]) == "claimed"


def test_extend_tells_the_holder_to_stop(engine: Engine) -> None:
    lease = engine.hold()
    engine.cancel(lease["job_id"], reason="not needed")
    [row] = engine.call("extend", **named(lease))
    assert (row["verdict"], row["cancel_reason"]) == ("ok", "not needed")


def test_a_lapsed_lease_cannot_be_extended(engine: Engine) -> None:
    lease = engine.hold(started=False, expires_in=10)
    engine.clock.advance(10)
    engine.verdict("start", lease)
    [row] = engine.call("extend", **named(lease))
    assert (row["verdict"], row["lease_expires_at"]) == ("stale_lease", None)


def test_items_are_answered_one_by_one_in_order(engine: Engine) -> None:
    engine.enqueue_many(3)
    first, gone, asked = engine.claim(3)
    engine.finish(gone, "completed")
    engine.cancel(asked["job_id"])
    nobody = {"job_id": NOBODY, "lease_epoch": 1}
    items = [asked, nobody, first, gone, first]
    rows = engine.call("extend", **named(*items))
    assert [row["item"] for row in rows] == [1, 2, 3, 4, 5]
    assert ids(rows) == ids(items)
    assert [(row["verdict"], row["cancel_reason"]) for row in rows] == [
        ("ok", "cancelled"),
        ("not_found", None),
        ("ok", None),
        ("stale_lease", None),
        ("ok", None),
    ]


@pytest.mark.parametrize("seconds", [0, 0.09, 86401, float("nan")])
def test_seconds_out_of_bounds_are_refused(engine: Engine, seconds: float) -> None:
    lease = engine.hold()
    answer = refused(engine.db, "extend", **named(lease), seconds=seconds)
    assert answer == ("seconds", None)
