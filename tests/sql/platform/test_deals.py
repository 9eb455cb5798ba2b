"""Deals that agents report: noted once, counted once, and what they say of unknown orders."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import DictRow, dict_row

from jobengine.testing import Clock
from jobengine.testing.clock import START
from tests.sql.platform.helpers import (
    Db,
    User,
    call,
    finish,
    new_agent,
    new_signal,
    new_user,
    one,
    refused,
    row,
    wait_until_blocked,
)
from tests.sql.platform.trading import (
    FILL,
    alert_order,
    alive,
    comment,
    deal,
    events,
    exact,
    losses,
    order,
    ordered,
    report,
    sent,
)

NOON = START + timedelta(hours=12)
DAY = "2030-01-01"
ACCOUNT = {
    "balance": 1000,
    "equity": 990.5,
    "margin_used": 10,
    "margin_available": 980.5,
    "currency": "EUR",
    "leverage": 30,
}


@pytest.fixture
def trader(pdb: Db, still: Clock, anna: User) -> User:
    """A user whose agent is there, at noon UTC."""
    still.advance(12 * 3600)
    alive(pdb, anna.agent)
    return anna


def silence(db: Db, still: Clock) -> None:
    """Let the leases of what was sent run out: their orders are unknown."""
    still.advance(31)
    db.execute("select jobengine.sweep()")


def unknown_order(db: Db, trader: User, still: Clock) -> UUID:
    job_id: UUID = order(db, trader)["job_id"]
    sent(db, trader)
    silence(db, still)
    assert ordered(db, trader, job_id)["status"] == "unknown"
    return job_id


def told(db: Db, user: User) -> list[tuple[str, str | None, UUID | None]]:
    """What is noted of a user: events, deals, orders."""
    found = db.execute(
        "select event, deal_id, job_id from public.trade_events where user_id = %s order by id",
        (user.id,),
    ).fetchall()
    return [(e["event"], e["deal_id"], e["job_id"]) for e in found]


# -- a deal and the result of its order


def test_a_deal_after_its_result_is_known(pdb: Db, trader: User) -> None:
    job_id = order(pdb, trader)["job_id"]
    assert finish(pdb, sent(pdb, trader), "completed", FILL) == "ok"
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
    assert ordered(pdb, trader, job_id)["status"] == "filled"


def test_a_fill_without_a_deal_is_not_filled_twice_by_its_deal(pdb: Db, trader: User) -> None:
    job_id = order(pdb, trader)["job_id"]
    assert finish(pdb, sent(pdb, trader), "completed", {**FILL, "deal_id": None}) == "ok"
    assert losses(pdb, trader.id) == []
    assert report(pdb, trader.agent, deal("d1", NOON, comment=comment(job_id))) == (1, 1, 0)
    assert events(pdb, job_id)[3:] == [("filled", None), ("reconciled", "d1")]
    assert losses(pdb, trader.id) == [(DAY, -0.7, None)]


def test_a_fill_without_a_deal_adds_nothing_to_its_deal(pdb: Db, trader: User) -> None:
    job_id = order(pdb, trader)["job_id"]
    job = sent(pdb, trader)
    report(pdb, trader.agent, deal("d1", NOON, comment=comment(job_id)))
    assert finish(pdb, job, "completed", {**FILL, "deal_id": "0"}) == "ok"
    assert events(pdb, job_id)[3:] == [("filled", "d1")]


def test_an_order_in_two_deals_counts_both(pdb: Db, trader: User) -> None:
    job_id = order(pdb, trader)["job_id"]
    assert finish(pdb, sent(pdb, trader), "completed", FILL) == "ok"
    both = [deal(d, NOON, comment=comment(job_id)) for d in ("d1", "d2")]
    assert report(pdb, trader.agent, *both) == (2, 1, 0)
    assert events(pdb, job_id)[3:] == [("filled", "d1"), ("filled", "d2")]
    assert losses(pdb, trader.id) == [(DAY, -1.4, None)]


def test_a_close_counts_what_it_brought(pdb: Db, trader: User) -> None:
    job_id = one(pdb, "position_close", user=trader.id, ticket="p1")["job_id"]
    job = sent(pdb, trader)
    output = {"ticket": "p1", "closed_price": 1.2, "pnl": -30.5, "deal_id": "d2", "commission": -1}
    assert finish(pdb, job, "completed", {**output, "swap": -0.25}) == "ok"
    closing = deal(
        "d2",
        NOON,
        side="sell",
        entry="out",
        profit=-30.5,
        commission=-1,
        swap=-0.25,
        comment=comment(job_id),
    )
    assert report(pdb, trader.agent, closing) == (1, 0, 0)
    assert events(pdb, job_id)[3:] == [("closed", "d2")]
    assert losses(pdb, trader.id) == [(DAY, -31.75, None)]


def test_a_result_without_the_money_leaves_its_deal_to_the_report(pdb: Db, trader: User) -> None:
    """Nor does a deal's number that no deal can have keep the result from being noted."""
    closing = one(pdb, "position_close", user=trader.id, ticket="p1")["job_id"]
    output = {"ticket": "p1", "closed_price": 1.2, "deal_id": "d2"}
    assert finish(pdb, sent(pdb, trader), "completed", output) == "ok"
    job_id = order(pdb, trader)["job_id"]
    endless = {**FILL, "deal_id": secrets.token_hex(20_000)}
    assert finish(pdb, sent(pdb, trader), "completed", endless) == "ok"
    report(
        pdb,
        trader.agent,
        deal("d2", NOON, side="sell", entry="out", profit=-30, comment=comment(closing)),
        deal("d3", NOON, comment=comment(job_id)),
    )
    assert events(pdb, closing)[3:] == [("closed", None), ("reconciled", "d2")]
    assert events(pdb, job_id)[3:] == [("filled", None), ("reconciled", "d3")]
    assert losses(pdb, trader.id) == [(DAY, -31.4, None)]


