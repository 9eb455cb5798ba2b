"""Arrays of every element type that the calls send arrive in PostgreSQL as they were."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, LiteralString
from uuid import UUID

import orjson
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobengine import _db

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
# Local mean times have offsets with seconds; PostgreSQL's longest offset is below 16 hours.
ZONES = st.integers(-57599, 57599).map(lambda s: timezone(timedelta(seconds=s)))
TIMES = st.datetimes(datetime(1900, 1, 1), datetime(9000, 1, 1), timezones=ZONES)  # noqa: DTZ001


@pytest.fixture(scope="module")
def server(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url, autocommit=True) as conn:
        yield conn


def arrived(server: psycopg.Connection[Any], kind: LiteralString, values: list[Any]) -> list[Any]:
    """What PostgreSQL makes of the array; no array means that every element is the default."""
    row = server.execute("select %s::" + kind + "[]", (_db.array(values),), binary=True).fetchone()
    assert row
    return [None] * len(values) if row[0] is None else list(row[0])


def nullable(elements: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.none() | elements, max_size=8)


@given(values=nullable(TEXTS | st.sampled_from(["NULL", "null", "", "{}", '"', "\\", "a,b", " "])))
def test_texts_arrive(server: psycopg.Connection[Any], values: list[str | None]) -> None:
    assert arrived(server, "text", values) == values


@given(values=nullable(st.integers(-(2**31), 2**31 - 1)))
def test_integers_arrive(server: psycopg.Connection[Any], values: list[int | None]) -> None:
    assert arrived(server, "integer", values) == values


@given(values=nullable(st.floats(allow_nan=False)))
def test_floats_arrive_to_the_last_bit(
    server: psycopg.Connection[Any], values: list[float | None]
) -> None:
    assert arrived(server, "double precision", values) == values


def test_not_a_number_arrives(server: psycopg.Connection[Any]) -> None:
    assert math.isnan(arrived(server, "double precision", [math.nan])[0])


@given(values=nullable(st.booleans()))
def test_flags_arrive(server: psycopg.Connection[Any], values: list[bool | None]) -> None:
    assert arrived(server, "boolean", values) == values


@given(values=nullable(st.uuids()))
def test_uuids_arrive(server: psycopg.Connection[Any], values: list[UUID | None]) -> None:
    assert arrived(server, "uuid", values) == values


@given(values=nullable(TIMES))
def test_times_arrive_as_the_same_moment(
    server: psycopg.Connection[Any], values: list[datetime | None]
) -> None:
    assert arrived(server, "timestamptz", values) == values


@given(values=nullable(st.dictionaries(TEXTS, TEXTS, max_size=3)))
def test_json_documents_arrive(
    server: psycopg.Connection[Any], values: list[dict[str, str] | None]
) -> None:
    documents = [_db.json(value, "input") for value in values]
    assert arrived(server, "jsonb", documents) == values


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("text", [b"null", b'"a\\n\\\\\\"\\u0001"', b"{}", b'["\xc3\xa9,{}"]'])
def test_an_array_of_json_is_the_same_as_any(text: bytes, count: int) -> None:
    for texts in itertools.product([None, text], repeat=count):
        expected = _db.array(texts) or "{" + ",".join(["NULL"] * count) + "}"
        assert _db.json_array(texts) == expected


def test_a_fragment_with_line_breaks_stays_one_element(
    server: psycopg.Connection[Any],
) -> None:
    pretty = _db.json({"a": orjson.Fragment(b'{\n  "b": 1\n}')}, "output")
    for texts in ([pretty], [None, pretty, b'"\\n"'], [pretty, None]):
        values = [None if text is None else orjson.loads(text) for text in texts]
        row = server.execute("select %s::jsonb[]", [_db.json_array(texts)]).fetchone()
        assert row == (values,)


def test_no_array_is_sent_where_every_element_is_the_default() -> None:
    assert _db.array(None) is None
    assert _db.array([]) is None
    assert _db.array([None, None]) is None
    assert _db.array(["NULL"]) is not None


def test_any_other_element_is_refused_instead_of_being_written_as_text() -> None:
    for value in (object(), {"a": 1}, [1], datetime.now(UTC).date()):
        with pytest.raises(TypeError, match="no array element"):
            _db.array([value])
