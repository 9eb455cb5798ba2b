from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest
from psycopg import IsolationLevel
from psycopg.types.json import Jsonb

from tests.sql.helpers import (
    ANNA,
    NO_TENANT,
    PLURAL,
    START,
    Engine,
    after,
    call,
    everything,
    ids,
    refused,
    second_session,
)

INFINITY = "infinity"
BIG = Jsonb({"text": "a" * 1_048_577})
LARGEST = Jsonb("a" * 1_048_560)


def test_a_job_has_the_documented_defaults(engine: Engine) -> None:
    [row] = engine.call("enqueue", job_types=["work"])
    assert (row["item"], row["verdict"]) == (1, "ok")
    [job] = engine.rows("job", row["job_id"])
    assert job == {
        "job_id": row["job_id"],
        "tenant_id": NO_TENANT,
        "queue": "default",
        "job_type": "work",
        "priority": 5,
        "input": {},
        "meta": {},
        "max_attempts": 5,
        "lease_seconds": 60,
        "delivery": "at_least_once",
        "dedup_key": None,
        "live_key": None,
        "wake": False,
        "created_at": START,
    }
    [ready] = engine.rows("ready", row["job_id"])
    assert ready == {
        "job_id": row["job_id"],
        "tenant_id": NO_TENANT,
        "queue": "default",
        "priority": 5,
        "run_at": START,
        "attempt": 0,
        "lease_epoch": 0,
        "lost": 0,
        "expires_at": None,
    }
    assert engine.status(row["job_id"]) == "pending"


def test_a_job_takes_its_limits_from_its_type(engine: Engine) -> None:
    engine.register("other", priority=1, max_attempts=2, lease_seconds=3, delivery="at_most_once")
    [job] = engine.rows("job", engine.enqueue("other"))
    limits = (job["priority"], job["max_attempts"], job["lease_seconds"], job["delivery"])
    assert limits == (1, 2, 3, "at_most_once")


def test_every_value_given_is_stored(engine: Engine) -> None:
    given = {
        "input": Jsonb([1, None]),
        "queue": "mail",
        "tenant_id": ANNA,
        "priority": 9,
        "run_at": after(10),
        "expires_at": after(20),
        "max_attempts": 7,
        "lease_seconds": 8.5,
        "meta": {"a": 1},
        "wake": True,
        "dedup_key": "key",
    }
    job_id = engine.enqueue("work", **given)
    [job] = engine.rows("job", job_id)
    [ready] = engine.rows("ready", job_id)
    stored = {name: {**job, **ready}[name] for name in given}
    assert stored == given | {"input": [1, None]}


def test_delay_and_expires_in_count_from_now(engine: Engine) -> None:
    [ready] = engine.rows("ready", engine.enqueue(delay=1.5, expires_in=2.5))
    assert (ready["run_at"], ready["expires_at"]) == (after(1.5), after(2.5))


def test_null_elements_and_short_arrays_mean_the_default(engine: Engine) -> None:
    rows = engine.call(
        "enqueue", job_types=["work"] * 3, queues=[None, "mail"], dedup_keys=[None, None, "key"]
    )
    jobs = [engine.job(job_id) for job_id in ids(rows)]
    assert [job["queue"] for job in jobs] == ["default", "mail", "default"]
    assert [job["dedup_key"] for job in jobs] == [None, None, "key"]


@pytest.mark.parametrize(
    "item",
    [
        {},
        {"input": Jsonb([1]), "queue": "mail", "tenant_id": ANNA, "wake": True},
        {"input": None, "queue": None, "tenant_id": None, "wake": None},
        {"input": LARGEST},
        {"queue": "Mail:a@b"},
    ],
)
def test_one_job_is_written_as_one_of_many_is(engine: Engine, item: dict[str, Any]) -> None:
    """With nothing but these a job goes a short way, with an array of priorities the long one."""
    one, other = engine.enqueue(**item), engine.enqueue(**item, priority=None)
    for table in ("job", "ready"):
        [short], [long] = engine.rows(table, one), engine.rows(table, other)
        assert short == long | {"job_id": one}


@pytest.mark.parametrize("inputs", ["{7}", "[0:0]={7}", "{{7}}"])
def test_the_array_of_one_input_may_have_any_bounds(engine: Engine, inputs: str) -> None:
    [row] = engine.call("enqueue", job_types=["work"], inputs=inputs)
    assert engine.job(row["job_id"])["input"] == 7