def test_amounts_of_small_units_are_counted(pdb: Db, trader: User) -> None:
    """A hundred billion rupiah are six million dollars."""
    rich = {"balance": 900_000_000_000, "equity": 1}
    report(pdb, trader.agent, deal("d1", NOON, profit=-500_000_000_000), account=rich)
    assert losses(pdb, trader.id) == [(DAY, -500_000_000_000.7, 1_400_000_000_000.7)]


def test_a_deal_of_nobodys_order_tells_its_reason(pdb: Db, trader: User) -> None:
    stopped = deal(
        "d3", NOON, entry="out", side="sell", reason="sl", comment="[sl 1.09]", profit=-10
    )
    by_hand = deal("d4", NOON, entry="in", reason="client", comment="A" * 26)
    turned = deal("d5", NOON, entry="inout", reason="client")
    hedged = deal("d6", NOON, entry="out_by", reason="client")
    assert report(pdb, trader.agent, stopped, by_hand, turned, hedged) == (4, 4, 0)
    assert told(pdb, trader) == [
        ("closed", "d3", None),
        ("filled", "d4", None),
        ("filled", "d5", None),
        ("closed", "d6", None),
    ]
    found = row(
        pdb, "select * from public.trade_events where deal_id = 'd3' and user_id = %s", trader.id
    )
    assert found["detail"] == {"reason": "sl", "entry": "out", "magic": 0, "comment": "[sl 1.09]"}
    names = ("agent_id", "broker_connection_id", "symbol", "side", "volume", "price", "position_id")
    assert [found[n] for n in names] == [
        *(trader.agent, trader.account, "EURUSD", "sell", Decimal("0.1"), Decimal("1.1"), "p1"),
    ]
    assert (found["realized_pnl"], found["occurred_at"], found["actor"]) == (-10, NOON, "agent")


