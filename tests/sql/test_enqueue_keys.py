from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from psycopg.rows import DictRow

from tests.sql.helpers import ANNA, BERT, Engine, everything, ids


def put(engine: Engine, **arrays: Any) -> list[tuple[UUID | None, str]]:
    count = max(len(values) for values in arrays.values())
    rows = engine.call("enqueue", job_types=["work"] * count, **arrays)
    assert sorted(row["item"] for row in rows) == list(range(1, count + 1))
    rows.sort(key=lambda row: row["item"])
    return [(row["job_id"], row["verdict"]) for row in rows]


both_keys = pytest.mark.parametrize("key", ["dedup_keys", "live_keys"])


@both_keys
def test_the_second_job_of_a_key_is_a_duplicate(engine: Engine, key: str) -> None:
    [(first, verdict)] = put(engine, inputs=[{"n": 1}], **{key: ["a"]})
    assert verdict == "ok"
    before = everything(engine.db)
    assert put(engine, inputs=[{"n": 2}], **{key: ["a"]}) == [(first, "duplicate")]
    assert everything(engine.db) == before


@both_keys
def test_only_the_first_of_equal_keys_in_one_call_is_written(engine: Engine, key: str) -> None:
    answers = put(engine, **{key: ["b", "a", "b", None, "a", None]})
    verdicts = [verdict for _, verdict in answers]
    assert verdicts == ["ok", "ok", "duplicate", "ok", "duplicate", "ok"]
    assert answers[2][0] == answers[0][0]
    assert answers[4][0] == answers[1][0]
    assert {row["job_id"] for row in engine.call("list")} == {
        job_id for job_id, verdict in answers if verdict == "ok"
    }


@both_keys
def test_keys_belong_to_a_tenant(engine: Engine, key: str) -> None:
    tenants = [None, ANNA, BERT, ANNA]
    answers = put(engine, tenant_ids=tenants, **{key: ["a"] * 4})
    assert [verdict for _, verdict in answers] == ["ok", "ok", "ok", "duplicate"]
    assert answers[3][0] == answers[1][0]


@both_keys
def test_busy_writes_nothing_for_its_item(engine: Engine, key: str) -> None:
    # A trigger stands for other calls that take the key and give it back, time and again.
    table = "job" if key == "dedup_keys" else "live_key"
    with engine.db.transaction(force_rollback=True):
        engine.db.execute("set local role jobengine_owner")
        engine.db.execute(
            "create function jobengine.test_never() returns trigger"
            " language plpgsql as 'begin return null; end'"
        )
        engine.db.execute(
            f"create trigger test_never before insert on jobengine.{table} for each row"
            f" when (new.{key[:-1]} = 'moving') execute function jobengine.test_never()".encode()
        )
        answers = put(engine, **{key: ["moving", "still"]})
        assert [verdict for _, verdict in answers] == ["busy", "ok"]
        assert answers[0][0] is None
        assert ids(engine.call("list")) == [answers[1][0]]
        assert engine.size("live_key") == (1 if key == "live_keys" else 0)


def test_dedup_keys_and_live_keys_are_apart(engine: Engine) -> None:
    answers = put(engine, dedup_keys=["a", None], live_keys=[None, "a"])
    assert [verdict for _, verdict in answers] == ["ok", "ok"]


def test_a_call_may_mix_keys_of_both_kinds_and_none(engine: Engine) -> None:
    [(dedup, _), (live, _)] = put(engine, dedup_keys=["d"], live_keys=[None, "l"])
    answers = put(engine, dedup_keys=["d", None, None, "e"], live_keys=[None, "l", None, None])
    assert answers[:2] == [(dedup, "duplicate"), (live, "duplicate")]
    assert [verdict for _, verdict in answers[2:]] == ["ok", "ok"]


def complete(engine: Engine, lease: DictRow) -> None:
    engine.finish(lease, "completed")


def fail(engine: Engine, lease: DictRow) -> None:
    engine.finish(lease, "rejected")


def stop(engine: Engine, lease: DictRow) -> None:
    engine.finish(lease, "cancelled")


def lose(engine: Engine, lease: DictRow) -> None:
    engine.clock.advance(60)
    engine.sweep()


ENDS = [complete, fail, stop, lose]


@pytest.mark.parametrize("end", ENDS)
def test_a_dedup_key_is_taken_beyond_the_end(
    engine: Engine, end: Callable[[Engine, DictRow], None]
) -> None:
    lease = engine.hold("trade", dedup_key="a")
    end(engine, lease)
    assert put(engine, dedup_keys=["a"]) == [(lease["job_id"], "duplicate")]


@pytest.mark.parametrize("end", ENDS)
def test_a_live_key_is_free_after_every_end(
    engine: Engine, end: Callable[[Engine, DictRow], None]
) -> None:
    lease = engine.hold("trade", live_key="a")
    end(engine, lease)
    assert engine.status(lease["job_id"]) in {"completed", "failed", "cancelled", "unknown"}
    [(second, verdict)] = put(engine, live_keys=["a"])
    assert verdict == "ok"
    assert second != lease["job_id"]


def test_a_live_key_is_free_after_a_cancel_and_an_expiry_in_waiting(engine: Engine) -> None:
    engine.cancel(engine.enqueue("work", live_key="a"))
    expiring = engine.enqueue("work", live_key="a", expires_in=1)
    engine.clock.advance(1)
    assert put(engine, live_keys=["a"]) == [(expiring, "duplicate")]
    engine.sweep()
    [(_, verdict)] = put(engine, live_keys=["a"])
    assert verdict == "ok"


def test_a_live_key_is_taken_while_the_job_lives(engine: Engine) -> None:
    job_id = engine.enqueue("work", live_key="a")
    duplicate = [(job_id, "duplicate")]
    lease = engine.take(job_id, started=False)
    assert put(engine, live_keys=["a"]) == duplicate
    engine.verdict("start", lease)
    assert put(engine, live_keys=["a"]) == duplicate
    engine.finish(lease, "failed", delay=0)
    assert put(engine, live_keys=["a"]) == duplicate
    engine.finish(engine.take(job_id), "snooze")
    assert put(engine, live_keys=["a"]) == duplicate
    engine.verdict("release", engine.take(job_id))
    assert put(engine, live_keys=["a"]) == duplicate


def test_an_end_frees_no_key_of_another_job(engine: Engine) -> None:
    kept = engine.enqueue("work", live_key="a", tenant_id=ANNA)
    engine.cancel(engine.enqueue("work", live_key="a", tenant_id=BERT))
    engine.cancel(engine.enqueue("work", live_key="b", tenant_id=ANNA))
    assert put(engine, live_keys=["a"], tenant_ids=[ANNA]) == [(kept, "duplicate")]
