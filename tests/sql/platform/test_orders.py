"""Orders: put in, claimed, sent, ended, and how a user sees them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from jobengine.testing import Clock
from jobengine.testing.clock import START
from tests.sql.platform.helpers import (
    Db,
    User,
    call,
    claim,
    finish,
    new_agent,
    new_job,
    new_signal,
    new_user,
    one,
    refused,
    row,
    wait_until_blocked,
    work,
)
from tests.sql.platform.trading import (
    FILL,
    alert_order,
    alive,
    claimed,
    comment,
    deal,
    events,
    exact,
    order,
    ordered,
    request,
    send,
    sent,
)

NOBODY = UUID("00000000-0000-7000-8000-00000000dead")
BASE: dict[str, Any] = {"symbol": "EURUSD", "side": "buy", "volume": Decimal("0.1")}


@pytest.fixture
def trader(pdb: Db, still: Clock, anna: User) -> User:
    """A user whose agent is there."""
    alive(pdb, anna.agent)
    return anna


@pytest.fixture
def stranger(pdb: Db, still: Clock, bert: User) -> User:
    alive(pdb, bert.agent)
    return bert


def statuses(db: Db, user: User, **filters: Any) -> list[tuple[UUID, str]]:
    return [(o["order_id"], o["status"]) for o in call(db, "order_list", user=user.id, **filters)]


# -- put in


def test_an_order_goes_to_the_agent_of_its_account(pdb: Db, trader: User) -> None:
    made = order(pdb, trader, sl=1.05, tp=1.2, deviation=20, client_order_id="c-1")
    assert made == {
        "job_id": made["job_id"],
        "agent_id": trader.agent,
        "broker_connection_id": trader.account,
        "replayed": False,
    }
    job = one(pdb, "job_get", user=trader.id, job_id=made["job_id"])
    assert job["queue"] == f"agent/{trader.agent}"
    assert job["input_data"] == {
        "symbol": "EURUSD",
        "side": "buy",
        "volume": 0.1,
        "sl": 1.05,
        "tp": 1.2,
        "deviation": 20,
        "source": "manual",
    }
    assert (job["expires_at"] - job["created_at"]).total_seconds() == 60
    assert events(pdb, made["job_id"]) == [("requested", None)]


@pytest.mark.parametrize("expires_in, seconds", [(None, 60), (5, 5), (0, None)])
def test_an_order_expires(
    pdb: Db, trader: User, expires_in: float | None, seconds: float | None
) -> None:
    found = ordered(pdb, trader, order(pdb, trader, expires_in=expires_in)["job_id"])
    left = found["expires_at"] and (found["expires_at"] - found["created_at"]).total_seconds()
    assert left == seconds


REFUSALS: dict[str, tuple[dict[str, Any], tuple[str, str, str | None]]] = {
    "no symbol": ({"symbol": ""}, ("FX422", "invalid", "symbol")),
    "null symbol": ({"symbol": None}, ("FX422", "invalid", "symbol")),
    "long symbol": ({"symbol": "x" * 33}, ("FX422", "invalid", "symbol")),
    "side": ({"side": "long"}, ("FX422", "invalid", "side")),
    "no volume": ({"volume": None}, ("FX422", "invalid", "volume")),
    "zero volume": ({"volume": 0}, ("FX422", "invalid", "volume")),
    "volume that rounds to none": ({"volume": 0.000000001}, ("FX422", "invalid", "volume")),
    "huge volume": ({"volume": 10**11}, ("FX422", "invalid", "volume")),
    "volume that is no number": ({"volume": "NaN"}, ("FX422", "invalid", "volume")),
    "sl": ({"sl": 0}, ("FX422", "invalid", "sl")),
    "tp": ({"tp": -1}, ("FX422", "invalid", "tp")),
    "tp that is no number": ({"tp": "NaN"}, ("FX422", "invalid", "tp")),
    "client_order_id": ({"client_order_id": "x" * 256}, ("FX422", "invalid", "client_order_id")),
    "expires_in": ({"expires_in": -1}, ("FX422", "invalid", "expires_in")),
    "long life": ({"expires_in": 86401}, ("FX422", "invalid", "expires_in")),
    "deviation": ({"deviation": -1}, ("FX422", "invalid", "deviation")),
    "empty key": ({"key": "", "request_hash": b"x"}, ("FX422", "invalid", "key")),
    "long key": ({"key": "x" * 256, "request_hash": b"x"}, ("FX422", "invalid", "key")),
    "no hash": ({"key": "k"}, ("FX422", "invalid", "request_hash")),
    "nobody's account": (
        {"broker_connection_id": NOBODY},
        ("FX404", "not_found", "broker_connection_id"),
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_is_no_order_is_refused(pdb: Db, trader: User, case: str) -> None:
    changes, refusal = REFUSALS[case]
    arguments = exact({**BASE, **changes})
    assert refused(pdb, "order_create", user=trader.id, **arguments) == refusal
    assert statuses(pdb, trader) == []


def test_who_is_not_onboarded_does_not_trade(pdb: Db, still: Clock) -> None:
    user = new_user(pdb, onboarded=False)
    expected = ("FX403", "onboarding_required", None)
    assert refused(pdb, "order_create", user=user, **BASE) == expected
    assert refused(pdb, "position_close", user=user, ticket="1") == expected


def test_only_a_user_has_orders(pdb: Db) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        call(pdb, "order_create", **BASE)


# -- which account, which agent


def test_without_an_account_there_is_no_order(pdb: Db, still: Clock) -> None:
    user = new_user(pdb)
    assert refused(pdb, "order_create", user=user, **BASE) == (
        *("FX422", "broker_connection_required", "broker_connection_id"),
    )


def test_of_several_accounts_the_default_one_else_it_must_be_named(pdb: Db, trader: User) -> None:
    other = one(pdb, "broker_connection_create", user=trader.id, name="second")["id"]
    agent = new_agent(pdb, trader.id, other)
    alive(pdb, agent)
    assert order(pdb, trader)["broker_connection_id"] == trader.account
    assert order(pdb, trader, broker_connection_id=other)["agent_id"] == agent
    pdb.execute("update public.broker_connections set is_default = false")
    assert refused(pdb, "order_create", user=trader.id, **BASE) == (
        *("FX422", "broker_connection_required", "broker_connection_id"),
    )


def test_the_only_account_needs_not_be_the_default(pdb: Db, trader: User) -> None:
    pdb.execute("update public.broker_connections set is_default = false")
    assert order(pdb, trader)["broker_connection_id"] == trader.account


def test_a_strangers_account_is_not_there(pdb: Db, trader: User, stranger: User) -> None:
    for function, arguments in (
        ("order_create", BASE),
        ("position_close", {"ticket": "1"}),
        ("read_create", {"job_type": "get_account"}),
        ("trading_agent", {}),
    ):
        assert refused(
            pdb, function, user=trader.id, broker_connection_id=stranger.account, **arguments
        ) == ("FX404", "not_found", "broker_connection_id")


def test_the_agent_that_was_seen_last_gets_the_order(pdb: Db, trader: User, still: Clock) -> None:
    second = new_agent(pdb, trader.id, trader.account)
    assert order(pdb, trader)["agent_id"] == trader.agent  # the second has never been there
    still.advance(60)
    call(pdb, "agent_seen", agent_ids=[second])
    assert order(pdb, trader)["agent_id"] == second
    call(pdb, "agent_revoke", user=trader.id, agent_id=second)
    assert order(pdb, trader)["agent_id"] == trader.agent


def test_an_agent_that_is_silent_for_ten_minutes_is_offline(
    pdb: Db, trader: User, still: Clock
) -> None:
    offline = ("FX503", "agent_offline", "broker_connection_id")
    still.advance(599)
    order(pdb, trader)
    still.advance(1)
    assert refused(pdb, "order_create", user=trader.id, **BASE) == offline
    assert refused(pdb, "position_close", user=trader.id, ticket="1") == offline
    assert refused(pdb, "read_create", user=trader.id, job_type="get_account") == offline


def prices_from(db: Db, user: UUID, **arguments: Any) -> tuple[UUID, bool] | None:
    found = call(db, "trading_agent", user=user, **arguments)
    return (found[0]["agent_id"], found[0]["is_connected"]) if found else None


def test_whose_prices_a_user_sees(pdb: Db, trader: User, still: Clock) -> None:
    assert prices_from(pdb, trader.id) == (trader.agent, True)
    still.advance(601)
    assert prices_from(pdb, trader.id) == (trader.agent, False)
    assert prices_from(pdb, trader.id, broker_connection_id=trader.account) == (
        *(trader.agent, False),
    )
    one(pdb, "broker_connection_create", user=trader.id, name="second")
    pdb.execute("update public.broker_connections set is_default = false")
    assert prices_from(pdb, trader.id) is None  # whose of the two
    call(pdb, "agent_revoke", user=trader.id, agent_id=trader.agent)
    assert prices_from(pdb, trader.id, broker_connection_id=trader.account) is None


def test_a_user_without_an_account_sees_the_prices_of_an_agent_without_one(
    pdb: Db, still: Clock
) -> None:
    user = new_user(pdb)
    assert prices_from(pdb, user) is None
    agent = new_agent(pdb, user)
    assert prices_from(pdb, user) == (agent, False)


# -- claimed, sent, ended


def test_the_walk_of_an_order(pdb: Db, trader: User, still: Clock) -> None:
    job_id = order(pdb, trader, client_order_id="c-1")["job_id"]
    seen = [ordered(pdb, trader, job_id)]
    still.advance(1)
    job = claimed(pdb, trader)
    seen.append(ordered(pdb, trader, job_id))
    still.advance(1)
    assert send(pdb, trader, job) == "ok"
    seen.append(ordered(pdb, trader, job_id))
    still.advance(1)
    assert finish(pdb, job, "completed", FILL) == "ok"
    done = ordered(pdb, trader, job_id)
    assert [o["status"] for o in (*seen, done)] == ["pending", "claimed", "sent", "filled"]
    assert [o["agent_id"] for o in (*seen, done)] == [trader.agent] * 4
    start = done["created_at"]
    times = [done[n] for n in ("claimed_at", "sent_at", "finished_at", "expires_at")]
    assert [(t - start).total_seconds() for t in times] == [1, 2, 3, 60]
    assert {name: value for name, value in done.items() if not name.endswith("_at")} == {
        "order_id": job_id,
        "user_id": trader.id,
        "client_order_id": "c-1",
        "kind": "open",
        "status": "filled",
        "symbol": "EURUSD",
        "side": "buy",
        "volume": Decimal("0.1"),
        "filled_volume": Decimal("0.1"),
        "sl": None,
        "tp": None,
        "fill_price": Decimal("1.1"),
        "pnl": None,
        "broker_order_id": "o1",
        "position_id": "p1",
        "deal_id": "d1",
        "late_deal_id": None,
        "retcode": 10009,
        "retcode_name": "TRADE_RETCODE_DONE",
        "error_code": None,
        "message": None,
        "broker_connection_id": trader.account,
        "agent_id": trader.agent,
        "source": "manual",
    }
    found = call(pdb, "order_events", user=trader.id, job_id=job_id)
    assert [e["event"] for e in found] == ["requested", "claimed", "sent", "filled"]
    assert [e["agent_id"] for e in found] == [trader.agent] * 4
    assert found[-1]["latency_ms"] == 12


def no_answer(db: Db, trader: User, still: Clock) -> None:
    sent(db, trader)
    still.advance(31)
    db.execute("select jobengine.sweep()")


def nobody_comes(db: Db, trader: User, still: Clock) -> None:
    still.advance(61)
    db.execute("select jobengine.sweep()")


def no_money(db: Db, trader: User, still: Clock) -> None:
    output = {"error_code": "no_money", "retcode": 10019, "retcode_name": "TRADE_RETCODE_NO_MONEY"}
    assert finish(db, sent(db, trader), "rejected", output, "not enough") == "ok"


def agent_gone(db: Db, trader: User, still: Clock) -> None:
    call(db, "agent_revoke", user=trader.id, agent_id=trader.agent)


def partly(db: Db, trader: User, still: Clock) -> None:
    output = {**FILL, "volume": 0.05, "retcode": 10010}
    assert finish(db, sent(db, trader), "completed", output) == "ok"


ENDS: dict[str, tuple[Callable[[Db, User, Clock], None], tuple[str, str | None, str | None]]] = {
    "no answer": (no_answer, ("unknown", "lease_expired", None)),
    "nobody comes": (nobody_comes, ("expired", "expired", None)),
    "no money": (no_money, ("rejected", "no_money", "not enough")),
    "the agent is gone": (agent_gone, ("cancelled", "cancelled", "agent_revoked")),
    "partly": (partly, ("partially_filled", None, None)),
}


@pytest.mark.parametrize("end", ENDS)
def test_how_an_order_can_end(pdb: Db, trader: User, still: Clock, end: str) -> None:
    job_id = order(pdb, trader)["job_id"]
    ends, expected = ENDS[end]
    ends(pdb, trader, still)
    found = ordered(pdb, trader, job_id)
    assert tuple(found[n] for n in ("status", "error_code", "message")) == expected
    assert events(pdb, job_id)[-1][0] == expected[0]
    assert found["finished_at"] is not None
    filled = Decimal("0.05") if end == "partly" else None
    assert (found["volume"], found["filled_volume"]) == (Decimal("0.1"), filled)
    assert (found["retcode"] == 10019) == (end == "no money")


def test_a_cancelled_order(pdb: Db, trader: User) -> None:
    job_id = order(pdb, trader)["job_id"]
    assert one(pdb, "job_cancel", user=trader.id, job_id=job_id)["verdict"] == "ok"
    assert ordered(pdb, trader, job_id)["status"] == "cancelled"
    assert [name for name, _ in events(pdb, job_id)] == ["requested", "cancelled"]


def test_a_position_is_closed(pdb: Db, trader: User) -> None:
    pdb.execute(
        "update public.user_settings set trading_state = 'halted' where user_id = %s", (trader.id,)
    )
    made = one(pdb, "position_close", user=trader.id, ticket="77", volume=Decimal("0.05"))
    assert (made["agent_id"], made["replayed"]) == (trader.agent, False)
    job = sent(pdb, trader)
    assert job["input"] == {"ticket": "77", "volume": 0.05}
    output = {**FILL, "closed_price": 1.2, "pnl": 5, "volume": 0.05, "side": "sell"}
    del output["fill_price"]
    assert finish(pdb, job, "completed", output) == "ok"
    found = ordered(pdb, trader, made["job_id"])
    names = ("kind", "status", "fill_price", "pnl", "position_id", "side")
    assert [found[n] for n in names] == ["close", "closed", Decimal("1.2"), 5, "p1", "sell"]
    assert [name for name, _ in events(pdb, made["job_id"])] == [
        *("requested", "claimed", "sent", "closed"),
    ]


@pytest.mark.parametrize(
    "changes, field",
    [
        ({"ticket": ""}, "ticket"),
        ({"ticket": None}, "ticket"),
        ({"ticket": "x" * 65}, "ticket"),
        ({"volume": 0}, "volume"),
        ({"volume": "NaN"}, "volume"),
    ],
)
def test_what_closes_no_position_is_refused(
    pdb: Db, trader: User, changes: dict[str, Any], field: str
) -> None:
    arguments = exact({"ticket": "1", **changes})
    assert refused(pdb, "position_close", user=trader.id, **arguments) == (
        *("FX422", "invalid", field),
    )


def test_a_repeated_claim_is_noted_once(pdb: Db, trader: User) -> None:
    job_id = order(pdb, trader)["job_id"]
    repeat = {"request_id": str(NOBODY)}
    first, second = claimed(pdb, trader, **repeat), claimed(pdb, trader, **repeat)
    assert (first["id"], first["lease_epoch"]) == (second["id"], second["lease_epoch"])
    assert (send(pdb, trader, first), send(pdb, trader, first)) == ("ok", "duplicate")
    assert [name for name, _ in events(pdb, job_id)] == ["requested", "claimed", "sent"]


def test_a_lease_that_was_lost_is_noted_with_the_next(pdb: Db, trader: User, still: Clock) -> None:
    job_id = order(pdb, trader, expires_in=0)["job_id"]
    first = claimed(pdb, trader)
    still.advance(31)
    pdb.execute("select jobengine.sweep()")
    second = claimed(pdb, trader)
    assert send(pdb, trader, first) == "stale_lease"
    assert send(pdb, trader, second) == "ok"
    assert [name for name, _ in events(pdb, job_id)] == ["requested", "claimed", "claimed", "sent"]


def test_one_claim_serves_many_agents_and_notes_orders_only(
    pdb: Db, trader: User, stranger: User
) -> None:
    mine, other = order(pdb, trader)["job_id"], order(pdb, stranger)["job_id"]
    read = one(pdb, "read_create", user=trader.id, job_type="get_account")["job_id"]
    requests = [request(pdb, trader, limit=2), request(pdb, stranger, limit=2)]
    found = call(pdb, "agent_claim", requests=Jsonb(requests))
    assert [(job["request"], job["job_id"]) for job in found] == [(1, mine), (1, read), (2, other)]
    noted = pdb.execute(
        "select job_id, agent_id from public.trade_events"
        " where event = 'claimed' and user_id = any (%s)",
        ([trader.id, stranger.id],),
    ).fetchall()
    assert {(e["job_id"], e["agent_id"]) for e in noted} == {
        (mine, trader.agent),
        (other, stranger.agent),
    }
    [read_job] = [job for job in found if job["job_id"] == read]
    assert send(pdb, trader, read_job) == "ok"
    assert events(pdb, read) == []


def test_a_claim_is_the_engines(pdb: Db, trader: User) -> None:
    """The same columns in the same order, so that one record reads both."""
    asked = Jsonb([request(pdb, trader)])
    ours = pdb.execute("select * from public.agent_claim(%s)", (asked,)).description
    engines = pdb.execute("select * from jobengine.claim(%s)", (asked,)).description
    assert [(c.name, c.type_code) for c in ours or ()] == [
        (c.name, c.type_code) for c in engines or ()
    ]


# -- keys


def test_a_repeat_is_the_same_order(pdb: Db, trader: User, stranger: User) -> None:
    keyed = {"key": "k", "request_hash": b"one"}
    first = order(pdb, trader, **keyed)
    call(pdb, "settings_update", user=trader.id, changes={"trading_state": "halted"})
    again = order(pdb, trader, **keyed)  # what was accepted stays accepted
    assert again == {**first, "replayed": True}
    assert order(pdb, stranger, **keyed)["replayed"] is False  # a key is the user's own
    assert len(statuses(pdb, trader)) == 1
    reused = ("FX422", "idempotency_key_reused", "key")
    other = {**keyed, "request_hash": b"two"}
    assert refused(pdb, "order_create", user=trader.id, **BASE, **other) == reused
    assert refused(pdb, "position_close", user=trader.id, ticket="1", **other) == reused


def test_a_repeated_close_is_the_same(pdb: Db, trader: User) -> None:
    keyed = {"ticket": "1", "key": "k", "request_hash": b"one"}
    first = one(pdb, "position_close", user=trader.id, **keyed)
    assert one(pdb, "position_close", user=trader.id, **keyed) == {**first, "replayed": True}


def test_a_repeat_answers_after_the_job_was_pruned(pdb: Db, trader: User) -> None:
    keyed = {"key": "k", "request_hash": b"one"}
    first = order(pdb, trader, **keyed)
    call(pdb, "job_cancel", user=trader.id, job_id=first["job_id"])
    pdb.execute("delete from jobengine.job where job_id = %s", (first["job_id"],))
    assert order(pdb, trader, **keyed) == {
        "job_id": first["job_id"],
        "agent_id": None,
        "broker_connection_id": None,
        "replayed": True,
    }


def test_a_refusal_leaves_the_key_free(pdb: Db, trader: User) -> None:
    keyed = {"key": "k", "request_hash": b"one"}
    call(pdb, "settings_update", user=trader.id, changes={"trading_state": "halted"})
    assert refused(pdb, "order_create", user=trader.id, **BASE, **keyed)[1] == "trading_halted"
    call(pdb, "settings_update", user=trader.id, changes={"trading_state": "active"})
    assert order(pdb, trader, key="k", request_hash=b"two")["replayed"] is False


def test_a_key_is_forgotten_after_a_day(pdb: Db, trader: User, still: Clock) -> None:
    pdb.execute("delete from public.idempotency_key")
    first = order(pdb, trader, key="k", request_hash=b"one")
    other = order(pdb, trader, key="other", request_hash=b"one")
    still.advance(24 * 3600 - 1)
    alive(pdb, trader.agent)
    assert order(pdb, trader, key="k", request_hash=b"one")["replayed"] is True
    still.advance(1)
    second = order(pdb, trader, key="k", request_hash=b"two")
    assert second["replayed"] is False
    assert second["job_id"] != first["job_id"]
    still.advance(1)
    order(pdb, trader, key="new", request_hash=b"one")  # takes the old one away
    kept = pdb.execute(
        "select key from public.idempotency_key where user_id = %s order by key", (trader.id,)
    ).fetchall()
    assert [k["key"] for k in kept] == ["k", "new"]
    assert other["replayed"] is False


def at_once(url: str, ask: Callable[[Db], Any], times: int = 8) -> list[Any]:
    """Ask from several sessions at once."""

    def one_of_them(_: int) -> Any:
        with psycopg.connect(url, autocommit=True, row_factory=dict_row) as conn:
            return ask(conn)

    with ThreadPoolExecutor(times) as threads:
        return list(threads.map(one_of_them, range(times)))


def test_orders_of_one_key_at_once_make_one_job(pdb: Db, platform_url: str, trader: User) -> None:
    made = at_once(platform_url, lambda db: order(db, trader, key="k", request_hash=b"one"))
    assert len({m["job_id"] for m in made}) == 1
    assert sorted(m["replayed"] for m in made) == [False] + [True] * 7
    assert len(statuses(pdb, trader)) == 1


# -- the user's view


def test_the_list_of_orders(pdb: Db, trader: User, stranger: User, still: Clock) -> None:
    ids = []
    for number in range(4):
        ids.append(order(pdb, trader, client_order_id=f"c-{number % 2}")["job_id"])
        still.advance(1)
    posted = new_job(
        pdb, trader.id, "trade", agent_id=trader.agent, input={"symbol": "X", "source": "tv_signal"}
    )
    new_job(pdb, trader.id, "get_account", agent_id=trader.agent)  # no order
    order(pdb, stranger)
    call(pdb, "job_cancel", user=trader.id, job_id=ids[1])
    every = [posted, *ids[::-1]]
    assert [i for i, _ in statuses(pdb, trader)] == every
    assert [i for i, _ in statuses(pdb, trader, limit=2)] == every[:2]
    assert [i for i, _ in statuses(pdb, trader, limit=2, before=every[1])] == every[2:4]
    assert statuses(pdb, trader, status="cancelled") == [(ids[1], "cancelled")]
    assert [i for i, _ in statuses(pdb, trader, client_order_id="c-0")] == [ids[2], ids[0]]
    found = ordered(pdb, trader, posted)
    assert (found["source"], found["client_order_id"], found["symbol"]) == ("tv_signal", None, "X")
    assert (found["expires_at"] - found["created_at"]).total_seconds() == 300


def test_an_order_that_was_retried_is_listed_once(pdb: Db, trader: User) -> None:
    job_id = order(pdb, trader, client_order_id="c")["job_id"]
    assert finish(pdb, sent(pdb, trader), "rejected", None, "requote") == "ok"
    pdb.execute("select jobengine.retry(array[%s::uuid])", (job_id,))
    assert statuses(pdb, trader) == [(job_id, "pending")]
    assert [i for i, _ in statuses(pdb, trader, client_order_id="c")] == [job_id]


@pytest.mark.parametrize(
    "arguments, field",
    [({"limit": 0}, "limit"), ({"limit": 201}, "limit"), ({"status": "running"}, "status")],
)
def test_a_wrong_page_is_refused(
    pdb: Db, trader: User, arguments: dict[str, Any], field: str
) -> None:
    assert refused(pdb, "order_list", user=trader.id, **arguments) == ("FX422", "invalid", field)


def test_a_strangers_order_is_not_there(pdb: Db, trader: User, stranger: User) -> None:
    job_id = order(pdb, stranger)["job_id"]
    read = one(pdb, "read_create", user=trader.id, job_type="get_account")["job_id"]
    for unseen in (job_id, read, NOBODY):
        for function in ("order_get", "order_events"):
            assert refused(pdb, function, user=trader.id, job_id=unseen) == (
                *("FX404", "not_found", "order_id"),
            )


def test_an_order_of_a_signal_names_it(pdb: Db, trader: User) -> None:
    signal = new_signal(pdb, trader.id)
    job_id = alert_order(
        pdb,
        trader,
        signal,
        {"symbol": "EURUSD", "side": "buy", "volume": 0.1, "source": "tv_signal"},
    )
    assert finish(pdb, sent(pdb, trader), "completed", FILL) == "ok"
    found = call(pdb, "order_events", user=trader.id, job_id=job_id)
    assert [(e["event"], e["signal_id"]) for e in found] == [
        (event, signal) for event in ("requested", "claimed", "sent", "filled")
    ]


def test_an_order_of_a_strangers_signal_does_not_name_it(
    pdb: Db, trader: User, stranger: User
) -> None:
    """What becomes of a signal is read from the orders that name it."""
    job = one(
        pdb,
        "job_create",
        user=trader.id,
        job_type="close_position",
        agent_id=trader.agent,
        input={"ticket": "1", "signal_id": str(new_signal(pdb, stranger.id))},
    )
    noted = "select signal_id from public.trade_events where job_id = %s"
    assert row(pdb, noted, job["job_id"])["signal_id"] is None


def test_an_order_of_the_account_is_of_the_agent_that_took_it(pdb: Db, trader: User) -> None:
    job_id = new_job(pdb, trader.id, "trade", broker_connection_id=trader.account)
    assert ordered(pdb, trader, job_id)["agent_id"] is None
    assert finish(pdb, sent(pdb, trader), "completed", FILL) == "ok"
    found = call(pdb, "order_events", user=trader.id, job_id=job_id)
    assert [e["agent_id"] for e in found] == [None, *[trader.agent] * 3]
    assert ordered(pdb, trader, job_id)["agent_id"] == trader.agent


def test_the_technical_plans_claim_notes_an_order_too(pdb: Db, trader: User) -> None:
    job_id = order(pdb, trader)["job_id"]
    assert claim(pdb, trader.agent) is not None
    assert [name for name, _ in events(pdb, job_id)] == ["requested", "claimed", "sent"]


# -- the gate


def limit(db: Db, user: User, **changes: Any) -> None:
    call(db, "settings_update", user=user.id, changes=changes)


def gated(db: Db, user: User, **changes: Any) -> str | None:
    """Return the code with which an order is refused."""
    code = refused(db, "order_create", user=user.id, **exact({**BASE, **changes}))
    assert (code[0], code[2]) == ("FX422", None)
    return code[1]


def test_a_halt_stops_orders(pdb: Db, trader: User) -> None:
    limit(pdb, trader, trading_state="halted")
    assert gated(pdb, trader) == "trading_halted"
    limit(pdb, trader, trading_state="reducing")
    assert gated(pdb, trader) == "trading_reducing"
    limit(pdb, trader, trading_state="active")
    order(pdb, trader)


def test_the_largest_volume(pdb: Db, trader: User) -> None:
    limit(pdb, trader, max_volume=0.2)
    order(pdb, trader, volume=0.2)
    assert gated(pdb, trader, volume=0.21) == "volume_out_of_range"


# What forex_agent.wire reads as a number and PostgreSQL does not, and what nobody does.
@pytest.mark.parametrize("volume", ["1e5", " 5 ", "1_000", "\u0665", None, [1]])
def test_a_volume_that_cannot_be_read_is_too_large(pdb: Db, trader: User, volume: Any) -> None:
    limit(pdb, trader, max_volume=0.2)
    posted = {"job_type": "trade", "input": {**BASE, "volume": volume}, "agent_id": trader.agent}
    assert refused(pdb, "job_create", user=trader.id, **posted)[1] == "volume_out_of_range"


def test_a_halt_waits_for_the_orders_that_passed_before_it(
    pdb: Db, platform_url: str, trader: User
) -> None:
    """Else who halts and cancels what waits leaves an order behind."""
    with (
        psycopg.connect(platform_url, autocommit=True, row_factory=dict_row) as conn,
        ThreadPoolExecutor(1) as threads,
    ):
        with pdb.transaction():
            order(pdb, trader)
            halt = threads.submit(limit, conn, trader, trading_state="halted")
            wait_until_blocked(pdb, conn.info.backend_pid)
        halt.result(timeout=60)
    assert gated(pdb, trader) == "trading_halted"


def test_the_orders_of_a_minute(pdb: Db, trader: User, still: Clock) -> None:
    limit(pdb, trader, max_orders_per_minute=2)
    one(pdb, "position_close", user=trader.id, ticket="1")  # does not count
    order(pdb, trader)
    still.advance(30)
    order(pdb, trader)
    assert gated(pdb, trader) == "rate_limited"
    one(pdb, "position_close", user=trader.id, ticket="2")  # is never too many
    still.advance(29)
    assert gated(pdb, trader) == "rate_limited"
    still.advance(1)
    order(pdb, trader)
    assert gated(pdb, trader) == "rate_limited"


def test_orders_at_once_are_counted_one_by_one(pdb: Db, platform_url: str, trader: User) -> None:
    limit(pdb, trader, max_orders_per_minute=1)
    with (
        psycopg.connect(platform_url, autocommit=True, row_factory=dict_row) as conn,
        ThreadPoolExecutor(1) as threads,
    ):
        with pdb.transaction():
            order(pdb, trader)
            second = threads.submit(gated, conn, trader)
            wait_until_blocked(pdb, conn.info.backend_pid)
        assert second.result(timeout=60) == "rate_limited"


def positions(db: Db, user: User, count: int) -> None:
    call(db, "deals_report", agent_id=user.agent, deals="[]", account={"open_positions": count})


def test_the_most_positions(pdb: Db, trader: User) -> None:
    limit(pdb, trader, max_open_positions=3)
    assert gated(pdb, trader) == "risk_data_unavailable"  # nobody has told of any yet
    positions(pdb, trader, 3)
    assert gated(pdb, trader) == "max_positions"
    positions(pdb, trader, 1)
    order(pdb, trader)
    claimed(pdb, trader)
    order(pdb, trader)  # one waits, one is held: together with the open one they are three
    assert gated(pdb, trader) == "max_positions"
    positions(pdb, trader, 0)
    order(pdb, trader)


def test_an_account_that_has_told_of_no_positions_opens_none(pdb: Db, trader: User) -> None:
    """Its fills would not be counted, whatever the user's other accounts tell."""
    limit(pdb, trader, max_open_positions=3)
    positions(pdb, trader, 0)
    other = one(pdb, "broker_connection_create", user=trader.id, name="other")["id"]
    alive(pdb, new_agent(pdb, trader.id, other))
    assert gated(pdb, trader, broker_connection_id=other) == "risk_data_unavailable"
    order(pdb, trader)