def test_a_deal_of_the_other_side_is_not_of_the_order_that_it_names(pdb: Db, trader: User) -> None:
    """Some terminals hand a position's comment on to what closes it."""
    job_id = order(pdb, trader)["job_id"]
    report(pdb, trader.agent, deal("d9", NOON, side="sell", entry="out", comment=comment(job_id)))
    assert told(pdb, trader)[-1] == ("closed", "d9", None)


def test_a_broker_may_add_to_the_comment(pdb: Db, trader: User) -> None:
    job_id = order(pdb, trader)["job_id"]
    report(pdb, trader.agent, deal("d1", NOON, comment=comment(job_id) + "[sl]"))
    assert events(pdb, job_id)[-1] == ("filled", "d1")


def test_a_deal_names_the_signal_of_its_order(pdb: Db, trader: User) -> None:
    signal, strategy = new_signal(pdb, trader.id), uuid4()
    job_id = alert_order(pdb, trader, signal, {"side": "buy", "strategy_id": str(strategy)})
    report(pdb, trader.agent, deal("d1", NOON, comment=comment(job_id)))
    found = row(
        pdb, "select * from public.trade_events where deal_id = 'd1' and job_id = %s", job_id
    )
    assert (found["signal_id"], found["strategy_id"]) == (signal, strategy)


def test_a_comment_is_an_id_in_base32(pdb: Db) -> None:
    for job_id in (uuid4() for _ in range(200)):
        query = "select public._job_of_comment(%s) as id"
        assert row(pdb, query, comment(job_id))["id"] == job_id
    for text in ("", "x", "a" * 26, "A" * 25, "A" * 25 + "1", None):
        assert row(pdb, "select public._job_of_comment(%s) as id", text)["id"] is None


# -- unknown orders


def test_what_an_unknown_order_says_of_a_deal_is_no_deal(pdb: Db, trader: User) -> None:
    job_id = order(pdb, trader)["job_id"]
    assert finish(pdb, sent(pdb, trader), "unknown", FILL) == "ok"
    assert events(pdb, job_id)[3:] == [("unknown", None)]
    assert losses(pdb, trader.id) == []
    assert report(pdb, trader.agent, deal("d1", NOON, comment=comment(job_id))) == (1, 1, 1)
    assert losses(pdb, trader.id) == [(DAY, -0.7, None)]


def test_a_deal_resolves_an_unknown_order(pdb: Db, trader: User, still: Clock) -> None:
    job_id = unknown_order(pdb, trader, still)
    first = deal("d1", NOON, comment=comment(job_id))
    second = deal("d2", NOON, comment=comment(job_id), price=1.2, volume=0.3)
    assert report(pdb, trader.agent, first, second) == (2, 2, 1)
    assert events(pdb, job_id)[3:] == [
        *(("unknown", None), ("reconciled", None), ("filled", "d1"), ("filled", "d2")),
    ]
    found = ordered(pdb, trader, job_id)
    names = ("status", "filled_volume", "fill_price", "deal_id", "position_id", "broker_order_id")
    assert [found[n] for n in names] == [
        *("filled", Decimal("0.4"), Decimal("1.17500000"), "d1", "p1", "o1"),
    ]
    assert losses(pdb, trader.id) == [(DAY, -1.4, None)]
    assert report(pdb, trader.agent, first, second) == (2, 0, 0)
    assert losses(pdb, trader.id) == [(DAY, -1.4, None)]


def test_a_deal_resolves_an_unknown_close(pdb: Db, trader: User, still: Clock) -> None:
    job_id = one(pdb, "position_close", user=trader.id, ticket="p1")["job_id"]
    sent(pdb, trader)
    silence(pdb, still)
    closing = deal("d2", NOON, side="sell", entry="out", profit=12.5, comment=comment(job_id))
    assert report(pdb, trader.agent, closing) == (1, 1, 1)
    assert events(pdb, job_id)[3:] == [("unknown", None), ("reconciled", None), ("closed", "d2")]
    found = ordered(pdb, trader, job_id)
    assert [found[n] for n in ("status", "fill_price", "pnl")] == [
        *("closed", Decimal("1.10000000"), Decimal("12.5")),
    ]
    assert losses(pdb, trader.id) == [(DAY, 11.8, None)]


