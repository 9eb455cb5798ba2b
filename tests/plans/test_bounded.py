"""Invariant 7, bounded_claim, and the same for every other call on the way of a job.

A plan is made from what the planner believes of the tables, and a session keeps it. So each call is
made with tables of 10, 10,000 and 200,000 jobs (as many ended, 1,000 tenants); never analyzed,
analyzed when they were small, and freshly analyzed; with generic and custom plans; by sessions that
have just come and by sessions that know the tables from the time when they were small.

`JOBENGINE_PLANS_JOBS=5000000` makes the largest tables that large: the limits stay what they are.
"""

from __future__ import annotations

import os
from contextlib import ExitStack

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.conftest import fresh_database
from tests.plans.backlog import Backlog
from tests.plans.explain import Explainer, explaining
from tests.plans.operations import LOOK_FOR_IDS_IN_READY, OPERATIONS, Operation

ANALYZE = -1
MANY = int(os.environ.get("JOBENGINE_PLANS_JOBS", "200000"))
MODES = ("force_custom_plan", "force_generic_plan")


def beyond_limits(explainer: Explainer, where: str, operations: dict[str, Operation]) -> list[str]:
    """Make every call twice, so that the second one meets filled caches and a kept plan."""
    found = []
    for name, operation in operations.items():
        explainer.work(operation.call)
        excess = operation.excess(explainer.work(operation.call))
        found += [f"{name}, {where}: {what}" for what in excess]
    return found


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([10, 10_000, MANY, ANALYZE], id="never analyzed, then freshly"),
        pytest.param([10, ANALYZE, 10_000, MANY], id="analyzed at 10 jobs"),
        pytest.param([ANALYZE, 10_000, ANALYZE], id="analyzed when empty, then at 10,000"),
    ],
)
def test_bounded_claim(admin_url: str, steps: list[int]) -> None:
    found: list[str] = []
    operations = OPERATIONS
    with ExitStack() as stack:
        url = stack.enter_context(fresh_database(admin_url))
        conn = stack.enter_context(psycopg.connect(url, autocommit=True, row_factory=dict_row))
        backlog = Backlog(conn)
        old = {mode: stack.enter_context(explaining(admin_url, url, mode)) for mode in MODES}
        for step in steps:
            backlog.analyze() if step == ANALYZE else backlog.grow(step)
            state = f"{backlog.size} jobs {'analyzed' if step == ANALYZE else ''}"
            for mode in MODES:
                found += beyond_limits(old[mode], f"{state}, {mode}, old session", operations)
                with explaining(admin_url, url, mode) as new:
                    found += beyond_limits(new, f"{state}, {mode}, new session", operations)
            if backlog.size == 0:  # of empty tables any index will do
                found.clear()
                operations = {
                    name: operation
                    for name, operation in OPERATIONS.items()
                    if name not in LOOK_FOR_IDS_IN_READY
                }
    assert found == []
