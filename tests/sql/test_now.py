from __future__ import annotations

from tests.sql.helpers import Db


def test_the_clock_moves_on_inside_a_transaction(db: Db) -> None:
    """A lease that a long transaction gives must not have run out when it is given."""
    with db.transaction():
        [row] = db.execute("select transaction_timestamp() as began, jobengine._now() as now")
        [later] = db.execute("select jobengine._now() as now")
    assert row["began"] < row["now"] < later["now"]
