"""Wake-ups: who sleeps, who is woken, and by what."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest

from tests.sql.helpers import ANNA, BERT, NO_TENANT, Db, Engine, after, second_session

LISTENER = UUID(int=1)
OTHER = UUID(int=2)


class Listener:
    """A session that listens on the engine's channel."""

    def __init__(self, db: Db, conn: Db) -> None:
        self._db = db
        self._conn = conn
        conn.execute("listen jobengine")

    def heard(self) -> list[dict[str, Any]]:
        """Return what was notified until now: up to a mark that follows everything else."""
        self._db.execute("select pg_notify('jobengine', '\"mark\"')")
        payloads: list[str] = []
        for notify in self._conn.notifies(timeout=60):
            if notify.payload == '"mark"':
                return sorted((json.loads(p) for p in payloads), key=str)
            payloads.append(notify.payload)
        raise AssertionError("the mark was not heard")


@pytest.fixture
def listener(engine: Engine) -> Iterator[Listener]:
    with second_session(engine.db) as conn:
        yield Listener(engine.db, conn)


def doze(engine: Engine, *queues: str, tenants: list[UUID] | None = None, **other: Any) -> None:
    arguments = {"listener_id": LISTENER, "seconds": 10, **other}
    engine.call("_doze", tenant_ids=tenants, queues=list(queues), **arguments)


def ready(queue: str, tenant_id: UUID = NO_TENANT) -> dict[str, Any]:
    return {"tenant_id": str(tenant_id), "queue": queue}


def test_nobody_sleeps_nobody_is_told(engine: Engine, listener: Listener) -> None:
    engine.enqueue()
    assert listener.heard() == []


def test_enqueue_wakes_who_sleeps_for_its_queue(engine: Engine, listener: Listener) -> None:
    doze(engine, "default", "mail")
    engine.enqueue()
    assert listener.heard() == [ready("default")]
    engine.enqueue(queue="mail")
    assert listener.heard() == [ready("mail")]
    engine.enqueue(queue="other")
    assert listener.heard() == []


def test_tenant_isolated_enqueue_wakes_who_sleeps_for_its_tenant_or_any(
    engine: Engine, listener: Listener
) -> None:
    doze(engine, "default", tenants=[ANNA])
    engine.enqueue(tenant_id=BERT)
    engine.enqueue()
    assert listener.heard() == []
    engine.enqueue(tenant_id=ANNA)
    assert listener.heard() == [ready("default", ANNA)]
    doze(engine, "default")
    engine.enqueue(tenant_id=BERT)
    assert listener.heard() == [ready("default", BERT)]


def test_one_notification_per_tenant_and_queue_of_a_call(
    engine: Engine, listener: Listener
) -> None:
    doze(engine, "a", "b")
    doze(engine, "a", listener_id=OTHER)
    queues = ["a", "b", "a", "c", "a"]
    engine.call(
        "enqueue", job_types=["work"] * 5, queues=queues, tenant_ids=[None, None, None, None, ANNA]
    )
    assert listener.heard() == [ready("a"), ready("b"), ready("a", ANNA)]


def test_what_was_rolled_back_wakes_nobody(engine: Engine, listener: Listener) -> None:
    doze(engine, "default")
    with engine.db.transaction(force_rollback=True):
        engine.enqueue()
    assert listener.heard() == []


def test_who_has_risen_is_not_told(engine: Engine, listener: Listener) -> None:
    doze(engine, "default", "mail")
    engine.call("_rouse", listener_id=OTHER)
    engine.enqueue()
    assert listener.heard() == [ready("default")]
    engine.call("_rouse", listener_id=LISTENER)
    engine.enqueue()
    assert listener.heard() == []
    assert engine.size("waiting") == 0


def test_who_has_slept_too_long_is_not_told(engine: Engine, listener: Listener) -> None:
    doze(engine, "default", seconds=10)
    engine.clock.advance(9.999)
    engine.enqueue()
    assert listener.heard() == [ready("default")]
    engine.clock.advance(0.001)
    engine.enqueue()
    assert listener.heard() == []


def test_a_sleeper_stands_there_once_per_queue_and_tenant(engine: Engine) -> None:
    doze(engine, "a", "b", tenants=[ANNA, BERT], seconds=5)
    rows = engine.db.execute("select * from jobengine.waiting").fetchall()
    assert {(row["queue"], row["tenant_id"]) for row in rows} == {
        (queue, tenant_id) for queue in "ab" for tenant_id in (ANNA, BERT)
    }
    assert {(row["listener_id"], row["until"]) for row in rows} == {(LISTENER, after(5))}
    assert len(rows) == 4


def test_sweep_forgets_who_has_slept_too_long(engine: Engine) -> None:
    doze(engine, "a", seconds=5)
    doze(engine, "b", seconds=6)
    engine.clock.advance(5.5)
    engine.sweep()
    rows = engine.db.execute("select queue from jobengine.waiting").fetchall()
    assert rows == [{"queue": "b"}]


def release(engine: Engine) -> None:
    engine.verdict("release", engine.hold())


def redrive(engine: Engine) -> None:
    job_id = engine.enqueue()
    engine.cancel(job_id)
    engine.retry(job_id)


def lose(engine: Engine) -> None:
    engine.hold(started=False)
    engine.clock.advance(60)
    engine.sweep()


@pytest.mark.parametrize("come_back", [release, redrive, lose])
def test_a_job_that_comes_back_wakes_as_a_new_one_does(
    engine: Engine, listener: Listener, come_back: Callable[[Engine], None]
) -> None:
    doze(engine, "default", seconds=1000)
    come_back(engine)
    assert listener.heard() == [ready("default")] * 2


def finish(outcome: str) -> Callable[[Engine, UUID], None]:
    def end(engine: Engine, job_id: UUID) -> None:
        engine.finish(engine.take(job_id), outcome)

    return end


def cancel(engine: Engine, job_id: UUID) -> None:
    engine.cancel(job_id)


def expire(engine: Engine, job_id: UUID) -> None:
    engine.clock.advance(100)
    engine.sweep()


def run_out(engine: Engine, job_id: UUID) -> None:
    engine.take(job_id)
    engine.clock.advance(60)
    engine.sweep()


ENDS = [finish("completed"), finish("failed"), finish("unknown"), cancel, expire, run_out]


@pytest.mark.parametrize("end", ENDS)
def test_an_end_is_told_where_the_job_was_enqueued_to_be_awaited(
    engine: Engine, listener: Listener, end: Callable[[Engine, UUID], None]
) -> None:
    awaited = engine.enqueue("trade", wake=True, expires_in=100)
    end(engine, awaited)
    assert listener.heard() == [{"job_id": str(awaited)}]
    plain = engine.enqueue("trade", expires_in=100)
    end(engine, plain)
    assert listener.heard() == []


@pytest.mark.parametrize("outcome", ["snooze", "failed"])
def test_a_job_that_waits_again_is_not_told_as_an_end(
    engine: Engine, listener: Listener, outcome: str
) -> None:
    lease = engine.hold(wake=True)
    engine.finish(lease, outcome)
    assert listener.heard() == []
