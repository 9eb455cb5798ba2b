"""Deals that agents report: noted once, counted once, and what they say of unknown orders."""

from __future__ import annotations

from datetime import timedelta

import pytest

from jobengine.testing import Clock
from jobengine.testing.clock import START
from tests.sql.platform.helpers import Db, User, finish
from tests.sql.platform.trading import (
    FILL,
    alive,
    comment,
    deal,
    events,
    losses,
    order,
    ordered,
    report,
    sent,
)


@pytest.fixture
def trader(pdb: Db, still: Clock, anna: User) -> User:
    """A user whose agent is there."""
    still.advance(12 * 3600)
    alive(pdb, anna.agent)
    return anna


NOON = START + timedelta(hours=12)
DAY = "2030-01-01"


def lost(db: Db, user: User, still: Clock) -> tuple[dict[str, object], object]:
    """An order whose agent fell silent after it had been sent."""
    job = sent(db, user)
    still.advance(31)
    db.execute("select jobengine.sweep()")
    return job, job["job_id"]


def test_a_deal_after_its_result_is_known(pdb: Db, trader: User) -> None:
    job_id = order(pdb, trader)["job_id"]
    job = sent(pdb, trader)
    assert finish(pdb, job, "completed", FILL) == "ok"
    assert report(pdb, trader.agent, deal("d1", NOON, comment=comment(job_id))) == (1, 0, 0)
    assert events(pdb, job_id)[3:] == [("filled", "d1")]
    assert losses(pdb, trader.id) == [(DAY, -0.7, None)]


def test_a_result_after_its_deal_is_known(pdb: Db, trader: User) -> None:
    job_id = order(pdb, trader)["job_id"]
    job = sent(pdb, trader)
    assert report(pdb, trader.agent, deal("d1", NOON, comment=comment(job_id))) == (1, 1, 0)
    assert finish(pdb, job, "completed", FILL) == "ok"
    assert events(pdb, job_id)[3:] == [("filled", "d1")]
    assert losses(pdb, trader.id) == [(DAY, -0.7, None)]


def test_a_deal_resolves_an_unknown_order(pdb: Db, trader: User, still: Clock) -> None:
    job_id = order(pdb, trader)["job_id"]
    sent(pdb, trader)
    still.advance(31)
    pdb.execute("select jobengine.sweep()")
    assert ordered(pdb, trader, job_id)["status"] == "unknown"
    first = deal("d1", NOON, comment=comment(job_id))
    second = deal("d2", NOON, comment=comment(job_id), price=1.2, volume=0.3)
    assert report(pdb, trader.agent, first, second) == (2, 2, 1)
    assert events(pdb, job_id)[3:] == [
        *(("unknown", None), ("reconciled", None), ("filled", "d1"), ("filled", "d2")),
    ]
    found = ordered(pdb, trader, job_id)
    seen = [found[n] for n in ("status", "filled_volume", "fill_price", "deal_id", "position_id")]
    assert [*map(str, seen[:1]), *map(float, seen[1:3]), *seen[3:]] == [
        *("filled", 0.4, 1.175, "d1", "p1"),
    ]
    assert losses(pdb, trader.id) == [(DAY, -1.4, None)]
    assert report(pdb, trader.agent, first, second) == (2, 0, 0)
    assert losses(pdb, trader.id) == [(DAY, -1.4, None)]