def test_a_fill_is_a_position_before_the_next_report_says_so(pdb: Db, trader: User) -> None:
    limit(pdb, trader, max_open_positions=1)
    positions(pdb, trader, 0)
    order(pdb, trader)
    assert finish(pdb, sent(pdb, trader), "completed", FILL) == "ok"
    assert gated(pdb, trader) == "max_positions"
    positions(pdb, trader, 0)  # closed at the terminal
    order(pdb, trader)


def test_a_fill_that_a_report_has_counted_is_one_position(pdb: Db, trader: User) -> None:
    limit(pdb, trader, max_open_positions=2)
    positions(pdb, trader, 0)
    job_id = order(pdb, trader)["job_id"]
    job = sent(pdb, trader)
    deals = json.dumps([deal("d1", START, comment=comment(job_id))])
    call(pdb, "deals_report", agent_id=trader.agent, deals=deals, account={"open_positions": 1})
    assert finish(pdb, job, "completed", FILL) == "ok"
    order(pdb, trader)
    assert gated(pdb, trader) == "max_positions"


def test_an_order_among_the_jobs_passes_the_same_gate(pdb: Db, trader: User) -> None:
    posted = {"job_type": "trade", "input": {**BASE, "volume": 0.3}, "agent_id": trader.agent}
    limit(pdb, trader, max_volume=0.2)
    assert refused(pdb, "job_create", user=trader.id, **posted) == (
        *("FX422", "volume_out_of_range", None),
    )
    limit(pdb, trader, max_volume=None)
    assert one(pdb, "job_create", user=trader.id, **posted)["verdict"] == "ok"
    limit(pdb, trader, trading_state="halted")
    assert refused(pdb, "job_create", user=trader.id, **posted)[1] == "trading_halted"
    closing = {"job_type": "close_position", "input": {"ticket": "1"}, "agent_id": trader.agent}
    assert one(pdb, "job_create", user=trader.id, **closing)["verdict"] == "ok"
    new_job(pdb, trader.id, "trade", agent_id=trader.agent)  # the service has asked the gate


