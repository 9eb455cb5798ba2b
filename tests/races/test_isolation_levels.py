"""What runs above READ COMMITTED, and what refuses to."""

from __future__ import annotations

from uuid import uuid4

import psycopg
import pytest
from psycopg import errors, sql
from psycopg.rows import DictRow

from tests.races.calls import cancel, enqueue, finish, get, keyed, retry
from tests.races.jobs import held, run, seen, waiting
from tests.races.sessions import Call, Session

Sessions = tuple[Session, Session, Session]

above_read_committed = pytest.mark.parametrize("level", ["repeatable read", "serializable"])


def begin(level: str) -> Call:
    return Call(sql.SQL("begin isolation level {}").format(sql.SQL(level)), {})


@above_read_committed
@pytest.mark.parametrize("refused", [cancel, retry])
def test_cancel_and_retry_refuse(
    db: psycopg.Connection[DictRow], sessions: Sessions, level: str, refused: object
) -> None:
    one, _, _ = sessions
    (job,) = waiting(db)
    before = seen(db, job)

    one.run(begin(level))
    with pytest.raises(psycopg.Error) as refusal:
        one.run(cancel(job) if refused is cancel else retry(job))
    one.rollback()

    assert refusal.value.sqlstate == "JE004"
    assert refusal.value.diag.message_detail == f'{{"isolation" : "{level}"}}'
    assert seen(db, job) == before


def test_cancel_and_retry_work_in_a_read_committed_transaction(
    db: psycopg.Connection[DictRow], sessions: Sessions
) -> None:
    one, _, _ = sessions
    (job,) = waiting(db)

    one.run(begin("read committed"))
    assert one.run(cancel(job))[0]["verdict"] == "ok"
    assert one.run(retry(job))[0]["verdict"] == "ok"
    one.commit()

    assert seen(db, job)["status"] == "pending"


@above_read_committed
def test_enqueue_works(db: psycopg.Connection[DictRow], sessions: Sessions, level: str) -> None:
    one, _, _ = sessions

    one.run(begin(level))
    made = [one.run(keyed(key, "k"))[0] for key in ("dedup_keys", "live_keys")]
    again = [one.run(keyed(key, "k"))[0] for key in ("dedup_keys", "live_keys")]
    made_without_key = one.run(enqueue())[0]
    one.commit()

    assert made_without_key["verdict"] == "ok"
    assert [row["verdict"] for row in made] == ["ok"] * 2
    assert [(row["verdict"], row["job_id"]) for row in again] == [
        ("duplicate", row["job_id"]) for row in made
    ]


@above_read_committed
@pytest.mark.parametrize("key", ["dedup_keys", "live_keys"])
def test_enqueue_of_a_key_that_came_after_the_snapshot_passes_40001_on(
    db: psycopg.Connection[DictRow], sessions: Sessions, level: str, key: str
) -> None:
    one, two, _ = sessions

    one.run(begin(level))
    one.run(get(uuid4()))  # takes the snapshot
    two.run(keyed(key, "k"))
    with pytest.raises(errors.SerializationFailure):
        one.run(keyed(key, "k"))


@above_read_committed
def test_get_sees_the_job_where_its_snapshot_has_it(
    db: psycopg.Connection[DictRow], sessions: Sessions, level: str
) -> None:
    one, _, _ = sessions
    (lease,) = held(db)

    one.run(begin(level))
    assert [row["status"] for row in one.run(get(lease[0]))] == ["running"]
    run(db, finish(lease))
    assert [row["status"] for row in one.run(get(lease[0]))] == ["running"]
    one.commit()

    assert [row["status"] for row in one.run(get(lease[0]))] == ["completed"]
