from __future__ import annotations

from itertools import product
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.sql.helpers import (
    NO_TENANT,
    NOBODY,
    START,
    Engine,
    after,
    everything,
    named,
    refused,
)

OUTCOMES = ["completed", "failed", "rejected", "snooze", "cancelled", "unknown"]
ANY: Any = None
# The first line that matches says the status: outcome, job type (`work` at_least_once, `trade`
# at_most_once), begun, on its last attempt, asked to stop.
RULES: list[tuple[str, str, bool, bool, bool, str]] = [
    ("completed", ANY, ANY, ANY, ANY, "completed"),
    ("cancelled", ANY, ANY, ANY, ANY, "cancelled"),
    ("rejected", ANY, ANY, ANY, ANY, "failed"),
    ("snooze", ANY, ANY, ANY, True, "cancelled"),
    ("snooze", ANY, ANY, ANY, False, "pending"),
    ("failed", "trade", True, ANY, ANY, "failed"),
    ("unknown", "trade", True, ANY, ANY, "unknown"),
    (ANY, ANY, ANY, True, ANY, "failed"),
    (ANY, ANY, ANY, ANY, True, "cancelled"),
    (ANY, ANY, ANY, ANY, ANY, "pending"),
]
FACTS = list(product([True, False], repeat=3))


def expected(*case: Any) -> str:
    for *conditions, status in RULES:
        if all(c is ANY or c == value for c, value in zip(conditions, case, strict=True)):
            return str(status)
    raise AssertionError


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("job_type", ["work", "trade"])
def test_an_outcome_leads_to_its_status(engine: Engine, job_type: str, outcome: str) -> None:
    for begun, last, asked in FACTS:
        if asked and not begun:
            continue  # cancel ends it at once
        case = (outcome, job_type, begun, last, asked)
        attempts = 1 if last else 2
        lease = engine.hold(
            job_type, started=begun, max_attempts=attempts, live_key=str(case), expires_in=100
        )
        if asked:
            engine.cancel(lease["job_id"], reason="enough")
        status = expected(*case)
        verdict = "retried" if status == "pending" else "ok"
        assert engine.finish(lease, outcome, delay=100) == (verdict, status), case
        check_place(engine, lease["job_id"], outcome, status)
        noted = outcome in {"failed", "rejected", "unknown"}
        assert len(engine.rows("failure", lease["job_id"])) == noted, case


def check_place(engine: Engine, job_id: UUID, outcome: str, status: str) -> None:
    """no_lost_job: the job is in one table, with its fence, and the live key goes with it."""
    assert engine.status(job_id) == status
    tables = ("lease", "ready", "ended", "live_key")
    places = [table for table in tables if engine.rows(table, job_id)]
    if status == "pending":
        assert places == ["ready", "live_key"]
        [ready] = engine.rows("ready", job_id)
        assert ready["attempt"] == (0 if outcome == "snooze" else 1)
        assert (ready["lease_epoch"], ready["lost"], ready["expires_at"]) == (1, 0, after(100))
    else:
        assert places == ["ended"]
        [ended] = engine.rows("ended", job_id)
        assert (ended["attempt"], ended["lease_epoch"]) == (1, 1)


def test_an_end_records_the_whole_report(engine: Engine) -> None:
    lease = engine.hold(started=False)
    engine.clock.advance(1)
    engine.verdict("start", lease)
    engine.clock.advance(1)
    engine.finish(lease, "rejected", output=Jsonb([1]), error_code="E1", error_message="too bad")
    [ended] = engine.rows("ended", lease["job_id"])
    assert ended == {
        "job_id": lease["job_id"],
        "tenant_id": NO_TENANT,
        "status": "failed",
        "output": [1],
        "error_code": "E1",
        "error_message": "too bad",
        "attempt": 1,
        "lease_epoch": 1,
        "agent_id": "agent",
        "claimed_at": START,
        "started_at": after(1),
        "finished_at": after(2),
        "settled_status": None,
        "settle_error": None,
        "settle_tries": 0,
        "settle_at": None,
    }


