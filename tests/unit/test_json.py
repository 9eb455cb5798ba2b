"""JSON documents come back from PostgreSQL as they were; what JSON cannot hold is refused."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.types.json import set_json_loads

from jobengine import InvalidArgument, _db

LONE_SURROGATE = "\ud800"
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    # Above that a float comes back as the integer that its shortest form spells.
    | st.floats(-(2.0**53), 2.0**53)
    | TEXTS
    # A backslash before `u0000` is text, not an escape, unless their number is odd.
    | st.text("\\u0", max_size=12)
)
DOCUMENTS = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=15
)


@pytest.fixture(scope="module")
def server(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url, autocommit=True) as conn:
        set_json_loads(orjson.loads, conn)
        yield conn


@given(document=DOCUMENTS)
def test_a_document_comes_back_as_it_was(server: psycopg.Connection[Any], document: Any) -> None:
    array = _db.array([_db.json({"document": document}, "input")])
    row = server.execute("select (%s::jsonb[])[1] -> 'document'", (array,), binary=True).fetchone()
    assert row
    assert row[0] == document


@given(document=DOCUMENTS, text=st.text("\0\\u0a", max_size=10))
def test_the_character_u0000_is_refused_wherever_it_stands_and_nothing_else(
    document: Any, text: str
) -> None:
    for value in ([document, text], {text: document}):
        if "\0" in text:
            with pytest.raises(InvalidArgument, match=r"U\+0000"):
                _db.json(value, "input")
        else:
            assert orjson.loads(_db.json(value, "input") or b"") == value


@dataclass
class Point:
    x: int


class Kind(enum.StrEnum):
    ONE = "one"


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        [1.0, [float("inf")]],
        {"a": (None, float("-inf"))},
        {1: "a key that is no string"},
        LONE_SURROGATE,
        {LONE_SURROGATE: 1},
        datetime(2030, 1, 1, tzinfo=UTC),
        Point(1),
        {1, 2},
        b"bytes",
        2**64,
        object(),
        type("Text", (str,), {})("a subclass"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_json_cannot_hold_is_refused_with_field_rule_and_item(value: Any) -> None:
    with pytest.raises(InvalidArgument) as caught:
        _db.json({"inside": [value]}, "input", 7)
    assert caught.value.field == "input"
    assert caught.value.item == 7
    assert caught.value.rule.startswith("JSON")


def test_a_document_without_end_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(InvalidArgument):
        _db.json(endless, "output")


@pytest.mark.parametrize("value", ["null", ["null"], {"null": None}, [None, 1.5]])
def test_null_beside_numbers_is_no_refused_number(value: Any) -> None:
    assert orjson.loads(_db.json(value, "input") or b"") == value


def test_a_member_of_an_enumeration_is_its_value() -> None:
    assert _db.json({"kind": Kind.ONE}, "input") == b'{"kind":"one"}'


def test_no_value_is_no_document() -> None:
    assert _db.json(None, "input") is None
