from __future__ import annotations

import pytest

from tests.sql.helpers import NOBODY, Engine, after, everything, ids, named


@pytest.mark.parametrize("job_type, started", [("work", False), ("work", True), ("trade", False)])
def test_a_job_goes_back_at_once_with_no_attempt_spent(
    engine: Engine, job_type: str, *, started: bool
) -> None:
    lease = engine.hold(job_type, started=started, expires_in=100, priority=2)
    before = engine.rows("ready", lease["job_id"])
    assert before == []
    engine.clock.advance(1)
    assert engine.verdict("release", lease) == "ok"
    [ready] = engine.rows("ready", lease["job_id"])
    assert (ready["run_at"], ready["expires_at"], ready["priority"]) == (after(1), after(100), 2)
    assert (ready["attempt"], ready["lease_epoch"], ready["lost"]) == (0, 1, 0)
    assert engine.rows("lease", lease["job_id"]) == []
    assert engine.rows("failure", lease["job_id"]) == []
    assert engine.take(lease["job_id"])["lease_epoch"] == 2


def test_a_begun_at_most_once_job_is_a_conflict(engine: Engine) -> None:
    lease = engine.hold("trade")
    before = everything(engine.db)
    assert engine.verdict("release", lease) == "conflict"
    assert everything(engine.db) == before
    assert engine.finish(lease, "completed") == ("ok", "completed")


def test_a_release_is_no_loss_and_keeps_the_losses(engine: Engine) -> None:
    job_id = engine.enqueue()
    engine.take(job_id, started=False)
    engine.clock.advance(60)
    engine.sweep()
    engine.verdict("release", engine.take(job_id, started=False))
    [ready] = engine.rows("ready", job_id)
    assert (ready["lost"], ready["attempt"], ready["lease_epoch"]) == (1, 0, 2)


def test_a_job_that_was_asked_to_stop_ends_cancelled(engine: Engine) -> None:
    lease = engine.hold(live_key="a")
    engine.cancel(lease["job_id"], reason="enough")
    assert engine.verdict("release", lease) == "ok"
    job = engine.job(lease["job_id"])
    shown = (job["status"], job["error_code"], job["error_message"], job["agent_id"])
    assert shown == ("cancelled", "cancelled", "enough", "agent")
    assert engine.size("ready") == engine.size("live_key") == 0


def test_a_repeated_release_is_a_stale_lease(engine: Engine) -> None:
    lease = engine.hold()
    engine.verdict("release", lease)
    before = everything(engine.db)
    assert engine.verdict("release", lease) == "stale_lease"
    assert everything(engine.db) == before


def test_a_lapsed_lease_cannot_be_released(engine: Engine) -> None:
    lease = engine.hold(started=False, expires_in=10)
    engine.clock.advance(10)
    engine.verdict("start", lease)
    assert engine.verdict("release", lease) == "stale_lease"
    assert engine.size("ready") == 0


def test_items_are_answered_one_by_one_in_order(engine: Engine) -> None:
    engine.enqueue_many(3, priority=0)
    engine.enqueue("trade")
    first, gone, asked, begun = engine.claim(4)
    engine.finish(gone, "completed")
    engine.cancel(asked["job_id"])
    nobody = {"job_id": NOBODY, "lease_epoch": 1}
    items = [begun, nobody, asked, gone, first, first]
    rows = engine.call("release", **named(*items))
    assert [row["item"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert ids(rows) == ids(items)
    assert [row["verdict"] for row in rows] == [
        "conflict",
        "not_found",
        "ok",
        "stale_lease",
        "ok",
        "stale_lease",
    ]
    assert engine.status(first["job_id"]) == "pending"
    assert engine.status(asked["job_id"]) == "cancelled"