def test_a_deal_from_before_its_order_was_unknown_resolves_it_too(
    pdb: Db, trader: User, still: Clock
) -> None:
    job_id = order(pdb, trader)["job_id"]
    sent(pdb, trader)
    report(pdb, trader.agent, deal("d1", NOON, comment=comment(job_id)))
    silence(pdb, still)
    assert report(pdb, trader.agent) == (0, 0, 1)
    assert events(pdb, job_id)[3:] == [("filled", "d1"), ("unknown", None), ("reconciled", None)]
    assert ordered(pdb, trader, job_id)["status"] == "filled"
    assert losses(pdb, trader.id) == [(DAY, -0.7, None)]


def test_a_late_result_after_the_deal_resolved_it_changes_nothing(
    pdb: Db, trader: User, still: Clock
) -> None:
    job_id = order(pdb, trader)["job_id"]
    job = sent(pdb, trader)
    silence(pdb, still)
    report(pdb, trader.agent, deal("d1", NOON, comment=comment(job_id)))
    before = events(pdb, job_id)
    assert finish(pdb, job, "completed", FILL) == "duplicate"
    assert events(pdb, job_id) == before
    assert losses(pdb, trader.id) == [(DAY, -0.7, None)]


def test_a_deal_after_the_late_result_is_known(pdb: Db, trader: User, still: Clock) -> None:
    job_id = order(pdb, trader)["job_id"]
    job = sent(pdb, trader)
    silence(pdb, still)
    assert finish(pdb, job, "completed", FILL) == "ok"
    assert report(pdb, trader.agent, deal("d1", NOON, comment=comment(job_id))) == (1, 0, 0)
    assert events(pdb, job_id)[3:] == [("unknown", None), ("reconciled", None), ("filled", "d1")]
    assert losses(pdb, trader.id) == [(DAY, -0.7, None)]


def test_a_deal_resolves_the_signal_too(pdb: Db, trader: User, still: Clock) -> None:
    signal = new_signal(pdb, trader.id)
    job_id = alert_order(pdb, trader, signal, {"side": "buy", "source": "tv_signal"})
    sent(pdb, trader)
    silence(pdb, still)
    assert report(pdb, trader.agent, deal("d1", NOON, comment=comment(job_id))) == (1, 1, 1)
    found = row(
        pdb,
        "select status, fill_price, broker_order_id from public.tv_signals where id = %s",
        signal,
    )
    assert tuple(found.values()) == ("executed", Decimal("1.1"), "o1")


def test_a_deal_of_an_order_that_was_rejected_is_told(pdb: Db, trader: User) -> None:
    """The order's end stays; the order names the deal, and its signal was executed."""
    signal = new_signal(pdb, trader.id)
    job_id = alert_order(pdb, trader, signal, {"side": "buy", "source": "tv_signal"})
    pdb.execute("update public.tv_signals set job_id = %s where id = %s", (job_id, signal))
    query = "select status, error_message, fill_price from public.tv_signals where id = %s"
    assert finish(pdb, sent(pdb, trader), "rejected", {}, error="no money") == "ok"
    assert tuple(row(pdb, query, signal).values()) == ("failed", "no money", None)
    assert ordered(pdb, trader, job_id)["late_deal_id"] is None
    late = deal("d1", NOON, comment=comment(job_id))
    assert report(pdb, trader.agent, late) == (1, 1, 0)
    assert events(pdb, job_id)[-3:] == [("rejected", None), ("filled", "d1"), ("reconciled", None)]
    found = ordered(pdb, trader, job_id)
    assert (found["status"], found["late_deal_id"]) == ("rejected", "d1")
    assert tuple(row(pdb, query, signal).values()) == ("executed", None, Decimal("1.1"))
    assert report(pdb, trader.agent, late) == (1, 0, 0)
    assert events(pdb, job_id)[-1] == ("reconciled", None)
    assert len(events(pdb, job_id)) == len(set(events(pdb, job_id)))


