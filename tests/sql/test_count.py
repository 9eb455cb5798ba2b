"""Filters are shared with list and proved in test_list.py."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sql.helpers import Engine, refused


def counted(engine: Engine, **filters: Any) -> int:
    [row] = engine.call("count", **filters)
    count: int = row["count"]
    return count


@pytest.mark.parametrize("status", [None, "pending", "running"])
def test_the_cap_bounds_the_count(engine: Engine, status: str | None) -> None:
    engine.enqueue_many(5)
    if status == "running":
        engine.claim(5)
    counts = [counted(engine, status=status, cap=cap) for cap in (1, 4, 5, 6)]
    assert counts == [1, 4, 5, 5]


def test_the_cap_is_ten_thousand_unless_an_exact_count_is_asked_for(engine: Engine) -> None:
    engine.enqueue_many(10001)
    assert counted(engine) == counted(engine, status="pending") == 10000
    assert counted(engine, cap=None) == counted(engine, status="pending", cap=None) == 10001


def test_nothing_counts_zero(engine: Engine) -> None:
    assert counted(engine) == counted(engine, status="failed") == counted(engine, cap=None) == 0


@pytest.mark.parametrize(
    "arguments, field",
    [({"cap": 0}, "cap"), ({"cap": -1}, "cap"), ({"status": "scheduled"}, "status")],
)
def test_broken_arguments_are_refused(
    engine: Engine, arguments: dict[str, Any], field: str
) -> None:
    assert refused(engine.db, "count", **arguments) == (field, None)
