from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from psycopg.rows import DictRow

from tests.sql.helpers import NOBODY, START, Engine, after, everything, ids, named, refused


def test_a_start_takes_a_full_new_lease(engine: Engine) -> None:
    lease = engine.hold(started=False, lease_seconds=30)
    assert lease["started_at"] is None
    engine.clock.advance(29)
    [row] = engine.call("start", **named(lease))
    assert row == {
        "item": 1,
        "job_id": lease["job_id"],
        "verdict": "ok",
        "lease_expires_at": after(59),
    }
    job = engine.job(lease["job_id"])
    shown = [job[name] for name in ("status", "started_at", "claimed_at", "lease_expires_at")]
    assert shown == ["running", after(29), START, after(59)]
    assert (job["lease_epoch"], job["attempt"]) == (1, 1)


def test_a_lease_that_ran_out_but_is_still_there_can_be_started(engine: Engine) -> None:
    lease = engine.hold(started=False)
    engine.clock.advance(1000)
    assert engine.verdict("start", lease) == "ok"
    assert engine.sweep() == (0, 0, 0, False)


def test_a_second_start_is_a_duplicate_and_changes_nothing(engine: Engine) -> None:
    lease = engine.hold(started=False)
    engine.verdict("start", lease)
    engine.clock.advance(1)
    before = everything(engine.db)
    [row] = engine.call("start", **named(lease))
    assert (row["verdict"], row["lease_expires_at"]) == ("duplicate", after(60))
    assert everything(engine.db) == before


def test_a_job_claimed_in_one_phase_has_been_started(engine: Engine) -> None:
    assert engine.verdict("start", engine.hold()) == "duplicate"


def test_start_forgets_the_leases_lost_before(engine: Engine) -> None:
    job_id = engine.enqueue()
    for _ in range(3):
        engine.take(job_id, started=False)
        engine.clock.advance(60)
        engine.sweep()
    [ready] = engine.rows("ready", job_id)
    assert ready["lost"] == 3
    engine.verdict("start", engine.take(job_id, started=False))
    [held] = engine.rows("lease", job_id)
    assert held["lost"] == 0


def test_past_its_expiry_a_job_lapses_instead(engine: Engine) -> None:
    lease = engine.hold(started=False, expires_in=10)
    engine.clock.advance(10)
    [row] = engine.call("start", **named(lease))
    assert (row["verdict"], row["lease_expires_at"]) == ("stale_lease", None)
    job = engine.job(lease["job_id"])
    shown = [job[name] for name in ("status", "agent_id", "started_at", "lease_expires_at")]
    assert shown == ["expired", None, None, None]
    assert engine.verdict("start", lease) == "stale_lease"
    assert engine.sweep() == (0, 1, 0, False)
    assert engine.status(lease["job_id"]) == "expired"


def test_a_begun_job_goes_on_past_its_expiry(engine: Engine) -> None:
    lease = engine.hold(started=False, expires_in=10)
    engine.clock.advance(9.999)
    assert engine.verdict("start", lease) == "ok"
    engine.clock.advance(1)
    assert engine.verdict("start", lease) == "duplicate"
    assert engine.finish(lease, "completed") == ("ok", "completed")


def lose(engine: Engine, lease: DictRow) -> None:
    engine.clock.advance(60)
    engine.sweep()


def take_again(engine: Engine, lease: DictRow) -> None:
    lose(engine, lease)
    engine.take(lease["job_id"], started=False)


def release(engine: Engine, lease: DictRow) -> None:
    engine.verdict("release", lease)


def cancel(engine: Engine, lease: DictRow) -> None:
    engine.cancel(lease["job_id"])


def finish(engine: Engine, lease: DictRow) -> None:
    engine.finish(lease, "completed")


@pytest.mark.parametrize("function", ["start", "extend", "release"])
@pytest.mark.parametrize("meanwhile", [lose, take_again, release, cancel, finish])
def test_no_stale_effect(
    engine: Engine, meanwhile: Callable[[Engine, DictRow], None], function: str
) -> None:
    lease = engine.hold(started=False)
    meanwhile(engine, lease)
    before = everything(engine.db)
    assert engine.verdict(function, lease) == "stale_lease"
    assert engine.verdict(function, {**lease, "lease_epoch": 99}) == "stale_lease"
    assert everything(engine.db) == before


@pytest.mark.parametrize("function", ["start", "extend", "release"])
def test_a_job_that_does_not_exist_is_not_found(engine: Engine, function: str) -> None:
    lease = {"job_id": NOBODY, "lease_epoch": 1}
    assert engine.verdict(function, lease) == "not_found"


def test_items_are_answered_one_by_one_in_order(engine: Engine) -> None:
    engine.enqueue_many(4)
    first, second, third, gone = engine.claim(4, two_phase="always")
    engine.verdict("start", second)
    engine.verdict("release", gone)
    nobody = {"job_id": NOBODY, "lease_epoch": 1}
    rows = engine.call("start", **named(third, gone, second, nobody, first, third))
    assert [row["item"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert ids(rows) == ids([third, gone, second, nobody, first, third])
    assert [row["verdict"] for row in rows] == [
        "ok",
        "stale_lease",
        "duplicate",
        "not_found",
        "ok",
        "duplicate",
    ]


@pytest.mark.parametrize("function", ["start", "extend", "release", "finish"])
@pytest.mark.parametrize(
    "arguments, field",
    [
        ({"job_ids": None, "lease_epochs": None}, "job_ids"),
        ({"job_ids": [], "lease_epochs": []}, "job_ids"),
        ({"job_ids": [NOBODY, None], "lease_epochs": [1, 1]}, "job_ids"),
        ({"job_ids": [NOBODY] * 10001, "lease_epochs": [1] * 10001}, "job_ids"),
        ({"job_ids": [NOBODY], "lease_epochs": None}, "lease_epochs"),
        ({"job_ids": [NOBODY], "lease_epochs": [1, 1]}, "lease_epochs"),
        ({"job_ids": [NOBODY] * 2, "lease_epochs": [1]}, "lease_epochs"),
        ({"job_ids": [NOBODY] * 2, "lease_epochs": [1, None]}, "lease_epochs"),
    ],
)
def test_broken_lists_of_leases_are_refused(
    engine: Engine, arguments: dict[str, Any], field: str, function: str
) -> None:
    outcomes = {"outcomes": ["completed"]} if function == "finish" else {}
    assert refused(engine.db, function, **arguments, **outcomes) == (field, None)


@pytest.mark.parametrize("function", ["start", "extend", "release"])
def test_ten_thousand_leases_in_a_call_are_allowed(engine: Engine, function: str) -> None:
    lease = {"job_id": NOBODY, "lease_epoch": 1}
    assert len(engine.call(function, **named(*[lease] * 10000))) == 10000
