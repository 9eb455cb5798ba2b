"""10,000 jobs, 8 processes, some of them killed: their histories judge the engine."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import psycopg
from psycopg.rows import DictRow

from tests.faults.history_run import run
from tests.invariants import violations

JOBS = 10_000


def test_no_double_claim_no_lost_job_no_stale_effect(
    db: psycopg.Connection[DictRow], database_url: str, tmp_path: Path
) -> None:
    history, finals = run(db, database_url, tmp_path, jobs=JOBS, agents=8, kills=6)
    assert violations(history, finals) == []
    assert len(finals) == JOBS
    # What was to be put to the test did happen.
    assert len(history.claimed) > JOBS
    verdicts = Counter(report.verdict for report in history.reported)
    assert verdicts["stale_lease"] >= 25
    assert verdicts["retried"] >= 100
    outcomes = {report.outcome for report in history.reported if report.accepted}
    assert outcomes >= {"completed", "failed", "rejected", "snooze", "release", "start", "extend"}
    assert {final.status for final in finals} == {"completed", "failed", "unknown"}
