from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg.rows import DictRow

from tests.sql.helpers import START, Engine, after, refused
from tests.sql.parents import Parents

DEFAULTS = {
    "priority": 5,
    "max_attempts": 5,
    "lease_seconds": 60.0,
    "delivery": "at_least_once",
    "backoff_seconds": 1.0,
    "backoff_max_seconds": 3600.0,
    "settle_schema": None,
    "settle_function": None,
}
OTHERS = {
    "priority": 0,
    "max_attempts": 1000,
    "lease_seconds": 0.1,
    "delivery": "at_most_once",
    "backoff_seconds": 0.0,
    "backoff_max_seconds": 604800.0,
}


def type_row(engine: Engine, job_type: str) -> DictRow:
    query = "select * from jobengine.job_type where job_type = %s"
    [row] = engine.db.execute(query, (job_type,)).fetchall()
    return row


def limits(engine: Engine, job_type: str) -> dict[str, Any]:
    row = type_row(engine, job_type)
    return {name: row[name] for name in DEFAULTS}


def test_a_new_type_has_the_documented_defaults(engine: Engine) -> None:
    engine.register("a")
    assert limits(engine, "a") == DEFAULTS
    row = type_row(engine, "a")
    assert (row["created_at"], row["updated_at"]) == (START, START)


@pytest.mark.parametrize("name", OTHERS)
def test_one_limit_changes_alone(engine: Engine, name: str) -> None:
    engine.register("a")
    engine.clock.advance(1)
    engine.register("a", **{name: OTHERS[name]})
    assert limits(engine, "a") == DEFAULTS | {name: OTHERS[name]}
    row = type_row(engine, "a")
    assert (row["created_at"], row["updated_at"]) == (START, after(1))


def test_null_leaves_every_value(engine: Engine, parents: Parents) -> None:
    engine.register("a", **OTHERS, settle="app.settle")
    before = limits(engine, "a")
    engine.register("a")
    assert limits(engine, "a") == before
    assert before == OTHERS | {"settle_schema": "app", "settle_function": "settle"}


@pytest.mark.parametrize(
    "field, value",
    [
        ("job_type", None),
        ("job_type", ""),
        ("job_type", "-a"),
        ("job_type", "a b"),
        ("job_type", "a" * 129),
        ("priority", -1),
        ("priority", 10),
        ("max_attempts", 0),
        ("max_attempts", 1001),
        ("lease_seconds", 0.09),
        ("lease_seconds", 86401),
        ("lease_seconds", float("nan")),
        ("delivery", "exactly_once"),
        ("backoff_seconds", -1),
        ("backoff_seconds", 3601),
        ("backoff_max_seconds", -1),
        ("backoff_max_seconds", 604801),
        ("settle", "settle"),
        ("settle", "a.b.c"),
        ("settle", "a."),
        ("settle", "a b.c"),
    ],
)
def test_a_value_out_of_bounds_is_refused(engine: Engine, field: str, value: Any) -> None:
    arguments = {"job_type": "a", field: value}
    assert refused(engine.db, "register_job_type", **arguments) == (field, None)


def test_a_name_may_have_128_characters_of_every_kind(engine: Engine) -> None:
    name = "A9._/:@-" * 16
    engine.register(name)
    assert limits(engine, name) == DEFAULTS


def test_backoff_is_measured_against_the_stored_maximum(engine: Engine) -> None:
    engine.register("a", backoff_max_seconds=10)
    arguments = {"job_type": "a", "backoff_seconds": 11}
    assert refused(engine.db, "register_job_type", **arguments) == ("backoff_seconds", None)
    engine.register("a", backoff_seconds=10)


def test_jobs_keep_the_limits_they_were_enqueued_with(engine: Engine) -> None:
    job_id = engine.enqueue("work")
    engine.register("work", priority=1, max_attempts=9, lease_seconds=9, delivery="at_most_once")
    job = engine.job(job_id)
    assert (job["priority"], job["max_attempts"], job["delivery"]) == (5, 5, "at_least_once")
    assert engine.take(job_id)["lease_expires_at"] == after(60)


