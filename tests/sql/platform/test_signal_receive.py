"""Every way of an alert: what it becomes, and why not."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.rows import dict_row

from jobengine.testing import Clock
from tests.sql.platform.alerts import Strategy, alert, counts, job_input, new_strategy, signal
from tests.sql.platform.helpers import (
    Db,
    User,
    call,
    claim,
    finish,
    new_trader,
    new_user,
    one,
    row,
    value,
    wait_until_blocked,
    work,
)
from tests.sql.platform.trading import alive, claimed, deal, report, send

FILL = {"ticket": "501", "position_id": "501", "fill_price": 1.1, "volume": 0.1, "symbol": "EURUSD"}


@pytest.fixture
def strategy(pdb: Db, anna: User) -> Strategy:
    return new_strategy(pdb, anna)


def settings(db: Db, user: User, **changes: Any) -> None:
    call(db, "settings_update", user=user.id, changes=changes)


def decided(answer: dict[str, Any]) -> tuple[str, str | None]:
    return answer["status"], answer["error_message"]


# -- what becomes an order


def test_an_alert_becomes_one_signal_one_job_and_one_event(
    pdb: Db, anna: User, strategy: Strategy
) -> None:
    answer = alert(pdb, strategy, volume=0.001, sl=1.0, tp=1.2)
    assert answer["known"]
    assert (answer["strategy_id"], decided(answer)) == (strategy.id, ("pending", None))
    magic = one(pdb, "strategy_get", user=anna.id, id=strategy.id)["magic"]
    assert job_input(pdb, answer["job_id"]) == {
        "symbol": "EURUSD", "side": "buy", "volume": 0.001, "sl": 1.0, "tp": 1.2, "magic": magic,
        "source": "tv_signal", "signal_id": str(answer["signal_id"]),
        "strategy_id": str(strategy.id),
    }  # fmt: skip
    event = row(
        pdb,
        "select event, signal_id, strategy_id from public.trade_events where job_id = %s",
        answer["job_id"],
    )
    assert event == {
        "event": "requested", "signal_id": answer["signal_id"], "strategy_id": strategy.id,
    }  # fmt: skip
    assert 0 < magic < 2**31


def test_a_secret_that_is_nobodys_writes_nothing(pdb: Db, anna: User, strategy: Strategy) -> None:
    answer = alert(pdb, strategy, secret="nobody's")
    assert not answer["known"]
    assert counts(pdb, anna) == (0, 0)


def test_the_same_signal_again_changes_nothing_and_answers_the_same(
    pdb: Db, anna: User, strategy: Strategy
) -> None:
    signal_id = uuid4()
    first = alert(pdb, strategy, signal_id=signal_id)
    again = alert(pdb, strategy, signal_id=signal_id)
    assert again == {**first, "replayed": True}
    assert counts(pdb, anna) == (1, 1)


def test_the_agent_fills_the_signal_in_the_finishing_transaction(
    pdb: Db, anna: User, strategy: Strategy
) -> None:
    answer = alert(pdb, strategy)
    work(pdb, anna.agent, "completed", {**FILL, "broker_order_id": "77"})
    found = signal(pdb, strategy, answer["signal_id"])
    assert (found["status"], float(found["fill_price"]), found["broker_order_id"]) == (
        "executed", 1.1, "77",
    )  # fmt: skip
    assert found["filled_at"] is not None
    assert found["reason"] is None


def test_a_refusal_of_the_broker_is_the_reason(pdb: Db, anna: User, strategy: Strategy) -> None:
    answer = alert(pdb, strategy)
    work(pdb, anna.agent, "failed", error="not enough money")
    found = signal(pdb, strategy, answer["signal_id"])
    assert (found["status"], found["reason"]) == ("failed", "not enough money")


# -- the gates, in their order


Prepare = Callable[[Db, User, Strategy], None]


def disabled(db: Db, user: User, strategy: Strategy) -> None:
    call(db, "strategy_update", user=user.id, id=strategy.id, changes={"is_enabled": False})


def halted(db: Db, user: User, strategy: Strategy) -> None:
    call(db, "kill_switch", user=user.id)


def reducing(db: Db, user: User, strategy: Strategy) -> None:
    call(db, "kill_switch", user=user.id, state="reducing")


def pairs(db: Db, user: User, strategy: Strategy) -> None:
    changes = {"allowed_pairs": ["GBP/USD"]}
    call(db, "strategy_update", user=user.id, id=strategy.id, changes=changes)


def sources(db: Db, user: User, strategy: Strategy) -> None:
    changes = {"allowed_sources": ["10.0.0.0/8"]}
    call(db, "strategy_update", user=user.id, id=strategy.id, changes=changes)


def nothing(db: Db, user: User, strategy: Strategy) -> None:
    pass


REFUSED: dict[str, tuple[Prepare, dict[str, Any], str]] = {
    "another address": (sources, {"source_ip": "192.0.2.1"}, "source_not_allowed"),
    "no address": (sources, {}, "source_not_allowed"),
    "disabled": (disabled, {}, "strategy_disabled"),
    "halted": (halted, {}, "trading_halted"),
    "reducing": (reducing, {}, "trading_reducing"),
    "no symbol": (nothing, {"symbol": None}, "invalid_payload"),
    "no action": (nothing, {"action": None}, "invalid_payload"),
    "another pair": (pairs, {}, "pair_not_allowed"),
    "no volume": (nothing, {"volume": None}, "volume_missing"),
    "nothing open": (nothing, {"action": "close"}, "position_not_found"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_gate_discards_the_signal_with_its_code(
    pdb: Db, anna: User, strategy: Strategy, name: str
) -> None:
    prepare, told, code = REFUSED[name]
    prepare(pdb, anna, strategy)
    answer = alert(pdb, strategy, **told)
    assert decided(answer) == ("discarded", code)
    found = signal(pdb, strategy, answer["signal_id"])
    assert found["reason"] not in (None, code)
    assert found["resolved_at"] is not None
    assert counts(pdb, anna) == (1, 0)


def test_the_gates_come_in_their_order(pdb: Db, anna: User, strategy: Strategy) -> None:
    """Each is taken away when it has spoken; then the next one speaks."""
    sources(pdb, anna, strategy)
    pairs(pdb, anna, strategy)
    halted(pdb, anna, strategy)
    disabled(pdb, anna, strategy)
    settings(pdb, anna, max_volume=0.05)
    free: list[tuple[str, Callable[[], object]]] = [
        ("source_not_allowed", lambda: change(allowed_sources=None)),
        ("strategy_disabled", lambda: change(is_enabled=True)),
        ("trading_halted", lambda: call(pdb, "kill_switch", user=anna.id, state="active")),
        ("pair_not_allowed", lambda: change(allowed_pairs=None)),
        ("volume_out_of_range", lambda: settings(pdb, anna, max_volume=None)),
    ]

    def change(**values: Any) -> None:
        call(pdb, "strategy_update", user=anna.id, id=strategy.id, changes=values)

    for code, take_away in free:
        assert decided(alert(pdb, strategy)) == ("discarded", code)
        take_away()
    assert decided(alert(pdb, strategy)) == ("pending", None)


def test_a_user_who_did_not_accept_the_disclaimer_trades_nothing(pdb: Db) -> None:
    user = new_user(pdb, onboarded=False)
    account = one(pdb, "broker_connection_create", user=user, name="demo")["id"]
    strategy = new_strategy(pdb, User(user, account, uuid4()))
    assert decided(alert(pdb, strategy)) == ("discarded", "onboarding_required")


# -- repeats


def test_an_id_is_used_once(pdb: Db, anna: User, strategy: Strategy) -> None:
    alert(pdb, strategy, dedup_key="id:1")
    assert decided(alert(pdb, strategy, dedup_key="id:1")) == ("discarded", "duplicate")
    assert counts(pdb, anna) == (2, 1)


def test_a_discarded_alert_may_come_again_with_its_id(
    pdb: Db, anna: User, strategy: Strategy
) -> None:
    disabled(pdb, anna, strategy)
    alert(pdb, strategy, dedup_key="id:1")
    call(pdb, "strategy_update", user=anna.id, id=strategy.id, changes={"is_enabled": True})
    assert decided(alert(pdb, strategy, dedup_key="id:1")) == ("pending", None)


@pytest.mark.parametrize("seconds, status", [(19.9, "discarded"), (20, "pending")])
def test_a_body_is_a_repeat_within_the_window_only(
    pdb: Db, strategy: Strategy, still: Clock, seconds: float, status: str
) -> None:
    alert(pdb, strategy, dedup_key="body:1")
    still.advance(seconds)
    assert alert(pdb, strategy, dedup_key="body:1")["status"] == status


def test_an_alert_that_is_told_late_is_judged_by_when_it_came(
    pdb: Db, anna: User, strategy: Strategy
) -> None:
    """The spool is drained after newer alerts were taken directly."""
    now = value(pdb, "_now")
    alert(pdb, strategy, dedup_key="body:1", at=now)
    earlier = alert(pdb, strategy, dedup_key="body:1", at=now - timedelta(seconds=60))
    assert earlier["status"] == "pending"
    repeat = alert(pdb, strategy, dedup_key="body:1", at=now + timedelta(seconds=1))
    assert decided(repeat) == ("discarded", "duplicate")


def test_a_strategy_may_take_repeats(pdb: Db, anna: User) -> None:
    strategy = new_strategy(pdb, anna, dedup_enabled=False)
    assert [alert(pdb, strategy, dedup_key="id:1")["status"] for _ in range(2)] == ["pending"] * 2


def test_two_that_come_at_once_make_one_order(
    pdb: Db, platform_url: str, anna: User, strategy: Strategy
) -> None:
    """The second waits for the first, whatever becomes of that."""
    with psycopg.connect(platform_url, autocommit=True, row_factory=dict_row) as other:
        found: list[tuple[str, str | None]] = []
        late = threading.Thread(
            target=lambda: found.append(decided(alert(other, strategy, dedup_key="body:1")))
        )
        with pdb.transaction():
            alert(pdb, strategy, dedup_key="body:1")
            late.start()
            with psycopg.connect(platform_url, autocommit=True, row_factory=dict_row) as third:
                wait_until_blocked(third, other.info.backend_pid)
        late.join(60)
    assert found == [("discarded", "duplicate")]


def test_a_strategy_goes_after_the_alerts_under_way_and_takes_their_orders(
    pdb: Db, platform_url: str, anna: User, strategy: Strategy
) -> None:
    with psycopg.connect(platform_url, autocommit=True, row_factory=dict_row) as other:
        removing = threading.Thread(
            target=lambda: call(other, "strategy_delete", user=anna.id, id=strategy.id)
        )
        with pdb.transaction():
            job_id = alert(pdb, strategy)["job_id"]
            removing.start()
            with psycopg.connect(platform_url, autocommit=True, row_factory=dict_row) as third:
                wait_until_blocked(third, other.info.backend_pid)
        removing.join(60)
    status = row(pdb, "select status from jobengine.jobs where job_id = %s", job_id)["status"]
    assert status == "cancelled"


def test_an_alert_whose_strategy_goes_meanwhile_is_nobodys(
    pdb: Db, platform_url: str, anna: User, strategy: Strategy
) -> None:
    with psycopg.connect(platform_url, autocommit=True, row_factory=dict_row) as other:
        found: list[bool] = []
        late = threading.Thread(target=lambda: found.append(alert(other, strategy)["known"]))
        with pdb.transaction():
            call(pdb, "strategy_delete", user=anna.id, id=strategy.id)
            late.start()
            with psycopg.connect(platform_url, autocommit=True, row_factory=dict_row) as third:
                wait_until_blocked(third, other.info.backend_pid)
        late.join(60)
    assert found == [False]


def test_beyond_the_webhooks_rate_an_alert_is_discarded_unread(
    pdb: Db, anna: User, strategy: Strategy
) -> None:
    answers = [alert(pdb, strategy, dedup_key="id:1", rate_limited=over) for over in (True, False)]
    assert [decided(found) for found in answers] == [
        *(("discarded", "rate_limited"), ("pending", None)),
    ]


def test_a_limit_of_orders_reads_the_last_minute_and_not_the_years(
    pdb: Db, anna: User, strategy: Strategy
) -> None:
    settings(pdb, anna, max_orders_per_minute=5)
    pdb.execute(
        "insert into public.trade_events (user_id, event, side, occurred_at)"
        " select %s, 'requested', 'buy', now() - n * interval '1 hour'"
        " from generate_series(1, 5000) n",
        (anna.id,),
    )
    pdb.execute("analyze public.trade_events")
    with pdb.transaction():
        assert alert(pdb, strategy)["status"] == "pending"
        read = row(
            pdb,
            "select seq_tup_read + idx_tup_fetch as rows from pg_stat_xact_user_tables"
            " where relid = 'public.trade_events'::regclass",
        )
    assert read["rows"] < 100


# -- volume, account, symbol, age


def test_the_volume_is_the_alerts_else_the_strategys_else_the_users(pdb: Db, anna: User) -> None:
    settings(pdb, anna, default_volume=0.3)
    strategy = new_strategy(pdb, anna, default_volume=0.2)
    plain = new_strategy(pdb, anna)
    volumes = [
        float(job_input(pdb, alert(pdb, s, volume=v)["job_id"])["volume"])
        for s, v in ((strategy, 0.1), (strategy, None), (plain, None))
    ]
    assert volumes == [0.1, 0.2, 0.3]


def test_a_strategy_without_an_account_takes_the_default_or_the_only_one(pdb: Db) -> None:
    user = new_user(pdb)
    strategy = new_strategy(pdb, User(user, uuid4(), uuid4()), broker_connection_id=None)
    assert decided(alert(pdb, strategy)) == ("discarded", "broker_connection_required")
    account = one(pdb, "broker_connection_create", user=user, name="demo")["id"]
    job = row(
        pdb, "select queue from jobengine.job where job_id = %s", alert(pdb, strategy)["job_id"]
    )
    assert job["queue"] == f"broker/{account}"


def test_the_account_spells_the_symbol(pdb: Db, anna: User, strategy: Strategy) -> None:
    call(
        pdb,
        "broker_connection_update",
        user=anna.id,
        id=anna.account,
        changes={"symbol_map": {"GOLD": "XAUUSD"}, "symbol_suffix": ".r"},
    )
    symbols = [
        job_input(pdb, alert(pdb, strategy, symbol=name)["job_id"])["symbol"]
        for name in ("EURUSD", "GOLD", "gold")
    ]
    assert symbols == ["EURUSD.r", "XAUUSD", "XAUUSD"]


def test_an_old_alert_makes_no_order(pdb: Db, anna: User, strategy: Strategy) -> None:
    now = value(pdb, "_now")
    old = alert(pdb, strategy, at=now - timedelta(seconds=301))
    assert decided(old) == ("discarded", "expired")
    for_ever = new_strategy(pdb, anna, expires_in=0)
    assert alert(pdb, for_ever, at=now - timedelta(days=2))["status"] == "pending"


def test_an_order_that_no_agent_takes_expires_with_its_alert(
    pdb: Db, anna: User, still: Clock
) -> None:
    strategy = new_strategy(pdb, anna, expires_in=60)
    answer = alert(pdb, strategy)
    still.advance(61)
    pdb.execute("select jobengine.sweep()")
    found = signal(pdb, strategy, answer["signal_id"])
    assert (found["status"], found["error_message"]) == ("discarded", "expired")


# -- closing


def opened(db: Db, strategy: Strategy, ticket: str, **told: Any) -> None:
    alert(db, strategy, **told)
    output = {**FILL, "ticket": ticket, "position_id": ticket, "side": told.get("action", "buy")}
    work(db, strategy.user.agent, "completed", {**output, "symbol": told.get("symbol", "EURUSD")})


def closing(db: Db, answer: dict[str, Any]) -> list[str]:
    found = db.execute(
        "select input ->> 'ticket' as ticket from jobengine.job where job_type = 'close_position'"
        " and meta ->> 'parent_id' = %s order by 1",
        (str(answer["signal_id"]),),
    ).fetchall()
    return [job["ticket"] for job in found]


def test_close_closes_what_the_strategy_opened_and_nobody_elses(
    pdb: Db, anna: User, strategy: Strategy
) -> None:
    other = new_strategy(pdb, anna)
    opened(pdb, strategy, "1")
    opened(pdb, strategy, "2", action="sell")
    opened(pdb, strategy, "3", symbol="GBPUSD")
    opened(pdb, other, "4")
    assert closing(pdb, alert(pdb, strategy, action="close_short")) == ["2"]
    assert closing(pdb, alert(pdb, strategy, action="close")) == ["1", "2"]
    assert closing(pdb, alert(pdb, strategy, action="close", symbol=None)) == ["1", "2", "3"]


def test_close_finds_a_symbol_however_the_alert_spells_it(
    pdb: Db, anna: User, strategy: Strategy
) -> None:
    """As opening does: the case of letters counts neither in the alert nor at the broker."""
    opened(pdb, strategy, "1")
    opened(pdb, strategy, "2", symbol="XAUUSD.A")
    alert(pdb, strategy, symbol="gbpusd")  # waits for its agent
    assert closing(pdb, alert(pdb, strategy, action="close", symbol="eurusd")) == ["1"]
    assert decided(alert(pdb, strategy, action="close", symbol="GBPUSD")) == (
        *("discarded", "orders_cancelled"),
    )
    call(pdb, "broker_connection_update", user=anna.id, id=anna.account,
         changes={"symbol_suffix": ".a"})  # fmt: skip
    assert closing(pdb, alert(pdb, strategy, action="close", symbol="xauusd")) == ["2"]


def test_close_finds_what_was_opened_on_an_account_before(pdb: Db, anna: User) -> None:
    """Each account spells the symbol in its own way."""
    call(pdb, "broker_connection_update", user=anna.id, id=anna.account,
         changes={"symbol_suffix": ".a"})  # fmt: skip
    strategy = new_strategy(pdb, anna)
    alert(pdb, strategy)
    filled = {**FILL, "ticket": "1", "position_id": "1", "side": "buy", "symbol": "EURUSD.a"}
    work(pdb, anna.agent, "completed", filled)
    moved = one(pdb, "broker_connection_create", user=anna.id, name="other")["id"]
    call(pdb, "strategy_update", user=anna.id, id=strategy.id,
         changes={"broker_connection_id": str(moved)})  # fmt: skip
    assert closing(pdb, alert(pdb, strategy, action="close")) == ["1"]


def nameless(db: Db, user: User, deal_id: str, **more: Any) -> None:
    """Tell a deal of position 7 that names no order: its broker keeps no comments."""
    report(db, user.agent, deal(deal_id, value(db, "_now"), position_id="7", **more))


def test_close_finds_what_a_deal_told_before_the_order_did(
    pdb: Db, anna: User, strategy: Strategy
) -> None:
    alert(pdb, strategy, volume=0.2)
    nameless(pdb, anna, "77", volume=0.2, commission=-0.7)
    filled = {**FILL, "ticket": "7", "position_id": "7", "deal_id": "77", "volume": 0.2}
    work(pdb, anna.agent, "completed", {**filled, "commission": -0.7})
    alive(pdb, anna.agent)
    one(pdb, "position_close", user=anna.id, ticket="7", volume=Decimal("0.1"))
    nameless(pdb, anna, "78", entry="out", side="sell", commission=0)
    half = {"closed_price": 1.2, "volume": 0.1, "pnl": 5, "symbol": "EURUSD", "ticket": "7"}
    work(pdb, anna.agent, "completed", {**half, "deal_id": "78"})
    assert closing(pdb, alert(pdb, strategy, action="close")) == ["7"]
    work(pdb, anna.agent, "completed", {**half, "deal_id": "79"})
    assert one(pdb, "kill_switch", user=anna.id, close_all=True)["closing"] == 0


def test_a_fill_that_a_deal_told_before_counts_once(
    pdb: Db, anna: User, strategy: Strategy
) -> None:
    alert(pdb, strategy)
    nameless(pdb, anna, "77", commission=-0.7)
    output = {**FILL, "position_id": "7", "deal_id": "77", "commission": -0.7}
    work(pdb, anna.agent, "completed", output)
    lost = row(pdb, "select sum(realized_pnl) from public.daily_pnl where user_id = %s", anna.id)
    assert lost["sum"] == Decimal("-0.70")


def test_on_a_netting_account_a_sale_is_less_of_what_was_bought(
    pdb: Db, anna: User, strategy: Strategy
) -> None:
    for side, volume in (("buy", 0.3), ("sell", 0.1)):
        alert(pdb, strategy, action=side, volume=volume)
        output = {**FILL, "position_id": "7", "side": side, "volume": volume}
        work(pdb, anna.agent, "completed", output)
    assert closing(pdb, alert(pdb, strategy, action="close_short")) == []
    assert closing(pdb, alert(pdb, strategy, action="close_long")) == ["7"]
    work(pdb, anna.agent, "failed", error="market closed")
    alert(pdb, strategy, action="sell", volume=0.2)
    work(pdb, anna.agent, "completed", {**FILL, "position_id": "7", "side": "sell", "volume": 0.2})
    assert decided(alert(pdb, strategy, action="close")) == ("discarded", "position_not_found")


def test_a_close_is_executed_when_all_positions_are_closed(
    pdb: Db, anna: User, strategy: Strategy
) -> None:
    opened(pdb, strategy, "1")
    opened(pdb, strategy, "2")
    answer = alert(pdb, strategy, action="close")
    closed = {"closed_price": 1.2, "volume": 0.1, "pnl": 5, "symbol": "EURUSD"}
    work(pdb, anna.agent, "completed", {**closed, "deal_id": "91"})
    assert signal(pdb, strategy, answer["signal_id"])["status"] == "pending"
    work(pdb, anna.agent, "completed", {**closed, "closed_price": 1.4, "deal_id": "92"})
    found = signal(pdb, strategy, answer["signal_id"])
    assert (found["status"], round(float(found["fill_price"]), 8)) == ("executed", 1.3)
    assert decided(alert(pdb, strategy, action="close")) == ("discarded", "position_not_found")


def test_a_close_that_fails_for_one_position_has_failed(
    pdb: Db, anna: User, strategy: Strategy
) -> None:
    opened(pdb, strategy, "1")
    answer = alert(pdb, strategy, action="close")
    work(pdb, anna.agent, "failed", error="market closed")
    found = signal(pdb, strategy, answer["signal_id"])
    assert (found["status"], found["reason"]) == ("failed", "market closed")


def test_a_close_in_part_has_failed_and_the_rest_can_be_closed(
    pdb: Db, anna: User, strategy: Strategy
) -> None:
    opened(pdb, strategy, "1")
    answer = alert(pdb, strategy, action="close")
    part = {"closed_price": 1.2, "volume": 0.06, "pnl": 5, "retcode": 10010, "ticket": "1"}
    work(pdb, anna.agent, "completed", part)
    found = signal(pdb, strategy, answer["signal_id"])
    assert (found["status"], found["error_message"]) == ("failed", "partially_filled")
    assert found["fill_price"] == Decimal("1.2")
    assert closing(pdb, alert(pdb, strategy, action="close")) == ["1"]


def test_a_close_passes_the_kill_switch(pdb: Db, anna: User, strategy: Strategy) -> None:
    opened(pdb, strategy, "1")
    halted(pdb, anna, strategy)
    assert decided(alert(pdb, strategy, action="close")) == ("pending", None)


def test_a_close_needs_no_stops_and_closes_no_symbol_that_cannot_be_read(
    pdb: Db, anna: User, strategy: Strategy
) -> None:
    """-1 and the empty text are what could not be read (api.alerts)."""
    opened(pdb, strategy, "1")
    unread = alert(pdb, strategy, action="close", symbol="")
    assert (decided(unread), closing(pdb, unread)) == (("discarded", "invalid_payload"), [])
    assert signal(pdb, strategy, unread["signal_id"])["symbol"] is None
    assert closing(pdb, alert(pdb, strategy, action="close", sl=-1.0, tp=-1.0)) == ["1"]


def test_a_close_cancels_orders_of_the_strategy_that_wait(
    pdb: Db, anna: User, strategy: Strategy
) -> None:
    waiting = alert(pdb, strategy)
    assert decided(alert(pdb, strategy, action="close")) == ("discarded", "orders_cancelled")
    assert signal(pdb, strategy, waiting["signal_id"])["status"] == "discarded"


# -- the kill switch


def test_the_kill_switch_halts_cancels_and_closes_in_one_call(
    pdb: Db, anna: User, strategy: Strategy
) -> None:
    opened(pdb, strategy, "1")
    alert(pdb, strategy)
    answer = one(pdb, "kill_switch", user=anna.id, close_all=True)
    assert answer == {"trading_state": "halted", "cancelled": 1, "closing": 1}
    job = claim(pdb, anna.agent)
    assert job
    assert job["job_type"] == "close_position"
    noted = row(
        pdb,
        "select detail from public.audit_log where user_id = %s and action = 'kill_switch'",
        anna.id,
    )
    assert noted["detail"]["closing"] == 1


def test_the_kill_switch_lets_an_order_alone_that_was_begun(
    pdb: Db, anna: User, strategy: Strategy
) -> None:
    answer = alert(pdb, strategy)
    job = claim(pdb, anna.agent)
    assert job
    assert one(pdb, "kill_switch", user=anna.id)["cancelled"] == 0
    assert finish(pdb, job, "completed", FILL) == "ok"
    assert signal(pdb, strategy, answer["signal_id"])["status"] == "executed"


def test_the_kill_switch_is_its_users_alone(pdb: Db, anna: User, strategy: Strategy) -> None:
    bert = new_trader(pdb)
    alert(pdb, strategy)
    assert one(pdb, "kill_switch", user=bert.id, close_all=True) == {
        "trading_state": "halted", "cancelled": 0, "closing": 0,
    }  # fmt: skip
    assert alert(pdb, strategy)["status"] == "pending"


# -- losses of the day


def to_time(db: Db, clock: Clock, text: str) -> datetime:
    """Have it be that time."""
    at: datetime = row(db, "select %s::timestamptz as at", text)["at"]
    clock.advance((at - value(db, "_now")).total_seconds())
    return at


def lose(db: Db, user: User, at: datetime, amount: float, balance: float | None = 1000) -> None:
    """Tell a deal that lost so much, and what the account is worth after a day of 1000."""
    loss = deal(str(uuid4()), at, entry="out", profit=-amount, commission=0)
    worth = {"balance": balance, "equity": balance} if balance else None
    report(db, user.agent, loss, account=worth)


def test_a_loss_beyond_the_limit_discards_and_the_next_day_does_not(
    pdb: Db, anna: User, strategy: Strategy, still: Clock
) -> None:
    settings(pdb, anna, daily_loss_limit_pct=5, timezone="Europe/Berlin")
    noon = to_time(pdb, still, "2031-03-10 12:00+01")
    lose(pdb, anna, noon, 49.99, balance=950.01)
    assert decided(alert(pdb, strategy)) == ("pending", None)
    lose(pdb, anna, noon, 0.01, balance=950)
    assert decided(alert(pdb, strategy)) == ("discarded", "daily_loss_limit_reached")
    to_time(pdb, still, "2031-03-10 23:59:59.9+01")
    assert decided(alert(pdb, strategy)) == ("discarded", "daily_loss_limit_reached")
    to_time(pdb, still, "2031-03-11 00:00+01")
    assert decided(alert(pdb, strategy)) == ("pending", None)


def test_the_strategys_own_limit_counts(pdb: Db, anna: User, still: Clock) -> None:
    settings(pdb, anna, daily_loss_limit_pct=5)
    noon = to_time(pdb, still, "2031-03-10 12:00+00")
    lose(pdb, anna, noon, 20, balance=980)
    strict = new_strategy(pdb, anna, risk_override_pct=2)
    assert decided(alert(pdb, strict)) == ("discarded", "daily_loss_limit_reached")
    assert decided(alert(pdb, new_strategy(pdb, anna))) == ("pending", None)


def test_a_loss_of_nobody_knows_what_discards(
    pdb: Db, anna: User, strategy: Strategy, still: Clock
) -> None:
    settings(pdb, anna, daily_loss_limit_pct=5)
    noon = to_time(pdb, still, "2031-03-10 12:00+00")
    lose(pdb, anna, noon, 1, balance=None)
    assert decided(alert(pdb, strategy)) == ("discarded", "risk_data_unavailable")


def test_losses_speak_before_the_limits(
    pdb: Db, anna: User, strategy: Strategy, still: Clock
) -> None:
    settings(pdb, anna, daily_loss_limit_pct=5, max_volume=0.01)
    noon = to_time(pdb, still, "2031-03-10 12:00+00")
    lose(pdb, anna, noon, 60, balance=940)
    assert decided(alert(pdb, strategy)) == ("discarded", "daily_loss_limit_reached")


def test_too_many_orders_in_a_minute_are_discarded(
    pdb: Db, anna: User, strategy: Strategy, still: Clock
) -> None:
    settings(pdb, anna, max_orders_per_minute=2)
    codes = [alert(pdb, strategy)["error_message"] for _ in range(3)]
    assert codes == [None, None, "rate_limited"]
    still.advance(60)
    assert decided(alert(pdb, strategy)) == ("pending", None)


def test_errors_of_the_broker_discard_for_a_while_and_closing_passes(
    pdb: Db, anna: User, strategy: Strategy, still: Clock
) -> None:
    for _ in range(2):
        alert(pdb, strategy)
        work(pdb, anna.agent, "rejected", {"error_code": "trade_disabled"})
    answer = alert(pdb, strategy)
    assert decided(answer) == ("discarded", "broker_errors")
    assert signal(pdb, strategy, answer["signal_id"])["reason"].startswith("The broker refused")
    closing = alert(pdb, strategy, action="close")
    assert decided(closing) == ("discarded", "position_not_found")  # as at any other time
    still.advance(30)
    assert decided(alert(pdb, strategy)) == ("pending", None)


# -- the way


def test_every_hop_of_a_signal_has_its_milliseconds(
    pdb: Db, anna: User, strategy: Strategy, still: Clock
) -> None:
    received = value(pdb, "_now")
    still.advance(0.001)
    answer = alert(pdb, strategy, at=received)
    still.advance(0.010)
    job = claimed(pdb, anna)
    still.advance(0.100)
    assert send(pdb, anna, job) == "ok"
    still.advance(1)
    assert finish(pdb, job, "completed", FILL) == "ok"
    found = signal(pdb, strategy, answer["signal_id"])
    hops = [float(found[f"{hop}_ms"]) for hop in ("decided", "claimed", "sent", "filled", "total")]
    assert hops == [1, 10, 100, 1000, 1111]