def test_an_unknown_order_of_another_account_stays_unknown(
    pdb: Db, trader: User, bert: User, still: Clock
) -> None:
    job_id = unknown_order(pdb, trader, still)
    other = one(pdb, "broker_connection_create", user=trader.id, name="second")["id"]
    for agent in (bert.agent, new_agent(pdb, trader.id, other)):
        assert report(pdb, agent, deal("d1", NOON, comment=comment(job_id))) == (1, 1, 0)
    assert ordered(pdb, trader, job_id)["status"] == "unknown"
    assert events(pdb, job_id)[-1] == ("unknown", None)


def test_who_resolves_is_not_the_read_of_before(pdb: Db, trader: User, still: Clock) -> None:
    unknown = unknown_order(pdb, trader, still)
    alive(pdb, trader.agent)
    ask: Callable[[], DictRow] = lambda: one(  # noqa: E731
        pdb, "read_create", user=trader.id, job_type="get_positions"
    )
    before = ask()
    report(pdb, trader.agent, deal("d1", NOON, comment=comment(unknown)))
    after = ask()
    report(pdb, trader.agent, deal("d2", NOON, entry="out", reason="sl"))
    last = ask()
    assert len({before["job_id"], after["job_id"], last["job_id"]}) == 3
    assert ask() == {**last, "joined": True}


# -- once


def test_a_deal_is_told_twice_in_one_report(pdb: Db, trader: User) -> None:
    same = deal("d1", NOON)
    assert report(pdb, trader.agent, same, same, {**same, "profit": 5}) == (3, 1, 0)
    assert losses(pdb, trader.id) == [(DAY, -0.7, None)]


def test_deals_of_two_accounts_may_have_one_number(pdb: Db, trader: User, bert: User) -> None:
    assert report(pdb, trader.agent, deal("d1", NOON)) == (1, 1, 0)
    assert report(pdb, bert.agent, deal("d1", NOON)) == (1, 1, 0)


def test_two_agents_of_an_account_tell_the_same(pdb: Db, trader: User) -> None:
    second = new_agent(pdb, trader.id, trader.account)
    assert report(pdb, trader.agent, deal("d1", NOON)) == (1, 1, 0)
    assert report(pdb, second, deal("d1", NOON)) == (1, 0, 0)
    assert losses(pdb, trader.id) == [(DAY, -0.7, None)]


def test_reports_at_once_count_once(pdb: Db, platform_url: str, trader: User, still: Clock) -> None:
    job_id = unknown_order(pdb, trader, still)
    deals = [deal("d0", NOON, comment=comment(job_id))]
    deals += [deal(f"d{n}", NOON, comment="", profit=-1) for n in range(1, 20)]
    together = threading.Barrier(6)

    def tell(turn: int) -> tuple[int, int, int]:
        with psycopg.connect(platform_url, autocommit=True, row_factory=dict_row) as conn:
            together.wait()
            return report(
                conn, trader.agent, *(deals if turn % 2 else deals[::-1]), account=ACCOUNT
            )

    with ThreadPoolExecutor(6) as threads:
        said = list(threads.map(tell, range(6)))
    assert sum(new for _, new, _ in said) == 20
    assert sum(resolved for *_, resolved in said) == 1
    assert events(pdb, job_id)[3:] == [("unknown", None), ("reconciled", None), ("filled", "d0")]
    assert losses(pdb, trader.id) == [(DAY, -33.0, 1033.0)]
    count = "select count(*) from public.account_snapshots where user_id = %s"
    assert row(pdb, count, trader.id) == {"count": 1}


