"""Strategies, their secrets, the test button, and the lists of signals."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from jobengine.testing import Clock
from tests.sql.platform.alerts import Strategy, alert, counts, digest, new_strategy, signal
from tests.sql.platform.helpers import (
    Db,
    User,
    acting,
    call,
    new_trader,
    one,
    refused,
    row,
    value,
    work,
)


@pytest.fixture
def strategy(pdb: Db, anna: User) -> Strategy:
    return new_strategy(pdb, anna)


def test_a_strategy_has_its_defaults_and_shows_no_secret(pdb: Db, anna: User) -> None:
    strategy = new_strategy(pdb, anna, allowed_pairs=["EURUSD"], risk_override_pct=1.5)
    found = one(pdb, "strategy_get", user=anna.id, id=strategy.id)
    assert found["is_enabled"]
    assert (found["expires_in"], found["dedup_seconds"], found["signals"]) == (300, 20, 0)
    assert (found["allowed_pairs"], float(found["risk_override_pct"])) == (["EURUSD"], 1.5)
    assert found["secret_prefix"] == strategy.secret[:4]
    assert strategy.secret not in str(found)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"name": ""}, "name"),
    ({"risk_override_pct": 101}, "risk_override_pct"),
    ({"default_volume": 0}, "default_volume"),
    ({"expires_in": -1}, "expires_in"),
    ({"expires_in": 1.5}, "expires_in"),
    ({"dedup_seconds": 0}, "dedup_seconds"),
    ({"allowed_pairs": [1]}, "allowed_pairs"),
    ({"allowed_sources": ["nowhere"]}, "allowed_sources"),
    ({"webhook_secret": "x"}, "webhook_secret"),
    ({"magic": 5}, "magic"),
]


@pytest.mark.parametrize("values, field", WRONG, ids=[str(w[0]) for w in WRONG])
def test_a_value_that_cannot_be_is_refused(
    pdb: Db, anna: User, strategy: Strategy, values: dict[str, Any], field: str
) -> None:
    found = refused(pdb, "strategy_update", user=anna.id, id=strategy.id, changes=values)
    assert found == ("FX422", "invalid", field)


def test_a_guessable_secret_is_refused(pdb: Db, anna: User) -> None:
    found = refused(
        pdb, "strategy_create", user=anna.id, webhook_secret="short", values={"name": "s"}
    )
    assert found == ("FX422", "invalid", "webhook_secret")


def test_null_clears_and_what_is_not_named_stays(pdb: Db, anna: User) -> None:
    strategy = new_strategy(pdb, anna, default_volume=0.5, allowed_sources=["10.0.0.0/8"])
    changes = {"default_volume": None, "name": "t"}
    found = one(pdb, "strategy_update", user=anna.id, id=strategy.id, changes=changes)
    assert (found["name"], found["default_volume"]) == ("t", None)
    assert found["allowed_sources"] == ["10.0.0.0/8"]


def test_a_strangers_strategy_is_not_found(pdb: Db, strategy: Strategy, bert: User) -> None:
    calls: list[tuple[str, dict[str, Any]]] = [
        ("strategy_get", {}),
        ("strategy_update", {"changes": {"name": "x"}}),
        ("strategy_delete", {}),
        ("strategy_rotate_secret", {"webhook_secret": secrets.token_urlsafe(32)}),
        ("strategy_test", {"signal_id": uuid4(), "payload": {}}),
    ]
    for function, arguments in calls:
        found = refused(pdb, function, user=bert.id, id=strategy.id, **arguments)
        assert found == ("FX404", "not_found", "id")
    assert call(pdb, "strategy_list", user=bert.id) == []


def test_a_strangers_account_is_not_found(pdb: Db, anna: User, bert: User) -> None:
    strategy = new_strategy(pdb, anna)
    changes = {"broker_connection_id": str(bert.account)}
    found = refused(pdb, "strategy_update", user=anna.id, id=strategy.id, changes=changes)
    assert found == ("FX404", "not_found", "broker_connection_id")


# -- secrets


def rotate(db: Db, strategy: Strategy, overlap: int) -> str:
    secret = secrets.token_urlsafe(32)
    one(
        db,
        "strategy_rotate_secret",
        user=strategy.user.id,
        id=strategy.id,
        webhook_secret=secret,
        overlap=overlap,
    )
    return secret


def test_both_secrets_work_while_they_overlap(pdb: Db, strategy: Strategy, still: Clock) -> None:
    secret = rotate(pdb, strategy, 60)
    assert alert(pdb, strategy, secret=secret)["known"]
    assert alert(pdb, strategy)["known"]
    still.advance(60)
    assert alert(pdb, strategy, secret=secret)["known"]
    assert not alert(pdb, strategy)["known"]


def test_what_came_within_the_overlap_is_taken_after_it(
    pdb: Db, strategy: Strategy, still: Clock
) -> None:
    """The spool may hold an alert until the secret it came with works no more."""
    rotate(pdb, strategy, 60)
    came = value(pdb, "_now")
    still.advance(61)
    assert alert(pdb, strategy, at=came)["known"]
    assert not alert(pdb, strategy)["known"]


def test_without_overlap_the_old_secret_ends_at_once(pdb: Db, strategy: Strategy) -> None:
    rotate(pdb, strategy, 0)
    assert not alert(pdb, strategy)["known"]


def test_the_service_knows_the_digests_that_work(pdb: Db, strategy: Strategy, still: Clock) -> None:
    def known() -> set[bytes]:
        return {bytes(found["strategy_secrets"]) for found in call(pdb, "strategy_secrets")}

    secret = rotate(pdb, strategy, 60)
    assert {digest(secret), digest(strategy.secret)} <= known()
    still.advance(60)
    assert digest(secret) in known()
    assert digest(strategy.secret) not in known()


def test_a_row_that_the_user_wrote_is_found_by_its_secret(pdb: Db, anna: User) -> None:
    """T03's policy lets users write strategies past our functions."""
    secret = secrets.token_urlsafe(32)
    with acting(pdb, "authenticated", anna.id):
        made = row(
            pdb,
            "insert into public.tv_strategies (user_id, name, webhook_secret)"
            " values (%s, 's', %s) returning id",
            *(anna.id, secret),
        )
    strategy = Strategy(made["id"], secret, anna)
    assert alert(pdb, strategy)["strategy_id"] == made["id"]
    with acting(pdb, "authenticated", anna.id):
        pdb.execute("update public.tv_strategies set webhook_secret = 'other'")
    assert not alert(pdb, strategy)["known"]
    assert alert(pdb, strategy, secret="other")["known"]


