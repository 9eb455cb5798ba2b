"""Users: accounts, settings, keys of requests, the audit log, and what is left when a user goes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import dict_row

from jobengine.testing import Clock
from tests.sql.platform.helpers import (
    Db,
    User,
    acting,
    call,
    claim,
    finish,
    new_job,
    new_signal,
    new_user,
    new_version,
    one,
    refused,
    row,
    value,
)

# -- users


def test_a_new_user_has_profile_and_settings(pdb: Db) -> None:
    email = f"{uuid4()}@Example.org"
    user = value(pdb, "user_add", email=email)
    found = one(pdb, "settings_get", user=user)
    assert (found["user_id"], found["email"]) == (user, email.lower())
    assert (found["timezone"], found["trading_state"]) == ("UTC", "active")
    assert found["onboarding_completed_at"] is None
    assert refused(pdb, "user_add", email=email) == ("FX409", "email_taken", "email")
    assert value(pdb, "user_find", email=email) == user
    assert value(pdb, "user_find", email="nobody@example.org") is None


@pytest.mark.parametrize("email", [None, "", "anna", "a@b c", "a b@c", "@x", "x" * 254 + "@y"])
def test_an_address_that_is_none_is_refused(pdb: Db, email: str | None) -> None:
    assert refused(pdb, "user_add", email=email) == ("FX422", "invalid", "email")


def test_onboarding_counts_the_first_time(pdb: Db) -> None:
    user = new_user(pdb, onboarded=False)
    first = one(pdb, "onboarding_complete", user=user)
    assert first["onboarding_completed_at"] == first["disclaimer_accepted_at"] is not None
    assert one(pdb, "onboarding_complete", user=user) == first


def test_a_user_who_is_not_there_has_nothing(pdb: Db) -> None:
    nobody = uuid4()
    calls: tuple[tuple[str, dict[str, Any]], ...] = (
        ("settings_get", {}),
        ("settings_update", {"changes": {}}),
        ("onboarding_complete", {}),
        ("broker_connection_create", {"name": "x"}),
    )
    for function, arguments in calls:
        assert refused(pdb, function, user=nobody, **arguments) == ("FX404", "not_found", "user")


def test_deleting_a_user_cancels_the_jobs_and_takes_the_rows(pdb: Db, anna: User) -> None:
    new_signal(pdb, anna.id)
    version = new_version(pdb, anna.id)
    pdb.execute(
        "update public.ea_projects set current_version_id = %s where user_id = %s",
        (version, anna.id),
    )
    waiting = new_job(pdb, anna.id, "get_account")
    order = new_job(pdb, anna.id, "trade", agent_id=anna.agent)
    running = claim(pdb, anna.agent)
    pdb.execute("delete from auth.users where id = %s", (anna.id,))
    states = {
        job["id"]: (job["status"], job["error_message"], job["cancel_reason"])
        for job in pdb.execute("select * from public.jobs where user_id = %s", (anna.id,))
    }
    assert states == {
        waiting: ("cancelled", "user_deleted", None),
        order: ("running", None, "user_deleted"),
    }
    assert running is not None
    assert finish(pdb, running, "completed", {"fill_price": 1}) == "ok"
    for table in ("profiles", "mt5_agents", "broker_connections", "tv_signals", "ea_versions"):
        column = "id" if table == "profiles" else "user_id"
        left = row(pdb, f"select count(*) from public.{table} where {column} = %s", anna.id)
        assert left == {"count": 0}
    events = pdb.execute(
        "select event from public.trade_events where user_id = %s order by id", (anna.id,)
    ).fetchall()
    assert [event["event"] for event in events] == [*("requested", "claimed", "sent", "filled")]


def test_pruned_jobs_leave_their_signals(pdb: Db, anna: User, still: Clock) -> None:
    signal = new_signal(pdb, anna.id)
    job_id = new_job(
        pdb,
        anna.id,
        "trade",
        agent_id=anna.agent,
        parent_type="tv_signal",
        parent_id=signal,
    )
    job = claim(pdb, anna.agent)
    assert job is not None
    finish(pdb, job, "completed")
    still.advance(86400)
    pdb.execute("select jobengine.prune(3600)")
    assert pdb.execute("select from public.jobs where id = %s", (job_id,)).fetchall() == []
    found = row(pdb, "select status, job_id from public.tv_signals where id = %s", signal)
    assert tuple(found.values()) == ("executed", None)


# -- accounts


def names(db: Db, user: UUID) -> list[tuple[str, bool]]:
    found = call(db, "broker_connection_list", user=user)
    return [(account["name"], account["is_default"]) for account in found]


def test_one_account_is_the_default(pdb: Db) -> None:
    user = new_user(pdb)
    first = one(pdb, "broker_connection_create", user=user, name="c")
    assert first["is_default"]
    one(pdb, "broker_connection_create", user=user, name="a")
    second = one(pdb, "broker_connection_create", user=user, name="b", is_default=True)
    assert names(pdb, user) == [("b", True), ("a", False), ("c", False)]
    changed = one(
        pdb, "broker_connection_update", user=user, id=first["id"], changes={"is_default": True}
    )
    assert changed["is_default"]
    assert names(pdb, user) == [("c", True), ("a", False), ("b", False)]
    assert value(pdb, "broker_connection_delete", user=user, id=first["id"]) == first["id"]
    assert names(pdb, user) == [("a", False), ("b", False)]
    one(pdb, "broker_connection_create", user=user, name="d")
    assert names(pdb, user)[0] == ("d", True)
    assert second["id"]


def test_two_accounts_made_at_once_agree_on_the_default(pdb: Db, platform_url: str) -> None:
    user = new_user(pdb)

    def create(number: int) -> bool:
        with psycopg.connect(platform_url, autocommit=True, row_factory=dict_row) as conn:
            made = one(
                conn, "broker_connection_create", user=user, name=str(number), is_default=True
            )
            assert made["is_default"]
            return True

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(create, range(8)))
    assert [default for _, default in names(pdb, user)] == [True] + [False] * 7


def test_an_account_is_changed_field_by_field(pdb: Db, anna: User) -> None:
    values: dict[str, Any] = {
        "name": "live",
        "broker": "IC",
        "server": "IC-Live",
        "login": "123",
        "account_currency": "EUR",
        "account_mode": "real",
        "margin_mode": "netting",
        "symbol_map": {"GOLD": "XAUUSD"},
        "symbol_suffix": ".m",
    }
    made = one(pdb, "broker_connection_create", user=anna.id, **values)
    assert {name: made[name] for name in values} == values
    assert not made["is_default"]
    changes: dict[str, Any] = {"name": "paper", "broker": None, "symbol_map": {}, "status": "ok"}
    changed = one(pdb, "broker_connection_update", user=anna.id, id=made["id"], changes=changes)
    assert {name: changed[name] for name in (*values, "status")} == {**values, **changes}
    assert changed["updated_at"] >= made["updated_at"]


@pytest.mark.parametrize(
    "changes, field",
    [
        ({"name": ""}, "name"),
        ({"name": None}, "name"),
        ({"account_currency": "eur"}, "account_currency"),
        ({"account_mode": "toy"}, "account_mode"),
        ({"margin_mode": 5}, "margin_mode"),
        ({"is_default": False}, "is_default"),
        ({"symbol_map": []}, "symbol_map"),
        ({"last_balance": 5}, "last_balance"),
        ({"user_id": str(uuid4())}, "user_id"),
        ({"login": "x" * 101}, "login"),
    ],
)
def test_an_account_refuses(pdb: Db, anna: User, changes: dict[str, Any], field: str) -> None:
    assert refused(
        pdb, "broker_connection_update", user=anna.id, id=anna.account, changes=changes
    ) == ("FX422", "invalid", field)


@pytest.mark.parametrize("changes", ["[]", "null", "5"])
def test_changes_are_an_object(pdb: Db, anna: User, changes: str) -> None:
    with pytest.raises(psycopg.Error) as refusal, acting(pdb, "authenticated", anna.id):
        pdb.execute("select * from public.settings_update(%s::jsonb)", (changes,))
    assert refusal.value.sqlstate == "FX422"


@pytest.mark.parametrize(
    "field, wrong",
    [("name", ""), ("account_currency", "e"), ("account_mode", "x"), ("margin_mode", "x")],
)
def test_a_new_account_refuses(pdb: Db, anna: User, field: str, wrong: str) -> None:
    arguments = {"name": "x", field: wrong}
    assert refused(pdb, "broker_connection_create", user=anna.id, **arguments) == (
        *("FX422", "invalid", field),
    )


def test_a_strangers_account_is_not_there(pdb: Db, anna: User, bert: User) -> None:
    for account in (bert.account, uuid4()):
        update = {"id": account, "changes": {"name": "mine"}}
        assert refused(pdb, "broker_connection_update", user=anna.id, **update) == (
            *("FX404", "not_found", "id"),
        )
        assert refused(pdb, "broker_connection_delete", user=anna.id, id=account) == (
            *("FX404", "not_found", "id"),
        )
    assert names(pdb, bert.id) == [("demo", True)]


def test_an_account_in_use_stays(pdb: Db, anna: User) -> None:
    assert refused(pdb, "broker_connection_delete", user=anna.id, id=anna.account) == (
        *("FX409", "broker_connection_in_use", "id"),
    )
    assert names(pdb, anna.id) == [("demo", True)]


def test_deleting_an_account_cancels_what_waits_for_it(pdb: Db) -> None:
    user = new_user(pdb)
    accounts = [one(pdb, "broker_connection_create", user=user, name=n)["id"] for n in "ab"]
    jobs = [new_job(pdb, user, "get_account", broker_connection_id=a) for a in accounts]
    order = new_job(pdb, user, "trade", broker_connection_id=accounts[0])
    call(pdb, "broker_connection_delete", user=user, id=accounts[0])
    states = [one(pdb, "job_get", user=user, job_id=job_id) for job_id in (*jobs, order)]
    assert [(job["status"], job["error_message"]) for job in states] == [
        ("cancelled", "broker_connection_deleted"),
        ("pending", None),
        ("cancelled", "broker_connection_deleted"),
    ]


# -- settings


def test_settings_are_changed_field_by_field(pdb: Db, anna: User) -> None:
    changes = {
        "display_name": "Anna",
        "timezone": "Europe/Berlin",
        "daily_loss_limit_pct": 2.5,
        "risk_per_trade_pct": 1,
        "max_volume": 5,
        "max_open_positions": 3,
        "max_orders_per_minute": 10,
        "default_volume": 0.01,
        "trading_state": "reducing",
    }
    changed = one(pdb, "settings_update", user=anna.id, changes=changes)
    assert {name: changed[name] for name in changes} == {
        **changes,
        "default_volume": Decimal("0.01000000"),
    }
    cleared = {name: None for name in changes if name not in {"timezone", "trading_state"}}
    changed = one(pdb, "settings_update", user=anna.id, changes=cleared)
    assert {name: changed[name] for name in cleared} == cleared
    assert (changed["timezone"], changed["trading_state"]) == ("Europe/Berlin", "reducing")
    assert one(pdb, "settings_get", user=anna.id) == changed


@pytest.mark.parametrize(
    "changes, field",
    [
        ({"daily_loss_limit_pct": 0}, "daily_loss_limit_pct"),
        ({"daily_loss_limit_pct": 0.001}, "daily_loss_limit_pct"),
        ({"daily_loss_limit_pct": 100.1}, "daily_loss_limit_pct"),
        ({"risk_per_trade_pct": "5"}, "risk_per_trade_pct"),
        ({"max_volume": 0}, "max_volume"),
        ({"default_volume": 1e300}, "default_volume"),
        ({"max_open_positions": 1.5}, "max_open_positions"),
        ({"max_orders_per_minute": 1e9}, "max_orders_per_minute"),
        ({"trading_state": "paused"}, "trading_state"),
        ({"trading_state": None}, "trading_state"),
        ({"timezone": "Mars/Base"}, "timezone"),
        ({"display_name": "x" * 101}, "display_name"),
        ({"disclaimer_accepted_at": "2030-01-01"}, "disclaimer_accepted_at"),
    ],
)
def test_settings_refuse(pdb: Db, anna: User, changes: dict[str, Any], field: str) -> None:
    assert refused(pdb, "settings_update", user=anna.id, changes=changes) == (
        *("FX422", "invalid", field),
    )


# -- the audit log


def test_what_a_user_changes_is_on_record(pdb: Db, anna: User) -> None:
    call(pdb, "settings_update", user=anna.id, changes={"trading_state": "halted"})
    call(pdb, "agent_revoke", user=anna.id, agent_id=anna.agent)
    found = pdb.execute(
        "select action, actor, detail, host(ip) as ip from public.audit_log"
        " where user_id = %s order by id",
        (anna.id,),
    ).fetchall()
    agent = {"agent_id": str(anna.agent)}
    assert [tuple(note.values()) for note in found] == [
        ("onboarding_complete", "authenticated", {}, None),
        ("agent_pair", "authenticated", {**agent, "key_prefix": "abcdefgh"}, None),
        ("settings_update", "authenticated", {"trading_state": "halted"}, None),
        ("agent_revoke", "authenticated", agent, None),
    ]


def test_the_service_notes_what_it_did_and_no_user_notes_anything(pdb: Db, anna: User) -> None:
    """A user's note would be of something that never happened."""
    note: dict[str, Any] = {"action": "login", "detail": {"x": 1}, "ip": "10.0.0.1"}
    assert refused(pdb, "audit", user=anna.id, **note)[0] == "42501"
    number = value(pdb, "audit", **note)
    found = row(
        pdb,
        "select user_id, actor, action, detail, host(ip) as ip from public.audit_log where id = %s",
        number,
    )
    assert tuple(found.values()) == (None, "service_role", "login", {"x": 1}, "10.0.0.1")