@pytest.mark.parametrize("first", ["report", "result"])
def test_a_result_and_a_report_at_once_make_one_fill(
    pdb: Db, platform_url: str, trader: User, first: str
) -> None:
    """Whoever comes second waits for the first, whose fill may name no deal."""
    job_id = order(pdb, trader)["job_id"]
    job = sent(pdb, trader)
    acts: dict[str, Callable[[Db], Any]] = {
        "report": lambda db: report(db, trader.agent, deal("d1", NOON, comment=comment(job_id))),
        "result": lambda db: finish(db, job, "completed", {**FILL, "deal_id": None}),
    }
    (second,) = acts.keys() - {first}
    with (
        psycopg.connect(platform_url, autocommit=True, row_factory=dict_row) as conn,
        ThreadPoolExecutor(1) as threads,
    ):
        with pdb.transaction():
            acts[first](pdb)
            said = threads.submit(acts[second], conn)
            wait_until_blocked(pdb, conn.info.backend_pid)
        said.result(timeout=60)
    filled = ("filled", "d1") if first == "report" else ("filled", None)
    rest = [] if first == "report" else [("reconciled", "d1")]
    assert events(pdb, job_id)[3:] == [filled, *rest]
    assert losses(pdb, trader.id) == [(DAY, -0.7, None)]


# -- days


@pytest.mark.parametrize(
    "zone, midnight",
    [
        ("UTC", START),
        ("Asia/Tokyo", START + timedelta(hours=15)),  # nine hours before UTC's
        ("America/New_York", START + timedelta(hours=5)),
    ],
)
def test_a_day_begins_at_the_users_midnight(
    pdb: Db, still: Clock, anna: User, zone: str, midnight: datetime
) -> None:
    call(pdb, "settings_update", user=anna.id, changes={"timezone": zone})
    still.advance(24 * 3600)
    last, first = midnight - timedelta(microseconds=1), midnight
    report(pdb, anna.agent, deal("d1", last, profit=-1), deal("d2", first, profit=-2))
    days = [(midnight + timedelta(hours=h)).date() for h in (-1, 0)]
    local = {"UTC": 0, "Asia/Tokyo": 9, "America/New_York": -5}[zone]
    days = [(at + timedelta(hours=local)).date() for at in (last, first)]
    assert losses(pdb, anna.id) == [
        *((str(days[0]), -1.7, None), (str(days[1]), -2.7, None)),
    ]
    assert days[0] < days[1]


def test_the_gate_counts_the_users_day(pdb: Db, still: Clock, anna: User) -> None:
    """In Tokyo it is nine in the morning when UTC's day begins."""
    changes = {"timezone": "Asia/Tokyo", "daily_loss_limit_pct": 5}
    call(pdb, "settings_update", user=anna.id, changes=changes)
    still.advance(14 * 3600)
    alive(pdb, anna.agent)
    report(pdb, anna.agent, deal("d1", NOON, profit=-49.3, commission=-0.7), account=ACCOUNT)
    assert losses(pdb, anna.id) == [(DAY, -50.0, 1050.0)]
    order(pdb, anna)  # 4.8 percent
    report(pdb, anna.agent, deal("d2", NOON, profit=-1.8, commission=-0.7))
    refusal = ("FX422", "daily_loss_limit_reached", None)
    arguments = exact({"symbol": "EURUSD", "side": "buy", "volume": 0.1})
    assert refused(pdb, "order_create", user=anna.id, **arguments) == refusal
    one(pdb, "position_close", user=anna.id, ticket="p1")
    still.advance(3599)
    alive(pdb, anna.agent)
    assert refused(pdb, "order_create", user=anna.id, **arguments) == refusal
    still.advance(1)  # midnight in Tokyo
    order(pdb, anna)


def test_a_loss_of_nobody_knows_what_stops_orders(pdb: Db, trader: User) -> None:
    call(pdb, "settings_update", user=trader.id, changes={"daily_loss_limit_pct": 5})
    order(pdb, trader)  # no loss, no question
    report(pdb, trader.agent, deal("d1", NOON, profit=5))
    order(pdb, trader)
    report(pdb, trader.agent, deal("d2", NOON, profit=-10))
    arguments = exact({"symbol": "EURUSD", "side": "buy", "volume": 0.1})
    assert refused(pdb, "order_create", user=trader.id, **arguments) == (
        *("FX422", "risk_data_unavailable", None),
    )
    report(pdb, trader.agent, account=ACCOUNT)
    order(pdb, trader)


