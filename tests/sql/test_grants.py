"""Who may call and see what; a settle function called as each role."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.sql.helpers import ANNA, BERT, NOBODY, Db, Engine, everything
from tests.sql.parents import Parents

CLIENT, WORKER, OPERATOR = "jobengine_client", "jobengine_worker", "jobengine_operator"
ROLES = {CLIENT, WORKER, OPERATOR}
# Every function that anybody but the owner may call. All others are internal.
MAY_CALL = {
    "enqueue": ROLES,
    "get": ROLES,
    "stats": ROLES,
    "cancel": {CLIENT, OPERATOR},
    "list": {CLIENT, OPERATOR},
    "count": {CLIENT, OPERATOR},
    "claim": {WORKER, OPERATOR},
    "start": {WORKER, OPERATOR},
    "extend": {WORKER, OPERATOR},
    "finish": {WORKER, OPERATOR},
    "release": {WORKER, OPERATOR},
    "sweep": {WORKER, OPERATOR},
    "prune": {WORKER, OPERATOR},
    "retry": {OPERATOR},
    "register_job_type": {OPERATOR},
    "_doze": {WORKER, OPERATOR},
    "_rouse": {WORKER, OPERATOR},
    "_tenants": {WORKER, OPERATOR},
    "_next_due": {WORKER, OPERATOR},
}
READABLE = {"jobs", "job", "ready", "lease", "ended", "failure", "job_type"}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "enqueue": {"job_types": ["work"]},
    "get": {"job_ids": [NOBODY]},
    "stats": {},
    "cancel": {"job_ids": [NOBODY]},
    "list": {},
    "count": {},
    "claim": {"requests": psycopg.types.json.Jsonb([])},
    "start": {"job_ids": [NOBODY], "lease_epochs": [1]},
    "extend": {"job_ids": [NOBODY], "lease_epochs": [1]},
    "finish": {"job_ids": [NOBODY], "lease_epochs": [1], "outcomes": ["failed"]},
    "release": {"job_ids": [NOBODY], "lease_epochs": [1]},
    "sweep": {},
    "prune": {"keep_seconds": 1},
    "retry": {"job_ids": [NOBODY]},
    "register_job_type": {"job_type": "work"},
    "_doze": {"listener_id": NOBODY, "tenant_ids": None, "queues": ["a"], "seconds": 1},
    "_rouse": {"listener_id": NOBODY},
    "_tenants": {},
    "_next_due": {"tenant_ids": [NOBODY], "queues": ["a"]},
}


@contextmanager
def acting_as(db: Db, role: str) -> Iterator[None]:
    db.execute(sql.SQL("set role {}").format(sql.Identifier(role)))
    try:
        yield
    finally:
        db.execute("reset role")


def test_exactly_the_listed_roles_may_call_a_function(db: Db) -> None:
    query = """
        select p.proname as function, array_agg(r) filter (where has_function_privilege(
            r, p.oid, 'execute')) as roles
        from pg_proc p, unnest(%s::text[]) r
        where p.pronamespace = 'jobengine'::regnamespace
        group by p.oid"""
    found = {
        row["function"]: set(row["roles"])
        for row in db.execute(query, (sorted(ROLES),))
        if row["roles"]
    }
    assert found == MAY_CALL


@pytest.mark.parametrize("role", sorted(ROLES))
def test_a_role_calls_what_it_may_and_is_refused_the_rest(engine: Engine, role: str) -> None:
    assert ARGUMENTS.keys() == MAY_CALL.keys()
    with acting_as(engine.db, role):
        for function, arguments in ARGUMENTS.items():
            if role in MAY_CALL[function]:
                engine.call(function, **arguments)
            else:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    engine.call(function, **arguments)


def test_public_may_do_nothing(db: Db) -> None:
    schema = "select has_schema_privilege('public', 'jobengine', 'usage, create') as may"
    assert db.execute(schema).fetchall() == [{"may": False}]
    functions = """
        select p.proname from pg_proc p where p.pronamespace = 'jobengine'::regnamespace
        and has_function_privilege('public', p.oid, 'execute')"""
    assert db.execute(functions).fetchall() == []
    tables = """
        select c.relname from pg_class c
        where c.relnamespace = 'jobengine'::regnamespace and c.relkind in ('r', 'v')
          and has_table_privilege('public', c.oid, 'select, insert, update, delete, truncate')"""
    assert db.execute(tables).fetchall() == []


def test_only_the_operator_reads_tables_and_nobody_writes_them(db: Db) -> None:
    query = """
        select c.relname, r as role, p as privilege
        from pg_class c, unnest(%s::text[]) r,
             unnest('{select,insert,update,delete,truncate,references,trigger}'::text[]) p
        where c.relnamespace = 'jobengine'::regnamespace and c.relkind in ('r', 'v')
          and has_table_privilege(r, c.oid, p)"""
    found = {
        (row["relname"], row["role"], row["privilege"])
        for row in db.execute(query, (sorted(ROLES),))
    }
    assert found == {(name, OPERATOR, "select") for name in READABLE}


def test_row_level_security_is_on_for_every_table_of_the_engine(db: Db) -> None:
    query = """
        select relname from pg_class
        where relnamespace = 'jobengine'::regnamespace and relkind = 'r' and not relrowsecurity
          and relname not in ('_migration', 'test_clock')"""
    assert db.execute(query).fetchall() == []


def test_every_public_function_runs_as_its_owner_with_a_pinned_search_path(db: Db) -> None:
    query = """
        select p.proname, p.prosecdef, pg_get_userbyid(p.proowner) as owner,
               'search_path=pg_catalog, pg_temp' = any (p.proconfig) as pinned
        from pg_proc p where p.pronamespace = 'jobengine'::regnamespace"""
    rows = db.execute(query).fetchall()
    assert {row["owner"] for row in rows} == {"jobengine_owner"}
    assert [row["proname"] for row in rows if not row["pinned"]] == []
    assert {row["proname"] for row in rows if row["prosecdef"]} == MAY_CALL.keys()


def test_the_operator_sees_every_job_in_the_view(engine: Engine) -> None:
    engine.enqueue(tenant_id=ANNA)
    engine.hold(tenant_id=BERT)
    engine.cancel(engine.enqueue())
    lease = engine.hold("trade", queue="a")
    engine.finish(lease, "failed")
    expected = engine.db.execute("select * from jobengine.jobs order by job_id").fetchall()
    assert len(expected) == 4
    with acting_as(engine.db, OPERATOR):
        seen = engine.db.execute("select * from jobengine.jobs order by job_id").fetchall()
        failures = engine.db.execute("select job_id from jobengine.failure").fetchall()
    assert seen == expected
    assert failures == [{"job_id": lease["job_id"]}]


def test_tenant_isolated_a_host_adds_its_own_policies(engine: Engine) -> None:
    mine = engine.enqueue(tenant_id=ANNA)
    theirs = engine.enqueue(tenant_id=BERT)
    see = "select job_id, status from jobengine.jobs"
    with engine.db.transaction(force_rollback=True):
        for table in ("job", "ready", "lease", "ended", "jobs"):
            engine.db.execute(f"grant select on jobengine.{table} to jobengine_client".encode())
        with acting_as(engine.db, CLIENT):
            assert engine.db.execute(see).fetchall() == []
        for table in ("job", "ready", "lease", "ended"):
            engine.db.execute(
                f"create policy tenant_reads on jobengine.{table} for select to jobengine_client"
                " using (tenant_id = current_setting('app.tenant')::uuid)".encode()
            )
        with acting_as(engine.db, CLIENT):
            engine.db.execute("select set_config('app.tenant', %s, true)", (str(ANNA),))
            assert engine.db.execute(see).fetchall() == [{"job_id": mine, "status": "pending"}]
            engine.db.execute("select set_config('app.tenant', %s, true)", (str(BERT),))
            assert engine.db.execute(see).fetchall() == [{"job_id": theirs, "status": "pending"}]


CAN_END = {
    CLIENT: ["cancel"],
    WORKER: ["finish", "release", "sweep"],
    OPERATOR: ["cancel", "finish", "release", "sweep", "retry"],
}


@pytest.mark.parametrize(
    "role, function", [(role, function) for role, names in CAN_END.items() for function in names]
)
def test_a_settle_called_as_any_role_changes_exactly_one_parent(
    engine: Engine, parents: Parents, role: str, function: str
) -> None:
    parents.add("other")
    lease = engine.hold(input=parents.add("p"), started=function != "cancel", max_attempts=1)
    match function:
        case "release":
            engine.cancel(lease["job_id"])
        case "sweep":
            engine.clock.advance(60)
        case "retry":
            engine.finish(lease, "failed")
    with acting_as(engine.db, role):
        end(engine, function, lease)
    statuses = {
        "cancel": "cancelled",
        "finish": "completed",
        "release": "cancelled",
        "sweep": "failed",
        "retry": "pending",
    }
    assert parents.get("p") == (int(function == "finish"), statuses[function])
    assert parents.get("other") == (0, None)


def end(engine: Engine, function: str, lease: Any) -> None:
    match function:
        case "cancel":
            assert engine.cancel(lease["job_id"]) == [("ok", "cancelled")]
        case "finish":
            assert engine.finish(lease, "completed") == ("ok", "completed")
        case "release":
            assert engine.verdict("release", lease) == "ok"
        case "sweep":
            assert engine.sweep() == (0, 1, 0, False)
        case "retry":
            assert engine.retry(lease["job_id"]) == [("ok", "pending")]


def test_a_settle_function_cannot_be_called_by_the_engines_users(
    engine: Engine, parents: Parents
) -> None:
    for role in sorted(ROLES):
        query = (
            "select has_function_privilege(%s, 'app.settle(jobengine.settled_job[])', 'execute')"
        )
        [row] = engine.db.execute(query, (role,)).fetchall()
        assert row["has_function_privilege"] is False


def test_forced_row_level_security_is_seen_as_parent_gone(engine: Engine, parents: Parents) -> None:
    # Registration cannot see which tables a function changes; the settle function that counts
    # what it changed tells it at the first job.
    lease = engine.hold(input=parents.add("p"))
    engine.db.execute("alter table app.parent force row level security")
    assert engine.finish(lease, "completed") == ("settle_failed", "completed")
    assert engine.job(lease["job_id"])["settle_error"] == "parent_gone"
    engine.db.execute("alter table app.parent no force row level security")
    assert parents.get("p") == (0, None)


def test_an_invoker_settle_function_would_change_nothing_and_is_refused(
    engine: Engine, parents: Parents
) -> None:
    lease = engine.hold(input=parents.add("p"))
    engine.db.execute("alter function app.settle security invoker")
    before = everything(engine.db)
    with pytest.raises(psycopg.Error) as caught:
        engine.register("work", settle="app.settle")
    assert caught.value.sqlstate == "JE003"
    assert everything(engine.db) == before
    assert engine.finish(lease, "completed") == ("settle_failed", "completed")