def test_the_gate_of_others(pdb: Db, trader: User) -> None:
    """A strategy's own limit goes before the user's, and no account named means all of them."""
    pdb.execute(
        "insert into public.daily_pnl (user_id, broker_connection_id, day, realized_pnl,"
        " base_balance) values (%s, %s, '2030-01-01', -5, 100)",
        (trader.id, trader.account),
    )
    other = one(pdb, "broker_connection_create", user=trader.id, name="second")["id"]

    def gate(limit_pct: int | None, account: UUID | None = None) -> Any:
        return row(
            pdb,
            "select public._gate(%s, 'EURUSD', 0.1, %s, %s) as code",
            *(trader.id, limit_pct, account),
        )["code"]

    assert gate(None) is None  # no limit at all
    limit(pdb, trader, daily_loss_limit_pct=5)
    reached = "daily_loss_limit_reached"
    assert [gate(None), gate(5), gate(6), gate(4)] == [reached, reached, None, reached]
    assert [gate(None, trader.account), gate(None, other)] == [reached, None]


# -- reads


def read(db: Db, user: User, job_type: str = "get_positions", **more: Any) -> tuple[UUID, bool]:
    found = one(db, "read_create", user=user.id, job_type=job_type, **more)
    assert (found["agent_id"], found["broker_connection_id"]) == (user.agent, user.account)
    return found["job_id"], found["joined"]


