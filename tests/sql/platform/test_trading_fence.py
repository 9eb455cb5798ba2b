"""After the kill switch no trade is begun, whoever has claimed it; what closes goes on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import dict_row

from jobengine.testing import Clock
from tests.sql.platform.helpers import (
    Db,
    User,
    call,
    claim,
    finish,
    new_signal,
    one,
    row,
    wait_until_blocked,
)
from tests.sql.platform.trading import (
    alert_order,
    alive,
    claimed,
    events,
    order,
    ordered,
    send,
    sent,
)

STATES = ("halted", "reducing")


@pytest.fixture
def trader(pdb: Db, still: Clock, anna: User) -> User:
    alive(pdb, anna.agent)
    return anna


def switch(db: Db, user: User, state: str) -> None:
    """Change the state and nothing else: no order is cancelled by it."""
    one(db, "kill_switch", user=user.id, state=state, cancel_pending=False)


def end(db: Db, user: User, job_id: UUID) -> tuple[str, str | None]:
    found = ordered(db, user, job_id)
    return found["status"], found["message"]


@pytest.mark.parametrize("state", STATES)
def test_a_claimed_trade_is_not_begun(pdb: Db, trader: User, state: str) -> None:
    order(pdb, trader)
    job = claimed(pdb, trader)
    switch(pdb, trader, state)
    assert send(pdb, trader, job) == "stale_lease"
    assert end(pdb, trader, job["job_id"]) == ("cancelled", f"trading_{state}")
    assert [name for name, _ in events(pdb, job["job_id"])] == ["requested", "claimed", "cancelled"]


def test_settings_stop_trades_too(pdb: Db, trader: User) -> None:
    order(pdb, trader)
    job = claimed(pdb, trader)
    call(pdb, "settings_update", user=trader.id, changes={"trading_state": "halted"})
    assert send(pdb, trader, job) == "stale_lease"


def test_a_close_is_begun_and_so_is_a_strangers_trade(pdb: Db, trader: User, bert: User) -> None:
    alive(pdb, bert.agent)
    switch(pdb, trader, "halted")
    one(pdb, "position_close", user=trader.id, ticket="1")
    order(pdb, bert)
    leases = [(trader, claimed(pdb, trader)), (bert, claimed(pdb, bert))]
    started = call(
        pdb,
        "agent_start",
        agent_ids=[user.agent for user, _ in leases],
        job_ids=[job["job_id"] for _, job in leases],
        lease_epochs=[job["lease_epoch"] for _, job in leases],
    )
    assert [one["verdict"] for one in started] == ["ok", "ok"]


def test_a_trade_that_was_begun_stays_begun(pdb: Db, trader: User) -> None:
    order(pdb, trader)
    job = sent(pdb, trader)
    switch(pdb, trader, "halted")
    assert send(pdb, trader, job) == "duplicate"
    assert end(pdb, trader, job["job_id"]) == ("sent", None)


def test_an_order_that_was_put_back_is_not_begun(pdb: Db, trader: User) -> None:
    """An operator's retry passes no gate."""
    job_id = order(pdb, trader)["job_id"]
    assert finish(pdb, sent(pdb, trader), "rejected") == "ok"
    one(pdb, "kill_switch", user=trader.id)
    pdb.execute("select jobengine.retry(array[%s::uuid])", (job_id,))
    assert send(pdb, trader, claimed(pdb, trader)) == "stale_lease"
    assert end(pdb, trader, job_id) == ("cancelled", "trading_halted")


@pytest.mark.parametrize("state", STATES)
def test_the_technical_plans_claim_takes_no_trade(pdb: Db, trader: User, state: str) -> None:
    job_id = order(pdb, trader)["job_id"]
    close = one(pdb, "position_close", user=trader.id, ticket="1")["job_id"]
    switch(pdb, trader, state)
    taken = claim(pdb, trader.agent)
    assert taken is not None
    assert taken["id"] == close
    assert end(pdb, trader, job_id) == ("cancelled", f"trading_{state}")


def test_a_signal_says_why_its_trade_was_not_begun(pdb: Db, trader: User) -> None:
    signal = new_signal(pdb, trader.id)
    alert_order(
        pdb,
        trader,
        signal,
        {"symbol": "EURUSD", "side": "buy", "volume": 0.1, "source": "tv_signal"},
    )
    job = claimed(pdb, trader)
    switch(pdb, trader, "halted")
    send(pdb, trader, job)
    found = row(pdb, "select status, error_message from public.tv_signals where id = %s", signal)
    assert found == {"status": "discarded", "error_message": "trading_halted"}


# -- who is first


def test_a_start_waits_for_the_switch_and_obeys_it(
    pdb: Db, platform_url: str, trader: User
) -> None:
    order(pdb, trader)
    job = claimed(pdb, trader)
    with other(platform_url) as conn, ThreadPoolExecutor(1) as threads:
        with pdb.transaction():
            switch(pdb, trader, "halted")
            start = threads.submit(send, conn, trader, job)
            wait_until_blocked(pdb, conn.info.backend_pid)
        assert start.result(timeout=60) == "stale_lease"
    assert end(pdb, trader, job["job_id"])[0] == "cancelled"


def test_the_switch_waits_for_a_start_that_was_first(
    pdb: Db, platform_url: str, trader: User
) -> None:
    """So whoever hears that trading is halted knows all that was begun."""
    order(pdb, trader)
    job = claimed(pdb, trader)
    with other(platform_url) as conn, ThreadPoolExecutor(1) as threads:
        with pdb.transaction():
            assert send(pdb, trader, job) == "ok"
            halt = threads.submit(switch, conn, trader, "halted")
            wait_until_blocked(pdb, conn.info.backend_pid)
        halt.result(timeout=60)
    assert end(pdb, trader, job["job_id"])[0] == "sent"


def other(url: str) -> psycopg.Connection[dict[str, Any]]:
    return psycopg.connect(url, autocommit=True, row_factory=dict_row)
