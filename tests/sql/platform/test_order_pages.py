"""Pages of orders by status: they are what the whole list says, whatever became of the orders."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest

from jobengine.testing import Clock
from jobengine.testing.clock import START
from tests.sql.platform.helpers import Db, User, call, claim, finish, new_job, one, row
from tests.sql.platform.trading import (
    FILL,
    alive,
    claimed,
    comment,
    deal,
    order,
    ordered,
    report,
    sent,
)

STATUSES = (
    *("pending", "claimed", "sent", "filled", "partially_filled", "closed", "rejected", "expired"),
    *("cancelled", "unknown"),
)


@pytest.fixture
def trader(pdb: Db, still: Clock, anna: User) -> User:
    alive(pdb, anna.agent)
    return anna


def listed(db: Db, user: User, **filters: object) -> list[tuple[UUID, str]]:
    found = call(db, "order_list", user=user.id, **filters)
    return [(one["order_id"], one["status"]) for one in found]


def paged(db: Db, user: User, status: str) -> list[tuple[UUID, str]]:
    """Read one by one, each page before the last id of the one before."""
    found: list[tuple[UUID, str]] = []
    before: UUID | None = None
    while page := listed(db, user, status=status, before=before, limit=1):
        found += page
        before = page[0][0]
    return found


def ends(db: Db, user: User, outcome: str, output: object = None, **changes: object) -> UUID:
    """Put an order in, send it, and report."""
    order(db, user, **changes)
    job = sent(db, user)
    assert finish(db, job, outcome, output) == "ok"
    job_id: UUID = job["job_id"]
    return job_id


def closes(db: Db, user: User, deal_id: str) -> None:
    one(db, "position_close", user=user.id, ticket="p1")
    done = {**FILL, "deal_id": deal_id, "closed_price": 1.2, "pnl": 1}
    assert finish(db, sent(db, user), "completed", done) == "ok"


def lost(db: Db, still: Clock) -> None:
    still.advance(31)
    db.execute("select jobengine.sweep()")


def filled_by_deals(db: Db, user: User, still: Clock) -> None:
    """What an agent's report told first, under a comment that the broker has lost."""
    order(db, user)
    job = sent(db, user)
    report(db, user.agent, deal("d9", START))
    assert finish(db, job, "completed", {**FILL, "deal_id": "d9", "retcode": 10010}) == "ok"


def a_history(db: Db, user: User, still: Clock) -> None:
    ends(db, user, "completed", {**FILL, "deal_id": "d1"})
    ends(db, user, "completed", {**FILL, "deal_id": "d2", "retcode": 10010})
    ends(db, user, "rejected", {"error_code": "no_money"})
    closes(db, user, "d3")
    filled_by_deals(db, user, still)
    call(db, "job_cancel", user=user.id, job_id=order(db, user)["job_id"])
    ends(db, user, "unknown")
    resolved = ends(db, user, "unknown")
    report(db, user.agent, deal("d4", START + timedelta(hours=1), comment=comment(resolved)))
    alive(db, user.agent)
    order(db, user, expires_in=5)  # expires while it waits
    lost(db, still)
    alive(db, user.agent)
    again = ends(db, user, "rejected", {"error_code": "requote"})
    db.execute("select jobengine.retry(array[%s::uuid])", (again,))
    sent(db, user)
    order(db, user)
    claimed(db, user)
    order(db, user)
    new_job(db, user.id, "get_account", agent_id=user.agent)
    call(db, "job_cancel", user=user.id, job_id=new_job(db, user.id, "get_account"))


def test_the_list_by_status_is_the_list(pdb: Db, trader: User, bert: User, still: Clock) -> None:
    alive(pdb, bert.agent)
    order(pdb, bert)
    a_history(pdb, trader, still)
    every = listed(pdb, trader, limit=200)
    assert {status for _, status in every} == set(STATUSES)
    for status in STATUSES:
        wanted = [found for found in every if found[1] == status]
        assert listed(pdb, trader, status=status) == wanted
        assert paged(pdb, trader, status) == wanted


def test_an_order_that_lapsed_in_its_agents_hands_has_expired(
    pdb: Db, trader: User, still: Clock
) -> None:
    job_id = order(pdb, trader, expires_in=5)["job_id"]
    job = claimed(pdb, trader)
    still.advance(6)
    call(
        pdb,
        "agent_start",
        agent_ids=[trader.agent],
        job_ids=[job_id],
        lease_epochs=[job["lease_epoch"]],
    )
    assert row(pdb, "select lapsed from jobengine.lease where job_id = %s", job_id)["lapsed"]
    assert listed(pdb, trader, status="expired") == [(job_id, "expired")]


def test_an_end_that_is_not_settled_yet_is_listed(pdb: Db, trader: User, still: Clock) -> None:
    order(pdb, trader)
    job = sent(pdb, trader)
    pdb.execute(
        "alter table public.trade_events"
        " add constraint broken check (event <> 'rejected') not valid"
    )
    try:
        assert finish(pdb, job, "rejected", None, "no") == "settle_failed"
    finally:
        pdb.execute("alter table public.trade_events drop constraint broken")
    assert listed(pdb, trader, status="rejected") == [(job["job_id"], "rejected")]
    still.advance(3600)
    pdb.execute("select jobengine.sweep()")
    assert listed(pdb, trader, status="rejected") == [(job["job_id"], "rejected")]


def test_what_was_pruned_is_not_there(pdb: Db, trader: User, still: Clock) -> None:
    ends(pdb, trader, "rejected")
    still.advance(100)
    pdb.execute("select jobengine.prune(p_keep_seconds => 50)")
    alive(pdb, trader.agent)
    kept = ends(pdb, trader, "rejected")
    assert listed(pdb, trader) == listed(pdb, trader, status="rejected") == [(kept, "rejected")]


def test_who_is_deleted_leaves_no_ends(pdb: Db, trader: User) -> None:
    ends(pdb, trader, "rejected")
    order(pdb, trader)
    pdb.execute("delete from auth.users where id = %s", (trader.id,))
    left = row(pdb, "select count(*) from public.order_end where user_id = %s", trader.id)
    assert left == {"count": 0}


def test_the_technical_plans_claim_is_listed(pdb: Db, trader: User) -> None:
    job_id = order(pdb, trader)["job_id"]
    assert claim(pdb, trader.agent) is not None
    assert listed(pdb, trader, status="sent") == [(job_id, "sent")]
    assert ordered(pdb, trader, job_id)["status"] == "sent"