def test_who_asks_the_same_joins(pdb: Db, trader: User, stranger: User, still: Clock) -> None:
    first, joined = read(pdb, trader)
    assert joined is False
    assert read(pdb, trader) == (first, True)
    claimed(pdb, trader)
    assert read(pdb, trader) == (first, True)
    assert read(pdb, trader, "get_account")[1] is False
    assert read(pdb, stranger)[1] is False
    gold = {"instrument": "XAUUSD", "timeframe": "M1", "count": 200}
    candles, _ = read(pdb, trader, "get_candles", input=gold)
    assert read(pdb, trader, "get_candles", input=gold) == (candles, True)
    assert read(pdb, trader, "get_candles", input={**gold, "count": 10})[1] is False


def test_a_read_that_ended_is_not_joined(pdb: Db, trader: User) -> None:
    first, _ = read(pdb, trader)
    assert work(pdb, trader.agent, "completed", {"positions": []}) == first
    assert read(pdb, trader)[1] is False


def test_a_read_waits_for_fifteen_seconds(pdb: Db, trader: User, still: Clock) -> None:
    first, _ = read(pdb, trader)
    still.advance(15)
    pdb.execute("select jobengine.sweep()")
    assert one(pdb, "job_get", user=trader.id, job_id=first)["status"] == "expired"


