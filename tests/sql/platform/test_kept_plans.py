"""Plans are kept (`force_generic_plan`): what has grown since, or is large, is not walked."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from uuid import UUID

import pytest
from psycopg.rows import DictRow

from tests.sql.platform.helpers import Db, User, call, finish, new_trader
from tests.sql.platform.trading import FILL, alive, order, report, sent

PLATFORM = (
    *("trade_events", "order_end", "tv_signals", "account_snapshots", "broker_connections"),
    "mt5_agents",
)
TABLES = (*PLATFORM, "job", "ready", "lease", "ended")
SMALL, GROWN = 30, 3000
MOST = 60  # rows of a table that one call may read
OLDEST = UUID("f0000000-0000-0000-0000-000000000000")
ACCOUNT = {"balance": 1, "equity": 1, "open_positions": 1}


def traded(db: Db, user: User, orders: int) -> None:
    """Let the user have traded for years: of an order more than its `requested` is on record."""
    db.execute(
        "insert into public.trade_events"
        " (user_id, broker_connection_id, job_id, event, side, occurred_at)"
        " select %s, %s, (lpad(to_hex(n), 8, '0') || '-0000-7000-8000-000000000000')::uuid, e,"
        " 'buy', now() - (%s + 1 - n) * interval '1 hour'"
        " from generate_series(1, %s) n, unnest(array['requested', 'claimed', 'sent', 'filled']) e"
        " order by n",
        (user.id, user.account, orders, orders),
    )


def signalled(db: Db, user: User, signals: int) -> None:
    db.execute(
        "with strategy as (insert into public.tv_strategies (user_id, name, webhook_secret)"
        " values (%s, 's', gen_random_uuid()::text) returning id, user_id)"
        " insert into public.tv_signals"
        " (user_id, strategy_id, status, action, symbol, raw_payload)"
        " select s.user_id, s.id, 'executed', 'buy', 'EURUSD', '{}'"
        " from strategy s, generate_series(1, %s)",
        (user.id, signals),
    )


def ended(db: Db, user: User, orders: int) -> None:
    """Let as many of the user's orders be filled, newer than all that the test puts in."""
    db.execute("set role jobengine_owner")
    db.execute(
        "with made as (insert into jobengine.job (job_id, tenant_id, queue, job_type, priority,"
        " input, meta, max_attempts, lease_seconds, delivery, wake, created_at)"
        " select ('f' || lpad(to_hex(n + (select count(*) from jobengine.job)), 7, '0')"
        " || '-0000-7000-8000-000000000000')::uuid, %s, 'agent/a', 'trade', 0, '{}', '{}', 1, 30,"
        " 'at_most_once', false, now() from generate_series(1, %s) n returning job_id, tenant_id)"
        " insert into jobengine.ended (job_id, tenant_id, status, attempt, lease_epoch,"
        " finished_at, settled_status)"
        " select job_id, tenant_id, 'completed', 1, 1, now(), 'completed' from made",
        (user.id, orders),
    )
    db.execute("reset role")
    db.execute(
        "insert into public.trade_events (user_id, job_id, event, side, occurred_at)"
        " select e.tenant_id, e.job_id, v, 'buy', now() - interval '1 day' from jobengine.ended e,"
        " unnest(array['requested', 'claimed', 'sent', 'filled']) v"
        " where e.tenant_id = %(user)s and e.job_id > 'f0000000-0000-0000-0000-000000000000'"
        " and not exists (select from public.order_end o where o.job_id = e.job_id)",
        {"user": user.id},
    )
    db.execute(
        "insert into public.order_end (user_id, status, job_id)"
        " select e.tenant_id, 'filled', e.job_id from jobengine.ended e"
        " where e.tenant_id = %s on conflict do nothing",
        (user.id,),
    )


def watched(db: Db, user: User, minutes: int) -> None:
    """Let the account have been reported each minute until now."""
    db.execute(
        "insert into public.account_snapshots"
        " (user_id, broker_connection_id, balance, equity, taken_at)"
        " select %s, %s, 1, 1, now() - n * interval '1 minute' from generate_series(1, %s) n",
        (user.id, user.account, minutes),
    )


def grow(db: Db, user: User, size: int) -> None:
    traded(db, user, size)
    ended(db, user, size)
    signalled(db, user, size)
    watched(db, user, size)


def analyze(db: Db) -> None:
    for table in PLATFORM:
        db.execute(f"analyze public.{table}".encode())
    db.execute("set role jobengine_owner")
    db.execute("analyze jobengine.job, jobengine.ready, jobengine.lease, jobengine.ended")
    db.execute("reset role")


def filled(db: Db, user: User) -> None:
    job = sent(db, user)
    db.execute("reset role")
    assert finish(db, job, "completed", {**FILL, "deal_id": str(job["id"])}) == "ok"


def page(db: Db, user: User, **filters: object) -> list[DictRow]:
    return call(db, "order_list", user=user.id, limit=5, **filters)


def refused(db: Db, user: User) -> UUID:
    """Let one order of the user be refused: the only one, and older than the filled ones."""
    job_id: UUID = order(db, user, client_order_id="c")["job_id"]
    assert finish(db, sent(db, user), "rejected", {"error_code": "no_money"}) == "ok"
    return job_id


CALLS: dict[str, Callable[[Db, User], object]] = {
    "order": order,
    "fill": filled,
    "report": lambda db, user: report(db, user.agent, account=ACCOUNT),
    "who waits": lambda db, user: call(db, "users_waiting", user_ids=[user.id]),
    "a key": lambda db, _: call(db, "agent_of_key", key_digest=b"nobody's"),
    "orders": page,
    "orders of a number": lambda db, user: page(db, user, client_order_id="c"),
    "old orders": lambda db, user: page(db, user, before=OLDEST),
    **{
        f"{status} orders": partial(page, status=status)
        for status in ("filled", "rejected", "unknown", "pending", "sent", "expired", "closed")
    },
}


def read(db: Db) -> dict[str, int]:
    """Return how many rows this transaction has read of each table."""
    db.execute("reset role")
    found = db.execute(
        "select relname, seq_tup_read + coalesce(idx_tup_fetch, 0) as rows"
        " from pg_stat_xact_user_tables where relname = any (%s)",
        (list(TABLES),),
    ).fetchall()
    return {one["relname"]: one["rows"] for one in found}


def excess(db: Db, user: User, name: str) -> list[str]:
    with db.transaction():
        before = read(db)
        CALLS[name](db, user)
        after = read(db)
    many = {table: rows - before.get(table, 0) for table, rows in after.items()}
    return [f"{name}: {rows} rows of {table}" for table, rows in many.items() if rows > MOST]


@pytest.mark.parametrize("analyzed", [("small",), ("large",), ("small", "large")], ids="-".join)
def test_no_kept_plan_walks_a_table(pdb: Db, analyzed: tuple[str, ...]) -> None:
    user = new_trader(pdb)
    alive(pdb, user.agent)
    call(pdb, "settings_update", user=user.id, changes={"max_orders_per_minute": 100})
    rare = refused(pdb, user)
    grow(pdb, user, SMALL)
    if "small" in analyzed:
        analyze(pdb)
    for _ in range(7):  # beyond what it takes a session to keep a plan
        for work in CALLS.values():
            work(pdb, user)
    grow(pdb, user, GROWN)
    if "large" in analyzed:
        analyze(pdb)
    assert [found for name in CALLS for found in excess(pdb, user, name)] == []
    for filters in ({"status": "rejected"}, {"client_order_id": "c"}):
        assert [found["order_id"] for found in page(pdb, user, **filters)] == [rare]