def test_backoff_is_read_when_an_attempt_fails(engine: Engine) -> None:
    lease = engine.hold("work")
    engine.register("work", backoff_seconds=1000)
    engine.finish(lease, "failed")
    assert after(800) <= engine.job(lease["job_id"])["run_at"] <= after(1200)


def test_the_settle_function_is_read_when_a_job_ends(engine: Engine, parents: Parents) -> None:
    engine.register("work", settle="")
    settled = engine.hold("work", input=parents.add("p"))
    engine.register("work", settle="app.settle")
    engine.finish(settled, "completed")
    unsettled = engine.hold("work", input={"parent": "p"})
    engine.register("work", settle="")
    engine.finish(unsettled, "completed")
    assert parents.get("p") == (1, "completed")
    assert parents.seen(settled["job_id"]) == [("completed", None)]
    assert parents.seen(unsettled["job_id"]) == []


def refusal(engine: Engine, settle: str) -> psycopg.Error:
    with pytest.raises(psycopg.Error) as caught:
        engine.register("refused", settle=settle)
    assert caught.value.sqlstate == "JE003"
    query = "select from jobengine.job_type where job_type = 'refused'"
    assert engine.db.execute(query).fetchall() == []
    return caught.value


def test_a_settle_function_that_does_not_exist_is_refused(engine: Engine, parents: Parents) -> None:
    error = refusal(engine, "app.missing")
    assert "app.missing(jobengine.settled_job[]) does not exist" in str(error)


def test_a_settle_function_in_a_schema_out_of_reach_is_refused(
    engine: Engine, parents: Parents
) -> None:
    assert "cannot be reached" in str(refusal(engine, "missing.settle"))
    engine.db.execute("revoke usage on schema app from jobengine_owner")
    error = refusal(engine, "app.settle")
    assert "grant usage on schema app to jobengine_owner" in str(error.diag.message_hint)


@pytest.mark.parametrize(
    "definition",
    [
        "(p jobengine.settled_job[]) returns integer language sql as 'select 1'",
        "(p jobengine.settled_job) returns void language sql as 'select'",
    ],
)
def test_a_settle_function_of_another_shape_is_refused(
    engine: Engine, parents: Parents, definition: str
) -> None:
    engine.db.execute(f"create function app.other{definition}".encode())
    assert "does not exist" in str(refusal(engine, "app.other"))


@pytest.mark.parametrize(
    "harm",
    [
        "alter function app.settle security invoker",
        "alter function app.settle reset search_path",
        "grant execute on function app.settle to public",
        "revoke execute on function app.settle from jobengine_owner",
    ],
)
def test_an_unsafe_settle_function_is_refused_and_the_hint_mends_it(
    engine: Engine, parents: Parents, harm: str
) -> None:
    engine.db.execute(harm.encode())
    error = refusal(engine, "app.settle")
    assert "is not safe to call" in str(error)
    assert error.diag.message_hint is not None
    engine.db.execute(error.diag.message_hint.encode())
    engine.register("refused", settle="app.settle")
    job_id = engine.enqueue("refused", input=parents.add("p"))
    engine.cancel(job_id)
    assert parents.seen(job_id) == [("cancelled", None)]


def test_every_unsafe_property_is_named_at_once(engine: Engine, parents: Parents) -> None:
    engine.db.execute(
        "create function app.plain(p jobengine.settled_job[]) returns void"
        " language plpgsql as 'begin end'"
    )
    engine.db.execute("revoke usage on schema app from public")
    hint = refusal(engine, "app.plain").diag.message_hint
    assert hint is not None
    assert len(hint.splitlines()) == 4
    engine.db.execute(hint.encode())
    engine.register("refused", settle="app.plain")
