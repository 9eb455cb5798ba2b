from __future__ import annotations

from datetime import datetime
from uuid import UUID

import pytest

from tests.sql.helpers import START, Db, after

TIMES = [0.0, 0.000001, 0.000999, 0.001, 0.0014, 0.0015, 0.0016, 0.999999, 86399.999999]


def new_ids(db: Db, at: datetime, count: int) -> list[UUID]:
    [row] = db.execute("select jobengine._job_ids(%s, %s) as ids", (at, count)).fetchall()
    ids: list[UUID] = row["ids"]
    return ids


def floor(db: Db, at: datetime) -> UUID:
    [row] = db.execute("select jobengine._job_id_floor(%s) as floor", (at,)).fetchall()
    found: UUID = row["floor"]
    return found


def milliseconds(at: datetime) -> int:
    return int(at.timestamp()) * 1000 + at.microsecond // 1000


@pytest.mark.parametrize("seconds", TIMES)
def test_an_id_is_a_uuid_of_version_7_that_tells_its_time(db: Db, seconds: float) -> None:
    for job_id in new_ids(db, after(seconds), 3):
        assert (job_id.version, job_id.variant) == (7, "specified in RFC 4122")
        assert job_id.int >> 80 == milliseconds(after(seconds))


def test_ids_of_one_call_ascend_in_the_order_given(db: Db) -> None:
    ids = new_ids(db, START, 66_000)  # beyond 16 bits; 20 bits are kept for the place in a call
    assert len(set(ids)) == 66_000
    assert ids == sorted(ids)


@pytest.mark.parametrize("seconds", TIMES)
def test_ids_of_a_later_microsecond_are_greater(db: Db, seconds: float) -> None:
    earlier = new_ids(db, after(seconds), 100)
    later = new_ids(db, after(seconds + 0.000001), 100)
    assert max(earlier) < min(later)


def test_ids_of_the_same_microsecond_differ(db: Db) -> None:
    calls = [new_ids(db, START, 1)[0] for _ in range(50)]
    assert len(set(calls)) == 50


@pytest.mark.parametrize("seconds", TIMES)
def test_the_floor_is_below_the_ids_of_its_time_and_above_those_before(
    db: Db, seconds: float
) -> None:
    at = after(seconds)
    assert floor(db, at) <= min(new_ids(db, at, 100))
    assert floor(db, at).int >> 80 == milliseconds(at)
    assert floor(db, at) > max(new_ids(db, after(seconds - 0.001), 100))


def test_the_floor_of_a_time_before_the_epoch_is_the_nil_uuid(db: Db) -> None:
    [row] = db.execute("select jobengine._job_id_floor('1960-01-01+00') as floor").fetchall()
    assert row["floor"] == UUID(int=0)