def test_a_read_needs_no_onboarding(pdb: Db, still: Clock) -> None:
    user = new_user(pdb, onboarded=False)
    account = one(pdb, "broker_connection_create", user=user, name="demo")["id"]
    pdb.execute(
        "insert into public.mt5_agents (user_id, broker_connection_id, last_seen_at)"
        " values (%s, %s, public._now())",
        (user, account),
    )
    assert one(pdb, "read_create", user=user, job_type="get_account")["joined"] is False


@pytest.mark.parametrize("ends", [no_money, nobody_comes, partly])
def test_a_read_from_before_the_end_of_an_order_is_not_joined_after_it(
    pdb: Db, trader: User, still: Clock, ends: Callable[[Db, User, Clock], None]
) -> None:
    order(pdb, trader)
    candles, _ = read(pdb, trader, "get_candles")
    pdb.execute("update jobengine.ready set expires_at = null where tenant_id = %s", (trader.id,))
    before, _ = read(pdb, trader)
    if ends is nobody_comes:
        pdb.execute(
            "update jobengine.ready r set expires_at = public._now() + interval '61 seconds'"
            " from jobengine.job j where j.job_id = r.job_id and j.job_type = 'trade'"
            " and r.tenant_id = %s",
            (trader.id,),
        )
        pdb.execute(
            "update jobengine.ready r set expires_at = null from jobengine.job j"
            " where j.job_id = r.job_id and j.job_type <> 'trade' and r.tenant_id = %s",
            (trader.id,),
        )
    ends(pdb, trader, still)
    after, joined = read(pdb, trader)
    assert (after != before, joined) == (True, False)
    assert read(pdb, trader) == (after, True)
    assert read(pdb, trader, "get_candles") == (candles, True)  # prices are nobody's orders