def test_a_note_is_bounded(pdb: Db) -> None:
    assert refused(pdb, "audit", action="") == ("FX422", "invalid", "action")
    assert refused(pdb, "audit", action="x", detail={"x": "x" * 65536}) == (
        *("FX422", "invalid", "detail"),
    )


# -- versions


def test_the_source_of_a_version_is_frozen_once_it_is_no_draft(pdb: Db, anna: User) -> None:
    version = new_version(pdb, anna.id)
    edit = "update public.ea_versions set source_code = %s where id = %s"
    with acting(pdb, "authenticated", anna.id):
        assert pdb.execute(edit, ("void OnTick() {}", version)).rowcount == 1
    new_job(
        pdb, anna.id, "compile", agent_id=anna.agent, parent_type="ea_version", parent_id=version
    )
    for statement, arguments in (
        (edit, ("other", version)),
        ("update public.ea_versions set status = 'draft' where id = %s", (version,)),
    ):
        with pytest.raises(psycopg.Error) as refusal:
            pdb.execute(statement.encode(), arguments)
        assert refusal.value.sqlstate == "FX409"
    assert pdb.execute(edit, ("void OnTick() {}", version)).rowcount == 1  # nothing changes


def test_a_changed_row_says_when(pdb: Db, anna: User, still: Clock) -> None:
    still.advance(5)
    pdb.execute("update public.mt5_agents set name = 'x' where id = %s", (anna.agent,))
    found = row(
        pdb,
        "select updated_at = jobengine._now() as touched from public.mt5_agents where id = %s",
        anna.agent,
    )
    assert found == {"touched": True}