def test_no_deal_is_of_the_future(pdb: Db, trader: User) -> None:
    report(pdb, trader.agent, deal("d1", NOON + timedelta(days=400)))
    assert losses(pdb, trader.id) == [(DAY, -0.7, None)]


def test_a_deal_from_before_all_clocks_can_be_read(pdb: Db, trader: User) -> None:
    """In UTC it is of the year before the first, which Python has not."""
    job_id = order(pdb, trader)["job_id"]
    first = {**deal("d1", NOON), "time": "0001-01-01T00:00:00+14:00"}
    report(pdb, trader.agent, {**first, "comment": comment(job_id)})
    assert call(pdb, "order_events", user=trader.id, job_id=job_id)[-1]["deal_id"] == "d1"
    assert losses(pdb, trader.id) == [("1970-01-01", -0.7, None)]


def test_a_deal_is_of_the_day_on_which_it_was_made(pdb: Db, trader: User, still: Clock) -> None:
    still.advance(2 * 86400)
    report(pdb, trader.agent, deal("d1", NOON), account=ACCOUNT)
    assert losses(pdb, trader.id) == [(DAY, -0.7, None), ("2030-01-03", 0, 1000.0)]


# -- the account


def worth(db: Db, user: User) -> list[Any]:
    found = row(
        db,
        "select last_balance, last_equity, open_positions, snapshot_at"
        " from public.broker_connections where id = %s",
        user.account,
    )
    return list(found.values())


def test_the_account_has_the_newest_values_and_a_snapshot_a_minute(
    pdb: Db, trader: User, still: Clock
) -> None:
    report(pdb, trader.agent, account={**ACCOUNT, "open_positions": 2})
    assert worth(pdb, trader) == [1000, Decimal("990.5"), 2, NOON]
    still.advance(59)
    report(pdb, trader.agent, account={"balance": 900, "equity": 901})
    assert worth(pdb, trader) == [900, 901, 2, NOON + timedelta(seconds=59)]
    still.advance(1)
    report(pdb, trader.agent, account={"balance": 800})
    assert worth(pdb, trader)[:3] == [800, 901, 2]
    report(pdb, trader.agent, account={"open_positions": 0})
    assert worth(pdb, trader)[2] == 0
    report(pdb, trader.agent)
    found = pdb.execute(
        "select balance, equity, margin_used, margin_available, taken_at"
        " from public.account_snapshots where user_id = %s order by taken_at",
        (trader.id,),
    ).fetchall()
    assert [tuple(s.values()) for s in found] == [
        (1000, Decimal("990.5"), 10, Decimal("980.5"), NOON),
        (800, 800, None, None, NOON + timedelta(seconds=60)),
    ]


def test_the_base_of_a_day_is_its_first_report_less_what_was_realised(
    pdb: Db, trader: User, still: Clock
) -> None:
    report(pdb, trader.agent, deal("d1", NOON, profit=-99.3))
    report(pdb, trader.agent, account={"balance": 900})
    assert losses(pdb, trader.id) == [(DAY, -100.0, 1000.0)]
    report(pdb, trader.agent, deal("d2", NOON, profit=-9.3), account={"balance": 890})
    assert losses(pdb, trader.id) == [(DAY, -110.0, 1000.0)]
    still.advance(12 * 3600 - 30)
    report(pdb, trader.agent, account={"balance": 890})
    still.advance(30)  # a new day, though not yet a new snapshot
    report(pdb, trader.agent, account={"balance": 890})
    assert losses(pdb, trader.id)[1:] == [("2030-01-02", 0, 890.0)]


# -- refused


