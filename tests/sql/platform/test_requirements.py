"""The source documents' requirements of the database, each under its number (R22 to R35)."""

from __future__ import annotations

import pytest

from tests.sql.platform.helpers import Db

COLUMNS = """
select a.attname as column, format_type(a.atttypid, a.atttypmod) as type, a.attnotnull as required
from pg_attribute a
where a.attrelid = %s::regclass and a.attnum > 0 and not a.attisdropped
"""
REFERENCES = """
select confrelid::regclass::text as target, confdeltype as on_delete
from pg_constraint c
where c.conrelid = %s::regclass and c.contype = 'f'
  and (select attnum from pg_attribute where attrelid = c.conrelid and attname = %s) = any (conkey)
"""
CASCADE, SET_NULL = "c", "n"


def columns(db: Db, table: str) -> dict[str, tuple[str, bool]]:
    """Return type and whether it is required, of each column."""
    rows = db.execute(COLUMNS, (table,)).fetchall()
    return {row["column"]: (row["type"], row["required"]) for row in rows}


def targets(db: Db, table: str, column: str) -> set[tuple[str, str]]:
    """Return what the column refers to, and what a deletion there does."""
    rows = db.execute(REFERENCES, (table, column)).fetchall()
    return {(row["target"].removeprefix("public."), row["on_delete"]) for row in rows}


@pytest.mark.parametrize(
    "table, column, kind",
    [
        ("mt5_agents", "pairing_key_hash", "text"),
        ("mt5_agents", "pairing_key_prefix", "text"),
        ("jobs", "agent_id", "uuid"),
        ("jobs", "claimed_at", "timestamp with time zone"),
        ("ea_projects", "current_version_id", "uuid"),
    ],
    ids=["r23_hash", "r23_prefix", "r24_agent", "r24_claimed", "r26_version"],
)
def test_r23_r24_r26_columns_that_were_added(pdb: Db, table: str, column: str, kind: str) -> None:
    assert columns(pdb, table)[column][0] == kind


def test_r25_there_are_nine_job_types(pdb: Db) -> None:
    rows = pdb.execute("select job_type from jobengine.job_type").fetchall()
    assert {row["job_type"] for row in rows} == {
        *("compile", "deploy", "run", "stop", "trade"),
        *("get_positions", "get_account", "get_candles", "close_position"),
    }


def test_r26_the_current_version_is_a_version(pdb: Db) -> None:
    assert {target for target, _ in targets(pdb, "ea_projects", "current_version_id")} == {
        "ea_versions"
    }


def test_r27_a_strategy(pdb: Db) -> None:
    found = columns(pdb, "tv_strategies")
    assert found["user_id"] == ("uuid", True)
    assert found["broker_connection_id"] == ("uuid", False)
    assert found["name"] == ("text", True)
    assert found["webhook_secret"] == ("text", True)
    assert found["risk_override_pct"] == ("numeric(5,2)", False)
    assert found["allowed_pairs"] == ("text[]", False)
    assert found["is_enabled"] == ("boolean", True)
    for time in ("created_at", "updated_at"):
        assert found[time] == ("timestamp with time zone", True)
    assert ("auth.users", CASCADE) in targets(pdb, "tv_strategies", "user_id")


def test_r28_r30_row_level_security(pdb: Db) -> None:
    rows = pdb.execute(
        "select tablename as table, policyname as policy, cmd from pg_policies"
        " where tablename in ('tv_strategies', 'tv_signals') and 'authenticated' = any(roles)"
        " or tablename in ('tv_strategies', 'tv_signals') and 'public' = any(roles)"
    ).fetchall()
    found = {(row["table"], row["policy"], row["cmd"]) for row in rows}
    assert ("tv_strategies", "Users manage own strategies", "ALL") in found
    assert ("tv_signals", "Users read own signals", "SELECT") in found
    assert {cmd for table, _, cmd in found if table == "tv_signals"} == {"SELECT"}


def test_r29_a_signal(pdb: Db) -> None:
    found = columns(pdb, "tv_signals")
    assert found["status"] == ("text", True)
    assert found["symbol"] == found["action"] == ("text", False)  # C12: malformed ones are kept
    # C26: three decimals of a lot, and any price
    assert {found[name][0] for name in ("volume", "price", "fill_price")} == {"numeric(20,8)"}
    assert found["broker_order_id"] == found["error_message"] == ("text", False)
    assert found["raw_payload"] == ("jsonb", True)
    assert {"received_at", "resolved_at", "created_at"} <= found.keys()
    assert ("auth.users", CASCADE) in targets(pdb, "tv_signals", "user_id")
    assert {on for _, on in targets(pdb, "tv_signals", "strategy_id")} == {CASCADE}  # C23
    assert targets(pdb, "tv_signals", "job_id") == {("jobengine.job", SET_NULL)}


def test_r31_the_claim_is_a_function_of_the_agent(pdb: Db) -> None:
    row = pdb.execute(
        "select pg_get_function_result(oid) as result, prokind as kind from pg_proc"
        " where oid = 'public.claim_next_job(uuid)'::regprocedure"
    ).fetchone()
    assert row == {"result": "SETOF jobs", "kind": "f"}


@pytest.mark.parametrize(
    "index",
    [
        "tv_strategies_webhook_secret_idx",
        "tv_strategies_user_id_idx",
        "tv_signals_strategy_id_idx",
        "tv_signals_user_id_idx",
        "tv_signals_received_at_idx",
    ],
)
def test_r32_an_index_of_the_source_documents(pdb: Db, index: str) -> None:
    assert pdb.execute("select to_regclass(%s) as found", (index,)).fetchone() != {"found": None}


@pytest.mark.parametrize(
    "table",
    [
        *("profiles", "broker_connections", "ea_projects", "ea_versions", "ea_artifacts"),
        *("ea_deployments", "jobs", "trade_events", "user_settings", "mt5_agents"),
    ],
)
def test_r33_what_the_source_documents_use_is_there(pdb: Db, table: str) -> None:
    assert pdb.execute("select to_regclass(%s) as found", (table,)).fetchone() != {"found": None}


@pytest.mark.parametrize(
    "child, column, parent",
    [
        ("broker_connections", "user_id", "auth.users"),
        ("mt5_agents", "user_id", "auth.users"),
        ("ea_projects", "user_id", "auth.users"),
        ("tv_strategies", "broker_connection_id", "broker_connections"),
        ("ea_deployments", "broker_connection_id", "broker_connections"),
        ("ea_deployments", "agent_id", "mt5_agents"),
        ("ea_versions", "project_id", "ea_projects"),
        ("ea_artifacts", "version_id", "ea_versions"),
        ("ea_deployments", "version_id", "ea_versions"),
        ("tv_signals", "strategy_id", "tv_strategies"),
    ],
)
def test_r34_a_child_knows_its_parent(pdb: Db, child: str, column: str, parent: str) -> None:
    assert parent in {target for target, _ in targets(pdb, child, column)}
