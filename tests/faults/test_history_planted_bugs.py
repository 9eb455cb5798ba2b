"""The run and its checker can fail: they find bugs that are planted in the engine's functions."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from psycopg.rows import DictRow

from tests.faults.history_run import run
from tests.invariants import violations
from tests.planting import Bug, planted

BUGS = {
    "heard epoch": Bug("finish", r"l\.lease_epoch = i\.lease_epoch and", ""),
    "came while the last was live": Bug(
        "_sweep_leases", r"l\.lease_expires_at <= p_now", "l.lease_expires_at <= p_now + '0.7 s'"
    ),
}


@pytest.mark.parametrize("named", BUGS)
def test_the_checker_finds_it(
    db: psycopg.Connection[DictRow], database_url: str, tmp_path: Path, named: str
) -> None:
    with planted(db, BUGS[named]):
        history, finals = run(db, database_url, tmp_path, jobs=1000, agents=4, kills=1)
    assert any(named in violation for violation in violations(history, finals))
