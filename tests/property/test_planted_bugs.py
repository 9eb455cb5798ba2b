"""The machine can fail: it finds bugs that are planted in the engine's functions."""

from __future__ import annotations

import psycopg
import pytest
from hypothesis import Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from psycopg.rows import DictRow

from tests.planting import Bug, planted
from tests.property.machine import bound
from tests.property.pair import prepare

BUGS = {
    "release forgets the epoch": Bug(
        "release", r"t\.attempt - 1, t\.lease_epoch,", "t.attempt - 1, t.lease_epoch - 1,"
    ),
    "release spends an attempt": Bug(
        "release", r"t\.attempt - 1, t\.lease_epoch,", "t.attempt, t.lease_epoch,"
    ),
    "an end keeps the live key": Bug("_end", r"where e\.live_key is not null", "where false"),
    "sweep hands at_most_once out again": Bug(
        "_sweep_leases", r"when t\.delivery = 'at_most_once' then", "when false then"
    ),
    "finish ignores the epoch": Bug("finish", r"l\.lease_epoch = i\.lease_epoch and", ""),
    "a sum does not take back": Bug(
        "_settle_ended", r"e\.status, e\.settled_status, j\.input", "e.status, null, j.input"
    ),
}

# One fixed run per bug, without the search for the shortest way to it.
RUN = settings(
    settings.get_profile("jobengine"),
    max_examples=400,
    stateful_step_count=50,
    database=None,
    phases=[Phase.generate],
    report_multiple_bugs=False,
)


@pytest.mark.parametrize("name", BUGS)
def test_the_machine_finds_it(db: psycopg.Connection[DictRow], name: str) -> None:
    machine = seed(2)(bound(db, prepare(db)))
    with planted(db, BUGS[name]), pytest.raises(AssertionError):
        run_state_machine_as_test(machine, settings=RUN)
