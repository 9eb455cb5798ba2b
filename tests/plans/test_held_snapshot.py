"""Dead rows that an old snapshot keeps alive cost a claim with marks nothing."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.rows import DictRow, dict_row

from tests.plans.explain import Work, explaining
from tests.races import calls
from tests.races.jobs import run

TENANT = "00000000-0000-0000-0000-000000000000"
BATCH = 500


def claim_and_finish(
    db: psycopg.Connection[DictRow], jobs: int, marks: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Bring so many jobs through and return the marks that a claimer would have now."""
    for _ in range(jobs // BATCH):
        rows = run(db, calls.claim(limit=BATCH, tenant_id=TENANT, marks=marks))
        assert len(rows) == BATCH
        run(db, calls.finish(*((row["job_id"], row["lease_epoch"]) for row in rows)))
        last = rows[-1]
        marks = [
            {
                "tenant_id": TENANT,
                "queue": last["queue"],
                "priority": last["priority"],
                "run_at": last["run_at"].isoformat(),
                "job_id": str(last["job_id"]),
            }
        ]
    return marks


def test_bounded_claim_under_a_held_snapshot(
    db: psycopg.Connection[DictRow], database_url: str, admin_url: str
) -> None:
    run(db, calls.call("register_job_type", job_type="work"))
    run(db, calls.enqueue(count=21_000))
    without: list[Work] = []
    with_marks: list[Work] = []
    marks: list[dict[str, Any]] = []
    with (
        psycopg.connect(database_url, row_factory=dict_row) as holder,
        explaining(admin_url, database_url, "auto") as explainer,
    ):
        holder.execute("set transaction isolation level repeatable read")
        holder.execute("select 1 from jobengine.ready limit 1")
        for jobs in (BATCH, 4_500, 15_000):
            marks = claim_and_finish(db, jobs, marks)
            for found, known in ((without, []), (with_marks, marks)):
                call = calls.claim(limit=10, tenant_id=TENANT, marks=known)
                explainer.work(call)
                work = explainer.work(call)
                assert len(work.answers) == 10
                found.append(work)

    assert [work.rows for work in with_marks] == [with_marks[0].rows] * 3
    assert with_marks[-1].buffers < 1.25 * with_marks[0].buffers
    # Without them every claim walks all the dead rows: the marks do matter.
    assert without[-1].buffers > 3 * without[0].buffers
