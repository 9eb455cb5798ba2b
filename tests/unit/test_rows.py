"""Rows become the records that the driver would make of them."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import psycopg
import pytest

from jobengine import EngineError, Report, _db
from jobengine._rows import maker
from tests.acceptance.world import in_loop

QUERY = """select n as number, 'a'::text as text,
    ('{"n": ' || n || ', "deep": [{}, null, "\\"é"]}')::jsonb as document,
    case when n = 2 then null else 'null'::jsonb end as nothing,
    gen_random_uuid() as key,
    '2026-03-29 00:59:59.000001+00'::timestamptz + n * interval '1 second' as at,
    case n when 1 then '0001-01-01 00:00+00'::timestamptz
           when 2 then '9999-12-31 23:59:59.999999+00' end as bound
    from generate_series(1, 3) n"""


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    number: int
    text: str
    document: Any
    nothing: Any
    key: UUID
    at: datetime
    bound: datetime | None


@pytest.fixture
def server(admin_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(admin_url, autocommit=True) as conn:
        yield conn


@in_loop
async def test_rows_are_the_records_that_the_driver_would_make(
    server: psycopg.Connection[Any],
) -> None:
    server.execute("set timezone to 'UTC'")
    server.execute("create temporary table found as " + QUERY)
    made = await _db.rows(server, Row, "select * from found order by 1", {})
    driver = server.execute("select * from found order by 1", binary=True).fetchall()
    assert made == [Row(*row) for row in driver]
    assert made[0].document is not made[1].document


@in_loop
async def test_times_are_in_the_zone_of_the_session(server: psycopg.Connection[Any]) -> None:
    server.execute("set timezone to 'Europe/Berlin'")
    before, after = await _db.scalars(
        server,
        "select '2026-03-29 00:59:59+00'::timestamptz + n * interval '1 second'"
        " from generate_series(0, 1) n",
        {},
    )
    assert (before.tzinfo, after.tzinfo) == (ZoneInfo("Europe/Berlin"),) * 2
    assert after - before == timedelta(hours=1, seconds=1)  # by the clock on the wall: summer time


@in_loop
async def test_a_time_that_python_cannot_hold_is_refused(server: psycopg.Connection[Any]) -> None:
    with pytest.raises(EngineError, match="a time beyond the years 1 to 9999"):
        await _db.scalars(server, "select 'infinity'::timestamptz", {})


@in_loop
async def test_no_rows_are_no_records(server: psycopg.Connection[Any]) -> None:
    assert await _db.rows(server, Row, QUERY + " where false", {}) == []


def test_what_is_made_is_one_of_its_kind() -> None:
    made = maker(Report)(UUID(int=1), 7, "completed", {"a": 1}, None, None, None)
    assert type(made) is Report
    assert made == Report(job_id=UUID(int=1), lease_epoch=7, outcome="completed", output={"a": 1})
    assert pickle.loads(pickle.dumps(made)) == made  # noqa: S301 - our own
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.outcome = "failed"  # type: ignore[misc]