def test_an_agent_that_cannot_report(pdb: Db, trader: User) -> None:
    revoked = new_agent(pdb, trader.id, trader.account)
    call(pdb, "agent_revoke", user=trader.id, agent_id=revoked)
    for agent in (revoked, uuid4()):
        assert refused(pdb, "deals_report", agent_id=agent, deals="[]") == (
            *("FX404", "not_found", "agent_id"),
        )
    homeless = new_agent(pdb, new_user(pdb))
    assert refused(pdb, "deals_report", agent_id=homeless, deals="[]") == (
        *("FX409", "agent_without_account", "agent_id"),
    )


GOOD = deal("d1", NOON)
BAD: dict[str, tuple[Any, str]] = {
    "no list": ({}, "deals"),
    "too many": ([GOOD] * 501, "deals"),
    "no object": ([5], "deals[0].deal_id"),
    "no deal id": ([GOOD, {**GOOD, "deal_id": None}], "deals[1].deal_id"),
    "an empty deal id": ([{**GOOD, "deal_id": ""}], "deals[0].deal_id"),
    "a long deal id": ([{**GOOD, "deal_id": "x" * 65}], "deals[0].deal_id"),
    "no entry": ([{**GOOD, "entry": "open"}], "deals[0].entry"),
    "no volume": ([{**GOOD, "volume": None}], "deals[0].volume"),
    "no price": ([{**GOOD, "price": "x"}], "deals[0].price"),
    "no time": ([{**GOOD, "time": "today"}], "deals[0].time"),
    "no such time": ([{**GOOD, "time": "2030-02-31T00:00:00Z"}], "deals[0].time"),
    "no zone": ([{**GOOD, "time": "2030-02-01T00:00:00"}], "deals[0].time"),
    "a far zone": ([{**GOOD, "time": "2030-02-01T00:00:00+99:00"}], "deals[0].time"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_report_is_refused_whole(pdb: Db, trader: User, case: str) -> None:
    deals, field = BAD[case]
    assert refused(pdb, "deals_report", agent_id=trader.agent, deals=json.dumps(deals)) == (
        *("FX422", "invalid", field),
    )
    assert told(pdb, trader) == []


def test_an_account_is_an_object(pdb: Db, trader: User) -> None:
    assert refused(pdb, "deals_report", agent_id=trader.agent, deals="[]", account="5") == (
        "FX422",
        "invalid",
        "account",
    )


def test_only_the_service_reports(pdb: Db, trader: User) -> None:
    for function, arguments in (
        ("deals_report", {"agent_id": trader.agent, "deals": "[]"}),
        ("agent_claim", {"requests": "[]"}),
        ("agent_start", {"agent_ids": [], "job_ids": [], "lease_epochs": []}),
    ):
        assert refused(pdb, function, user=trader.id, **arguments)[0] == "42501"


def test_a_deal_of_a_user_who_is_gone_is_on_record(pdb: Db, trader: User) -> None:
    order(pdb, trader)
    job = sent(pdb, trader)
    pdb.execute("delete from auth.users where id = %s", (trader.id,))
    assert finish(pdb, job, "completed", FILL) == "ok"
    assert told(pdb, trader)[-1][:2] == ("filled", "d1")
    assert losses(pdb, trader.id) == []


def test_a_user_sees_the_users_own(pdb: Db, trader: User, bert: User) -> None:
    report(pdb, trader.agent, deal("d1", NOON), account=ACCOUNT)
    for table in ("trade_events", "daily_pnl", "account_snapshots"):
        query = f"select user_id from public.{table} where user_id = any (%s)"
        with pdb.transaction():
            pdb.execute("set local role authenticated")
            for user in (trader, bert):
                claims = json.dumps({"sub": str(user.id)})
                pdb.execute("select set_config('request.jwt.claims', %s, true)", (claims,))
                seen = pdb.execute(query.encode(), ([trader.id, bert.id],)).fetchall()
                assert {r["user_id"] for r in seen} == ({user.id} if user is trader else set())