def test_the_magic_is_a_number_of_31_bits_of_its_own(pdb: Db, anna: User) -> None:
    made = [new_strategy(pdb, anna).id for _ in range(20)]
    magics = {one(pdb, "strategy_get", user=anna.id, id=s)["magic"] for s in made}
    assert len(magics) == len(made)
    assert all(0 < magic < 2**31 for magic in magics)


# -- removal


def test_a_strategy_goes_with_its_signals_and_its_waiting_orders(
    pdb: Db, anna: User, strategy: Strategy
) -> None:
    answer = alert(pdb, strategy)
    call(pdb, "strategy_delete", user=anna.id, id=strategy.id)
    assert counts(pdb, anna) == (0, 1)
    ended = row(pdb, "select status from jobengine.jobs where job_id = %s", answer["job_id"])
    assert ended["status"] == "cancelled"
    kept = row(
        pdb,
        "select count(*) as events from public.trade_events where strategy_id = %s",
        strategy.id,
    )
    assert kept["events"] >= 1


# -- the test button


def press(db: Db, strategy: Strategy, **more: Any) -> Any:
    told = {"symbol": "EURUSD", "action": "buy", "volume": 1, "payload": {}, **more}
    return one(
        db,
        "strategy_test",
        user=strategy.user.id,
        **{"id": strategy.id, "signal_id": uuid4(), **told},
    )


