"""A claim locks what it takes and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.rows import DictRow, dict_row

from tests.plans.backlog import BIG, QUEUES, Backlog, tenant
from tests.planting import Bug, planted
from tests.races import calls
from tests.races.sessions import Call


@pytest.fixture(scope="module")
def watcher(database_url: str) -> Iterator[psycopg.Connection[DictRow]]:
    """A connection of the engine's owner, with 10,000 jobs that wait."""
    with psycopg.connect(database_url, autocommit=True, row_factory=dict_row) as conn:
        Backlog(conn).grow(10_000)
        yield conn


def locked_by_claim(
    database_url: str,
    watcher: psycopg.Connection[DictRow],
    call: Call,
    plan_cache_mode: str = "force_generic_plan",
) -> tuple[int, int]:
    """Return how many jobs a claim took, and how many waiting ones it has deleted or locked."""
    with psycopg.connect(database_url, row_factory=dict_row) as conn:
        conn.execute("select set_config('plan_cache_mode', %s, true)", (plan_cache_mode,))
        claimed = conn.execute(call.query, call.params).fetchall()
        (transaction,) = conn.execute("select pg_current_xact_id()::xid::text as id").fetchall()
        (locked,) = watcher.execute(
            "select count(*) as rows from jobengine.ready where xmax::text = %s",
            (transaction["id"],),
        ).fetchall()
        conn.rollback()
    return len(claimed), locked["rows"]


@pytest.mark.parametrize("plan_cache_mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("limit", [1, 10, 100, 1000])
@pytest.mark.parametrize(
    "asked",
    [
        pytest.param({"tenant_id": BIG, "queues": ["q0"]}, id="one queue"),
        pytest.param({"tenant_id": BIG, "queues": QUEUES}, id="three queues"),
        pytest.param({"tenants": [str(tenant(1)), str(BIG)], "queues": QUEUES}, id="two tenants"),
    ],
)
def test_rows_locked_are_rows_claimed(
    database_url: str,
    watcher: psycopg.Connection[DictRow],
    asked: dict[str, Any],
    limit: int,
    plan_cache_mode: str,
) -> None:
    call = calls.claim(limit=limit, **asked)
    assert locked_by_claim(database_url, watcher, call, plan_cache_mode) == (limit, limit)


def test_a_claim_that_sorts_all_its_queues_locks_more(
    database_url: str, watcher: psycopg.Connection[DictRow]
) -> None:
    bug = Bug("_take", r"\) l\n\s+limit p_limit", ") l order by l.ctid limit p_limit")
    call = calls.claim(limit=10, tenant_id=BIG, queues=QUEUES)
    with psycopg.connect(database_url, autocommit=True) as owner, planted(owner, bug):
        claimed, locked = locked_by_claim(database_url, watcher, call)
    assert (claimed, locked > 10) == (10, True)
