from __future__ import annotations

import pytest

from jobengine.testing import Clock
from tests.sql.helpers import Db, Engine
from tests.sql.parents import Parents


@pytest.fixture
def engine(db: Db, clock: Clock) -> Engine:
    """An empty engine with two job types, its clock standing still at `START`."""
    db.execute("set lock_timeout = '30s'")  # who waits for another session of its own test fails
    engine = Engine(db, clock)
    engine.register("work")
    engine.register("trade", delivery="at_most_once")
    return engine


@pytest.fixture
def parents(engine: Engine) -> Parents:
    """Parents that `work` and `trade` settle."""
    parents = Parents(engine.db)
    engine.register("work", settle="app.settle")
    engine.register("trade", settle="app.settle")
    return parents
