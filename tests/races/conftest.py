from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.rows import DictRow

from tests.races.calls import call
from tests.races.jobs import run
from tests.races.sessions import Session, opened


@pytest.fixture
def sessions(
    db: psycopg.Connection[DictRow], database_url: str
) -> Iterator[tuple[Session, Session, Session]]:
    """Three connections to an empty engine with a job type of each delivery."""
    run(db, call("register_job_type", job_type="work", backoff_seconds=0.0))
    run(db, call("register_job_type", job_type="once", delivery="at_most_once"))
    with opened(database_url, db, 3) as (one, two, three):
        yield one, two, three
