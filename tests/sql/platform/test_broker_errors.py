"""An account whose broker refuses its orders is paused, and how it comes back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from forex_agent.retcodes import RETCODES
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import Jsonb

from jobengine.testing import Clock
from tests.sql.platform.helpers import (
    Db,
    User,
    finish,
    new_agent,
    one,
    refused,
    row,
    wait_until_blocked,
)
from tests.sql.platform.trading import FILL, alive, exact, order, sent

PAUSE = 30
PAUSED = ("FX503", "broker_errors", None)
BASE = exact({"symbol": "EURUSD", "side": "buy", "volume": 0.1})
# What the words of docs/agent.md say of the broker.
WORDS = {
    **dict.fromkeys(("trade_disabled", "market_closed", "no_money"), "hard"),
    **dict.fromkeys(("requote", "rejected", "timeout", "disconnected"), "soft"),
    "a word of another agent": "soft",
    **dict.fromkeys(("invalid_input", "invalid_stops", "volume_out_of_range"), None),
    **dict.fromkeys(("unknown_symbol", "unsupported_filling", "position_not_found"), None),
    **dict.fromkeys(("not_sent", "expired", "cancelled", "kill_file"), None),
    **dict.fromkeys(("trading_halted", "trading_reducing"), None),
}


@pytest.fixture
def trader(pdb: Db, still: Clock, anna: User) -> User:
    """A user whose agent is there."""
    alive(pdb, anna.agent)
    return anna


def held(db: Db, user: User, count: int) -> list[DictRow]:
    """Put so many orders in and begin them."""
    for _ in range(count):
        order(db, user)
    return [sent(db, user) for _ in range(count)]


def end(db: Db, job: DictRow, *words: str) -> None:
    """End an order as the agent's word says; without one it is filled."""
    if words:
        assert finish(db, job, "rejected", {"error_code": words[0]}) == "ok"
    else:
        assert finish(db, job, "completed", FILL) == "ok"


def fails(db: Db, user: User, *words: str) -> None:
    """Let an order fail for each word, one after the other."""
    for word in words:
        [job] = held(db, user, 1)
        end(db, job, word)


def fills(db: Db, user: User, count: int = 1) -> None:
    for job in held(db, user, count):
        end(db, job)


def paused(db: Db, user: User) -> bool:
    """Whether the gate refuses for the broker's errors; nothing else refuses here."""
    gate = "select public._gate(%s, 'EURUSD', 0.1, null, %s) as code"
    code = row(db, gate, user.id, user.account)["code"]
    assert code in (None, "broker_errors")
    return code is not None


def pause(db: Db, user: User) -> None:
    fails(db, user, "no_money", "no_money")
    assert paused(db, user)


def test_each_word_of_the_agent_is_known(pdb: Db) -> None:
    told = {
        word: row(pdb, "select public._broker_error(%s) as kind", word)["kind"] for word in WORDS
    }
    assert told == WORDS
    assert {answer.code for answer in RETCODES.values()} - {""} <= WORDS.keys()
    assert row(pdb, "select public._broker_error(null) as kind")["kind"] is None


@pytest.mark.parametrize("word, most", [("requote", 5), ("no_money", 2)])
def test_so_many_errors_are_a_pause(pdb: Db, trader: User, word: str, most: int) -> None:
    fails(pdb, trader, *[word] * (most - 1))
    assert not paused(pdb, trader)
    fails(pdb, trader, word)
    assert refused(pdb, "order_create", user=trader.id, **BASE) == PAUSED


def test_soft_and_hard_errors_are_counted_apart(pdb: Db, trader: User) -> None:
    fails(pdb, trader, "market_closed", *["timeout"] * 4)
    assert not paused(pdb, trader)
    fails(pdb, trader, "rejected")
    assert paused(pdb, trader)


def test_a_fill_sets_the_counts_to_zero(pdb: Db, trader: User) -> None:
    fails(pdb, trader, "no_money", *["requote"] * 4)
    fills(pdb, trader)
    fails(pdb, trader, "no_money", *["requote"] * 4)
    assert not paused(pdb, trader)


def test_a_pause_lasts_thirty_seconds(pdb: Db, trader: User, still: Clock) -> None:
    pause(pdb, trader)
    still.advance(PAUSE - 0.000001)
    assert refused(pdb, "order_create", user=trader.id, **BASE) == PAUSED
    still.advance(0.000001)
    order(pdb, trader)