@pytest.mark.parametrize(
    "field, value", [("input", BIG), ("queue", ""), ("queue", "/a"), ("queue", "a" * 129)]
)
def test_one_job_that_breaks_a_rule_is_refused(engine: Engine, field: str, value: Any) -> None:
    before = everything(engine.db)
    answer = refused(engine.db, "enqueue", job_types=["work"], **{PLURAL[field]: [value]})
    assert answer == (field, 1)
    assert everything(engine.db) == before


@pytest.mark.parametrize("unknown", ["nobody", None])
def test_one_job_of_an_unknown_type_is_refused(engine: Engine, unknown: str | None) -> None:
    with pytest.raises(psycopg.Error) as caught:
        engine.call("enqueue", job_types=[unknown])
    assert caught.value.sqlstate == "JE001"
    assert json.loads(caught.value.diag.message_detail or "") == {"job_type": unknown, "item": 1}


def test_items_are_answered_in_order_and_ids_ascend(engine: Engine) -> None:
    rows = engine.call(
        "enqueue", job_types=["work", "trade"] * 50, inputs=[Jsonb(n) for n in range(100)]
    )
    assert [row["item"] for row in rows] == list(range(1, 101))
    assert ids(rows) == sorted(ids(rows))
    jobs = [engine.job(job_id) for job_id in ids(rows)]
    assert [job["input"] for job in jobs] == list(range(100))
    assert [job["job_type"] for job in jobs] == ["work", "trade"] * 50


@pytest.mark.parametrize("keys", [{}, {"dedup_keys": ["a"]}, {"live_keys": ["a"]}])
def test_no_lost_job_every_new_job_is_in_ready_only(engine: Engine, keys: dict[str, Any]) -> None:
    rows = engine.call("enqueue", job_types=["work"] * 3, **keys)
    assert {row["verdict"] for row in rows} == {"ok"}
    assert (engine.size("job"), engine.size("ready")) == (3, 3)
    assert (engine.size("lease"), engine.size("ended")) == (0, 0)


@pytest.mark.parametrize(
    "field, value",
    [
        ("input", BIG),
        ("meta", BIG),
        ("meta", Jsonb([])),
        ("meta", Jsonb(None)),
        ("queue", ""),
        ("queue", "/a"),
        ("queue", "a b"),
        ("queue", "a" * 129),
        ("priority", -1),
        ("priority", 10),
        ("run_at", INFINITY),
        ("delay", -0.1),
        ("delay", 315360001),
        ("delay", float("nan")),
        ("expires_at", INFINITY),
        ("expires_in", 0),
        ("expires_in", 315360001),
        ("expires_in", float("nan")),
        ("dedup_key", ""),
        ("dedup_key", "a" * 501),
        ("live_key", ""),
        ("live_key", "a" * 501),
        ("max_attempts", 0),
        ("max_attempts", 1001),
        ("lease_seconds", 0.09),
        ("lease_seconds", 86401),
        ("lease_seconds", float("nan")),
    ],
)
def test_a_broken_value_refuses_the_whole_call(engine: Engine, field: str, value: Any) -> None:
    values = {PLURAL[field]: [None, value, value]}
    answer = refused(engine.db, "enqueue", job_types=["work"] * 3, **values)
    assert answer == (field, 2)


@pytest.mark.parametrize(
    "one, other",
    [
        ({"run_at": START}, {"delay": 0}),
        ({"expires_at": after(1)}, {"expires_in": 1}),
        ({"dedup_key": "a"}, {"live_key": "a"}),
    ],
)
def test_two_values_that_exclude_each_other_are_refused(
    engine: Engine, one: dict[str, Any], other: dict[str, Any]
) -> None:
    arrays = {PLURAL[name]: [value] for name, value in {**one, **other}.items()}
    [field] = other
    assert refused(engine.db, "enqueue", job_types=["work"], **arrays) == (field, 1)


@pytest.mark.parametrize(
    "field, value",
    [
        ("input", LARGEST),
        ("queue", "A9._/:@-" * 16),
        ("priority", 0),
        ("delay", 315360000),
        ("expires_in", 315360000),
        ("dedup_key", "ä" * 500),
        ("live_key", "ä" * 500),
        ("max_attempts", 1000),
        ("lease_seconds", 0.1),
        ("lease_seconds", 86400),
    ],
)
def test_the_bounds_themselves_are_allowed(engine: Engine, field: str, value: Any) -> None:
    assert engine.status(engine.enqueue(**{field: value})) == "pending"