def test_every_failed_attempt_is_kept(engine: Engine) -> None:
    job_id = engine.enqueue(max_attempts=2)
    engine.finish(engine.take(job_id), "failed", error_code="E1", error_message="one", delay=3)
    engine.clock.advance(3)
    engine.finish(engine.take(job_id), "failed", error_code="E2", error_message="two")
    failures = sorted(engine.rows("failure", job_id), key=lambda row: row["lease_epoch"])
    shared = {"job_id": job_id, "reported_by": "holder", "agent_id": "agent"}
    assert failures == [
        shared
        | {
            "lease_epoch": 1,
            "attempt": 1,
            "error_code": "E1",
            "error_message": "one",
            "failed_at": START,
        },
        shared
        | {
            "lease_epoch": 2,
            "attempt": 2,
            "error_code": "E2",
            "error_message": "two",
            "failed_at": after(3),
        },
    ]
    assert engine.job(job_id)["error_code"] == "E2"


def test_values_left_out_are_null(engine: Engine) -> None:
    lease = engine.hold()
    engine.finish(lease, "completed")
    job = engine.job(lease["job_id"])
    assert [job["output"], job["error_code"], job["error_message"]] == [None] * 3


@pytest.mark.parametrize("outcome", ["cancelled", "failed", "snooze"])
def test_a_cancelled_end_says_why(engine: Engine, outcome: str) -> None:
    lease = engine.hold()
    engine.cancel(lease["job_id"], reason="enough")
    engine.finish(lease, outcome)
    job = engine.job(lease["job_id"])
    assert (job["status"], job["error_code"]) == ("cancelled", "cancelled")
    assert job["error_message"] == "enough"


def test_a_cancelled_end_keeps_what_its_holder_says(engine: Engine) -> None:
    lease = engine.hold()
    engine.cancel(lease["job_id"], reason="enough")
    engine.finish(lease, "cancelled", error_code="E1", error_message="half done")
    job = engine.job(lease["job_id"])
    assert (job["error_code"], job["error_message"]) == ("E1", "half done")


@pytest.mark.parametrize(
    "attempt, least, most", [(1, 8, 12), (2, 16, 24), (3, 20, 30), (4, 20, 30)]
)
def test_a_failed_attempt_waits_for_the_backoff(
    engine: Engine, attempt: int, least: float, most: float
) -> None:
    engine.register("slow", backoff_seconds=10, backoff_max_seconds=25)
    job_id = engine.enqueue("slow")
    for _ in range(attempt - 1):
        engine.finish(engine.take(job_id), "failed", delay=0)
    assert engine.finish(engine.take(job_id), "failed") == ("retried", "pending")
    assert after(least) <= engine.job(job_id)["run_at"] <= after(most)


@pytest.mark.parametrize("outcome", ["failed", "snooze"])
@pytest.mark.parametrize("delay", [0, 7.5, 315360000])
def test_a_delay_given_is_exact(engine: Engine, outcome: str, delay: float) -> None:
    lease = engine.hold()
    assert engine.finish(lease, outcome, delay=delay) == ("retried", "pending")
    assert engine.job(lease["job_id"])["run_at"] == after(delay)


def test_a_snooze_without_a_delay_is_due_at_once_and_forgets_losses(engine: Engine) -> None:
    job_id = engine.enqueue()
    engine.take(job_id, started=False)
    engine.clock.advance(60)
    engine.sweep()
    engine.finish(engine.take(job_id, started=False), "snooze")
    [ready] = engine.rows("ready", job_id)
    assert (ready["run_at"], ready["attempt"], ready["lost"]) == (after(60), 0, 0)


def test_snoozes_never_use_attempts_up(engine: Engine) -> None:
    job_id = engine.enqueue(max_attempts=1)
    for _ in range(5):
        assert engine.finish(engine.take(job_id), "snooze") == ("retried", "pending")
    lease = engine.take(job_id)
    assert (lease["attempt"], lease["lease_epoch"]) == (1, 6)
    assert engine.finish(lease, "failed") == ("ok", "failed")