def test_a_pause_is_of_new_trades_of_its_account(pdb: Db, trader: User) -> None:
    """Orders among the jobs too; closes pass, and the user's other accounts trade."""
    pause(pdb, trader)
    posted = {"job_type": "trade", "input": {"symbol": "EURUSD", "volume": 0.1}}
    assert refused(pdb, "job_create", user=trader.id, agent_id=trader.agent, **posted) == PAUSED
    one(pdb, "position_close", user=trader.id, ticket="p1", broker_connection_id=trader.account)
    other = one(pdb, "broker_connection_create", user=trader.id, name="other")["id"]
    alive(pdb, new_agent(pdb, trader.id, other))
    order(pdb, trader, broker_connection_id=other)


@pytest.mark.parametrize("word", ["requote", "no_money"])
@pytest.mark.parametrize("fills_before", [0, 1])
def test_one_more_error_pauses_again(
    pdb: Db, trader: User, still: Clock, word: str, fills_before: int
) -> None:
    pause(pdb, trader)
    still.advance(PAUSE)
    fills(pdb, trader, fills_before)
    fails(pdb, trader, word)
    assert paused(pdb, trader)
    still.advance(PAUSE)
    fills(pdb, trader)  # the one before the error is forgotten
    fails(pdb, trader, word)
    assert paused(pdb, trader)


def test_two_fills_in_a_row_end_it(pdb: Db, trader: User, still: Clock) -> None:
    pause(pdb, trader)
    still.advance(PAUSE)
    fills(pdb, trader, 2)
    fails(pdb, trader, "no_money", *["requote"] * 4)
    assert not paused(pdb, trader)
    fails(pdb, trader, "no_money")
    assert paused(pdb, trader)


def test_what_was_put_in_before_a_pause_counts_for_nothing_in_it(
    pdb: Db, trader: User, still: Clock
) -> None:
    """It makes the pause neither longer nor shorter."""
    jobs = held(pdb, trader, 6)
    for job in jobs[:2]:
        end(pdb, job, "no_money")
    still.advance(PAUSE - 1)
    end(pdb, jobs[2], "no_money")
    for job in jobs[3:5]:
        end(pdb, job)
    assert paused(pdb, trader)
    still.advance(1)
    assert not paused(pdb, trader)
    end(pdb, jobs[5], "requote")
    assert paused(pdb, trader)


@pytest.mark.parametrize("word", ["invalid_stops", "not_sent"])
def test_the_orders_own_fault_is_not_the_brokers(pdb: Db, trader: User, word: str) -> None:
    """Nor does it end a row of errors."""
    fails(pdb, trader, "no_money", *[word] * 6)
    assert not paused(pdb, trader)
    fails(pdb, trader, "no_money")
    assert paused(pdb, trader)


def test_closes_do_not_count(pdb: Db, trader: User) -> None:
    for number in range(2):
        one(pdb, "position_close", user=trader.id, ticket=str(number))
        end(pdb, sent(pdb, trader), "no_money")
    assert not paused(pdb, trader)


def test_an_unknown_order_is_a_soft_error_once(pdb: Db, trader: User) -> None:
    jobs = held(pdb, trader, 4)
    for job in jobs:
        assert finish(pdb, job, "unknown", {"outcome": "unknown"}) == "ok"
        end(pdb, job, "no_money")  # known later: it is no news of the broker
    assert not paused(pdb, trader)
    fails(pdb, trader, "timeout")
    assert paused(pdb, trader)


def test_ends_at_once_are_counted_one_by_one(pdb: Db, platform_url: str, trader: User) -> None:
    fails(pdb, trader, *["requote"] * 3)
    first, second = held(pdb, trader, 2)
    with (
        psycopg.connect(platform_url, autocommit=True, row_factory=dict_row) as conn,
        ThreadPoolExecutor(1) as threads,
    ):
        with pdb.transaction():
            end(pdb, first, "requote")
            said = threads.submit(end, conn, second, "requote")
            wait_until_blocked(pdb, conn.info.backend_pid)
        said.result(timeout=60)
    assert paused(pdb, trader)


def test_ends_of_one_call_are_counted_one_by_one(pdb: Db, trader: User) -> None:
    jobs = held(pdb, trader, 2)
    pdb.execute(
        "select jobengine.finish(%s::uuid[], %s::integer[], %s::text[], %s::jsonb[])",
        (
            [job["job_id"] for job in jobs],
            [job["lease_epoch"] for job in jobs],
            ["rejected"] * 2,
            [Jsonb({"error_code": "no_money"})] * 2,
        ),
    )
    assert paused(pdb, trader)


def test_a_fill_writes_nothing_where_nothing_is_counted(pdb: Db, trader: User) -> None:
    version = "select ctid::text as at from public.broker_connections where id = %s"
    before = row(pdb, version, trader.account)
    fills(pdb, trader)
    assert row(pdb, version, trader.account) == before
    fails(pdb, trader, "requote")
    assert row(pdb, version, trader.account) != before