def test_the_first_broken_item_is_named(engine: Engine) -> None:
    answer = refused(
        engine.db, "enqueue", job_types=["work"] * 3, priorities=[1, 2, 99], queues=["a", "", "b"]
    )
    assert answer == ("queue", 2)


@pytest.mark.parametrize("name", sorted(set(PLURAL.values())))
def test_more_elements_than_jobs_are_refused(engine: Engine, name: str) -> None:
    arguments = {name: [None, None]}
    assert refused(engine.db, "enqueue", job_types=["work"], **arguments) == (name, None)


@pytest.mark.parametrize("job_types", [None, []])
def test_a_call_without_items_is_refused(engine: Engine, job_types: list[str] | None) -> None:
    assert refused(engine.db, "enqueue", job_types=job_types) == ("job_types", None)


def test_more_than_a_million_items_are_refused(engine: Engine) -> None:
    with pytest.raises(psycopg.Error) as caught:
        engine.db.execute("select jobengine.enqueue(array_fill('work'::text, array[1000001]))")
    assert caught.value.sqlstate == "JE002"
    assert json.loads(caught.value.diag.message_detail or "")["field"] == "job_types"


@pytest.mark.parametrize("unknown", ["nobody", None])
def test_an_unknown_job_type_refuses_the_whole_call(engine: Engine, unknown: str | None) -> None:
    before = everything(engine.db)
    with pytest.raises(psycopg.Error) as caught:
        engine.call("enqueue", job_types=["work", unknown, "neither"])
    assert caught.value.sqlstate == "JE001"
    detail = json.loads(caught.value.diag.message_detail or "")
    assert detail == {"job_type": unknown, "item": 2}
    assert caught.value.diag.message_hint == "register it with jobengine.register_job_type"
    assert everything(engine.db) == before


def test_jobs_belong_to_the_callers_transaction(engine: Engine) -> None:
    before = everything(engine.db)
    with engine.db.transaction(force_rollback=True):
        engine.enqueue("work", dedup_key="a")
        engine.enqueue("work", live_key="a")
        assert engine.size("job") == 2
    assert everything(engine.db) == before
    assert engine.enqueue("work", dedup_key="a") != engine.enqueue("work", live_key="a")


@pytest.mark.parametrize("level", list(IsolationLevel))
@pytest.mark.parametrize("key", ["dedup_key", "live_key", None])
def test_every_isolation_level_is_allowed(
    engine: Engine, level: IsolationLevel, key: str | None
) -> None:
    engine.db.isolation_level = level
    with engine.db.transaction():
        job_id = engine.enqueue("work", **({key: "a"} if key else {}))
        isolation = engine.db.execute("show transaction_isolation").fetchall()
        assert isolation[0]["transaction_isolation"] == level.name.lower().replace("_", " ")
    assert engine.status(job_id) == "pending"


@pytest.mark.parametrize("key", ["dedup_keys", "live_keys"])
def test_a_key_taken_after_the_snapshot_passes_the_serialization_failure_on(
    engine: Engine, key: str
) -> None:
    engine.db.isolation_level = IsolationLevel.REPEATABLE_READ
    with engine.db.transaction(force_rollback=True), second_session(engine.db) as other:
        engine.db.execute("select from jobengine.job")
        call(other, "enqueue", job_types=["work"], **{key: ["a"]})
        with pytest.raises(psycopg.errors.SerializationFailure):
            engine.call("enqueue", job_types=["work"], **{key: ["a"]})
    [row] = engine.call("enqueue", job_types=["work"], **{key: ["a"]})
    assert row["verdict"] == "duplicate"


@pytest.mark.parametrize("key", ["dedup_keys", "live_keys"])
def test_equal_keys_in_one_call_are_no_serialization_failure(engine: Engine, key: str) -> None:
    engine.db.isolation_level = IsolationLevel.REPEATABLE_READ
    with engine.db.transaction():
        rows = engine.call("enqueue", job_types=["work"] * 2, **{key: ["a", "a"]})
    assert sorted(row["verdict"] for row in rows) == ["duplicate", "ok"]
    assert rows[0]["job_id"] == rows[1]["job_id"]


def test_an_expiry_in_the_past_is_stored_as_it_is(engine: Engine) -> None:
    job_id = engine.enqueue(expires_at=after(-1))
    assert engine.job(job_id)["expires_at"] == after(-1)
