from __future__ import annotations

import psycopg
from psycopg.rows import DictRow


def test_enqueue(db: psycopg.Connection[DictRow]) -> None:
    db.execute("select jobengine.register_job_type('t')")
    rows = db.execute("select * from jobengine.enqueue(array['t'])").fetchall()
    assert [row["verdict"] for row in rows] == ["ok"]