def test_a_dry_run_says_what_would_be_and_leaves_nothing(
    pdb: Db, anna: User, strategy: Strategy
) -> None:
    found = press(pdb, strategy)
    assert (found["status"], found["signal_id"]) == ("pending", None)
    assert found["job_input"]["side"] == "buy"
    assert press(pdb, strategy, symbol=None)["error_message"] == "invalid_payload"
    assert press(pdb, strategy, symbol=None)["reason"].startswith("The alert names no symbol")
    assert counts(pdb, anna) == (0, 0)


def test_a_real_run_is_an_alert(pdb: Db, anna: User) -> None:
    strategy = new_strategy(pdb, anna, allowed_sources=["10.0.0.0/8"])
    found = press(pdb, strategy, dry_run=False)
    assert found["status"] == "pending"
    assert counts(pdb, anna) == (1, 1)
    assert signal(pdb, strategy, found["signal_id"])["strategy_name"] == "s"


def test_on_a_real_account_only_a_dry_run_is_tested(
    pdb: Db, anna: User, strategy: Strategy
) -> None:
    changes = {"account_mode": "real"}
    call(pdb, "broker_connection_update", user=anna.id, id=anna.account, changes=changes)
    assert press(pdb, strategy)["status"] == "pending"
    with pytest.raises(psycopg.Error, match="invalid: dry_run"):
        press(pdb, strategy, dry_run=False)
    assert counts(pdb, anna) == (0, 0)


# -- lists


def test_signals_come_newest_first_and_are_counted(pdb: Db, anna: User, strategy: Strategy) -> None:
    now = row(pdb, "select public._now() as now")["now"]
    ids = [
        alert(pdb, strategy, at=now - timedelta(seconds=age))["signal_id"] for age in (30, 20, 10)
    ]
    alert(pdb, new_strategy(pdb, anna), symbol=None)

    def page(**asked: Any) -> list[UUID]:
        found = call(pdb, "signal_list", user=anna.id, **asked)
        return [listed["id"] for listed in found]

    assert page(strategy_id=strategy.id) == ids[::-1]
    assert page(limit=2, offset=2) == ids[1::-1]
    assert page(status="pending", limit=1) == ids[2:]
    count = one(pdb, "signal_count", user=anna.id, status="pending")
    assert count["signal_count"] == 3
    listed = one(pdb, "strategy_get", user=anna.id, id=strategy.id)
    assert (listed["signals"], listed["pending"], listed["discarded"]) == (3, 3, 0)


@pytest.mark.parametrize("asked", [{"limit": 0}, {"limit": 201}, {"offset": -1}])
@pytest.mark.parametrize("function", ["signal_list", "strategy_list"])
def test_a_page_that_cannot_be_is_refused(
    pdb: Db, anna: User, function: str, asked: dict[str, int]
) -> None:
    assert refused(pdb, function, user=anna.id, **asked)[:2] == ("FX422", "invalid")


def test_a_stranger_sees_no_signal(pdb: Db, strategy: Strategy) -> None:
    bert = new_trader(pdb)
    answer = alert(pdb, strategy)
    found = refused(pdb, "signal_get", user=bert.id, id=answer["signal_id"])
    assert found == ("FX404", "not_found", "id")
    assert call(pdb, "signal_list", user=bert.id) == []


def test_the_way_of_a_signal_is_told_in_milliseconds(
    pdb: Db, anna: User, strategy: Strategy, still: Clock
) -> None:
    received = row(pdb, "select public._now() as now")["now"]
    still.advance(0.25)
    answer = alert(pdb, strategy, at=received)
    still.advance(0.75)
    work(pdb, anna.agent, "completed", {"fill_price": 1.1, "ticket": "1"})
    found = signal(pdb, strategy, answer["signal_id"])
    assert (float(found["decided_ms"]), float(found["total_ms"])) == (250, 1000)


def test_two_secrets_are_never_the_same(pdb: Db, anna: User, strategy: Strategy) -> None:
    with pytest.raises(psycopg.errors.UniqueViolation):
        call(
            pdb,
            "strategy_create",
            user=anna.id,
            webhook_secret=strategy.secret,
            values={"name": "t"},
        )