@pytest.mark.parametrize(
    "changes, field",
    [
        ({"job_type": "trade"}, "job_type"),
        ({"job_type": None}, "job_type"),
        ({"input": "[]"}, "input"),
    ],
)
def test_what_is_no_read_is_refused(
    pdb: Db, trader: User, changes: dict[str, Any], field: str
) -> None:
    arguments = {"job_type": "get_account", **changes}
    assert refused(pdb, "read_create", user=trader.id, **arguments) == ("FX422", "invalid", field)


def test_reads_at_once_are_one_job(pdb: Db, platform_url: str, trader: User) -> None:
    made = at_once(platform_url, lambda db: read(db, trader))
    assert len({job_id for job_id, _ in made}) == 1
    assert sorted(joined for _, joined in made) == [False] + [True] * 7


def test_a_ticket_of_any_length_keeps_no_order_from_being_noted(pdb: Db, trader: User) -> None:
    """What is indexed must be short: else an answer is never settled, or a request an error."""
    long = secrets.token_hex(5000)
    job_id = order(pdb, trader)["job_id"]
    answer = {**FILL, "position_id": long, "ticket": long, "broker_order_id": long}
    assert finish(pdb, sent(pdb, trader), "completed", answer) == "ok"
    assert events(pdb, job_id)[-1] == ("filled", "d1")
    closing = {"job_type": "close_position", "input": {"ticket": long}, "agent_id": trader.agent}
    job_id = one(pdb, "job_create", user=trader.id, **closing)["job_id"]
    assert sent(pdb, trader)["job_id"] == job_id