def test_the_last_of_max_attempts_fails_for_good(engine: Engine) -> None:
    job_id = engine.enqueue(max_attempts=3)
    answers = [engine.finish(engine.take(job_id), "failed", delay=0) for _ in range(3)]
    assert answers == [("retried", "pending")] * 2 + [("ok", "failed")]


GOOD: dict[str, Any] = {
    "job_ids": [NOBODY] * 3,
    "lease_epochs": [1] * 3,
    "outcomes": ["failed"] * 3,
}


@pytest.mark.parametrize(
    "name, value, field",
    [
        ("outcomes", [None, "finished", "failed"], "outcome"),
        ("outcomes", ["failed", None, None], "outcome"),
        ("outputs", [None, Jsonb("a" * 1_048_577), Jsonb("a" * 1_048_577)], "output"),
        ("error_codes", ["a" * 200, "a" * 201, "a" * 201], "error_code"),
        ("error_messages", ["ä" * 10000, "a" * 10001, "a" * 10001], "error_message"),
        ("delays", [0.0, -0.1, -1.0], "delay"),
        ("delays", [315360000, 315360001, None], "delay"),
        ("delays", [1.0, float("nan"), None], "delay"),
    ],
)
def test_a_broken_report_refuses_the_whole_call(
    engine: Engine, name: str, value: list[Any], field: str
) -> None:
    good = engine.hold()
    arguments = GOOD | {name: value}
    arguments["job_ids"] = [good["job_id"], NOBODY, NOBODY]
    item = 1 if value[0] is None and name == "outcomes" else 2
    assert refused(engine.db, "finish", **arguments) == (field, item)


@pytest.mark.parametrize(
    "name, value",
    [
        ("outcomes", None),
        ("outcomes", []),
        ("outcomes", ["failed"] * 2),
        ("outcomes", ["failed"] * 4),
        ("outputs", [Jsonb(1)] * 4),
        ("error_codes", ["a"] * 4),
        ("error_messages", ["a"] * 4),
        ("delays", [1] * 4),
    ],
)
def test_lists_of_another_length_are_refused(engine: Engine, name: str, value: Any) -> None:
    assert refused(engine.db, "finish", **GOOD | {name: value}) == (name, None)


def test_a_batch_is_answered_item_by_item(engine: Engine) -> None:
    engine.enqueue_many(6)
    leases = engine.claim(6)
    nobody = {"job_id": NOBODY, "lease_epoch": 1}
    outcomes = [*OUTCOMES, "completed"]
    rows = engine.call(
        "finish",
        **named(*leases, nobody),
        outcomes=outcomes,
        outputs=[Jsonb(n) for n in range(7)],
        delays=[None, 5],
    )
    rows.sort(key=lambda row: row["item"])
    assert [(row["verdict"], row["status"]) for row in rows] == [
        ("ok", "completed"),
        ("retried", "pending"),
        ("ok", "failed"),
        ("retried", "pending"),
        ("ok", "cancelled"),
        ("retried", "pending"),
        ("not_found", None),
    ]
    assert [row["job_id"] for row in rows] == [*[lease["job_id"] for lease in leases], NOBODY]
    outputs = [engine.job(lease["job_id"])["output"] for lease in leases]
    assert outputs == [0, None, 2, None, 4, None]
    assert engine.job(leases[1]["job_id"])["run_at"] == after(5)


def test_a_second_end_is_impossible(engine: Engine) -> None:
    """Should a lease ever be there although its job has ended, no report can end it again."""
    lease = engine.hold()
    engine.db.execute("create temporary table kept as table jobengine.lease")
    assert engine.finish(lease, "completed", output=Jsonb(1)) == ("ok", "completed")
    engine.db.execute("insert into jobengine.lease table kept")
    before = everything(engine.db)
    with pytest.raises(psycopg.errors.UniqueViolation):
        engine.finish(lease, "rejected")
    assert everything(engine.db) == before
