"""The limits can be passed: each of these ways to write a statement goes beyond them."""

from __future__ import annotations

from contextlib import ExitStack

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.conftest import fresh_database
from tests.plans.backlog import Backlog
from tests.plans.explain import explaining
from tests.plans.operations import OPERATIONS
from tests.planting import Bug, planted

BUGS = {
    "finish": Bug("finish", r"between i\.job_id and i\.job_id", "= i.job_id"),
    "claim": Bug("_take", r"order by w\.run_at, w\.job_id", "order by w.job_id"),
    "sweep": Bug("_sweep_leases", r"order by l\.lease_expires_at", "order by l.claimed_at"),
}


@pytest.mark.parametrize("name", BUGS)
def test_a_bug_is_beyond_a_limit(admin_url: str, name: str) -> None:
    operation = OPERATIONS[name]
    with ExitStack() as stack:
        url = stack.enter_context(fresh_database(admin_url))
        conn = stack.enter_context(psycopg.connect(url, autocommit=True, row_factory=dict_row))
        backlog = Backlog(conn)
        stack.enter_context(planted(conn, BUGS[name]))
        session = stack.enter_context(explaining(admin_url, url, "force_generic_plan"))
        conn.execute("set role jobengine_owner")
        backlog.grow(1)
        backlog.analyze()
        session.work(operation.call)
        backlog.grow(10_000)
        session.work(operation.call)
        assert operation.excess(session.work(operation.call)) != []
