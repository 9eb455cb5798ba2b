"""Who may do what with whose rows: every table, role and verb, for the owner and a stranger.

On a plain PostgreSQL and on one that looks like Supabase's, which gives its roles every new table
and function by default.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from tests.sql.platform.helpers import (
    ROLES,
    Db,
    User,
    acting,
    call,
    new_deployment,
    new_job,
    new_signal,
    new_trader,
    row,
)

REFUSED = {"42501", "55000"}  # no right; a view that cannot be written
ALL = {"select", "insert", "update", "delete"}
READ = {"select"}
NONE: set[str] = set()

# Table: the column of its user, one that may be changed if any may, what the owner may do with own
# rows, what the service may do with everybody's. `anon` may do nothing, a stranger neither.
RIGHTS: dict[str, tuple[str, str, set[str], set[str]]] = {
    "public.profiles": ("id", "timezone", READ, ALL),
    "public.user_settings": ("user_id", "max_volume", READ, ALL),
    "public.broker_connections": ("user_id", "name", READ, ALL),
    "public.mt5_agents": ("user_id", "name", READ, ALL),
    "public.ea_projects": ("user_id", "name", ALL, ALL),
    "public.ea_versions": ("user_id", "source_code", ALL, ALL),
    "public.ea_artifacts": ("user_id", "kind", READ, ALL),
    "public.ea_deployments": ("user_id", "status", READ, ALL),
    "public.tv_strategies": ("user_id", "name", ALL, ALL),
    "public.tv_signals": ("user_id", "status", READ, ALL),
    "public.trade_events": ("user_id", "event", READ, {"select", "insert"}),
    "public.account_snapshots": ("user_id", "equity", READ, ALL),
    "public.daily_pnl": ("user_id", "realized_pnl", READ, ALL),
    "public.idempotency_key": ("user_id", "created_at", NONE, ALL),
    "public.order_end": ("user_id", "status", NONE, ALL),
    "public.audit_log": ("user_id", "action", READ, {"select", "insert"}),
    "public.jobs": ("user_id", "status", READ, READ),
    "public.orders": ("user_id", "created_at", READ, READ),
    "public.agents": ("user_id", "name", READ, READ),
    "public.connections": ("id", "name", READ, READ),
    "public.settings": ("user_id", "timezone", READ, READ),
    "public.strategies": ("user_id", "name", READ, READ),
    "public.signals": ("user_id", "status", READ, READ),
    "jobengine.jobs": ("tenant_id", "status", READ, READ),
    "jobengine.job": ("tenant_id", "queue", READ, READ),
    "jobengine.ready": ("tenant_id", "queue", READ, READ),
    "jobengine.lease": ("tenant_id", "queue", READ, READ),
    "jobengine.ended": ("tenant_id", "status", READ, READ),
    "jobengine.failure": ("job_id", "attempt", NONE, NONE),
    "jobengine.job_type": ("job_type", "priority", NONE, NONE),
    "jobengine.live_key": ("tenant_id", "job_id", NONE, NONE),
    "jobengine.waiting": ("tenant_id", "queue", NONE, NONE),
    "jobengine._migration": ("name", "checksum", NONE, NONE),
    "platform._migration": ("name", "checksum", NONE, NONE),
}
FUNCTIONS = {
    "authenticated": {
        *("agent_pair", "agent_rotate_key", "agent_revoke", "agent_list", "agent_status"),
        *("job_get", "job_list", "job_cancel", "job_create"),
        *("broker_connection_list", "broker_connection_create", "broker_connection_update"),
        *("broker_connection_delete", "settings_get", "settings_update", "onboarding_complete"),
        *("order_create", "order_get", "order_list", "order_events", "position_close"),
        *("read_create", "trading_agent", "_order_page"),
        *("strategy_create", "strategy_update", "strategy_delete", "strategy_rotate_secret"),
        *("strategy_list", "strategy_get", "strategy_test", "kill_switch"),
        *("signal_list", "signal_count", "signal_get", "_reason", "_milliseconds"),
        "_signal_amounts",
        *("_now", "_refuse", "_uuid", "_number", "_money", "_integer", "_job_page"),
        "_order_status",
    },
    "service_role": {
        *("agent_status", "agent_credentials", "agent_set_digest", "agent_heartbeat", "agent_seen"),
        *("agent_queues", "claim_next_job", "job_create", "user_add", "user_find"),
        *("strategy_by_secret", "agent_claim", "agent_start", "deals_report", "agent_of_key"),
        "users_waiting",
        *("strategy_secrets", "signal_receive", "_reason", "_milliseconds"),
        "_signal_amounts",
        *("audit", "_now", "_refuse", "_uuid", "_number", "_money", "_integer", "_order_status"),
    },
    "anon": set(),
}


@pytest.fixture(scope="module", params=["platform_url", "supabase_url"])
def rdb(request: pytest.FixtureRequest) -> Iterator[Db]:
    """The owner's connection to either database."""
    url: str = request.getfixturevalue(request.param)
    with psycopg.connect(url, autocommit=True, row_factory=dict_row) as conn:
        yield conn


@pytest.fixture(scope="module")
def owner(rdb: Db) -> User:
    return with_rows(rdb)


@pytest.fixture(scope="module")
def stranger(rdb: Db) -> User:
    return with_rows(rdb)


def with_rows(db: Db) -> User:
    """A user with at least one row in every table."""
    user = new_trader(db)
    deployment = new_deployment(db, user.id)
    db.execute(
        "insert into public.ea_artifacts (version_id, user_id)"
        " select version_id, user_id from public.ea_deployments where id = %s",
        (deployment,),
    )
    db.execute(
        "insert into public.account_snapshots (user_id, broker_connection_id, balance, equity)"
        " values (%s, %s, 1, 1)",
        (user.id, user.account),
    )
    db.execute(
        "insert into public.daily_pnl (user_id, broker_connection_id, day)"
        " values (%s, %s, '2030-01-01')",
        (user.id, user.account),
    )
    db.execute(
        "insert into public.idempotency_key (user_id, key, request_hash, job_id, created_at)"
        " values (%s, 'k', 'h', gen_random_uuid(), now())",
        (user.id,),
    )
    new_signal(db, user.id)
    for number in range(3):  # one ends, one is held, one waits
        job_id = new_job(db, user.id, "trade", agent_id=user.agent)
        if number == 0:
            call(db, "job_cancel", user=user.id, job_id=job_id)
        if number == 1:
            call(db, "claim_next_job", agent_id=user.agent)
    return user


def attempt(db: Db, role: str, user: User, verb: str, table: str, *, whose: User) -> str:
    """Try it and undo it: `allowed`, `refused`, or `nothing` (no row met)."""
    owner, column, *_ = RIGHTS[table]
    key: object = whose.account if table == "public.connections" else whose.id
    if owner in ("name", "job_type"):
        key = str(key)
    names = {
        "table": sql.Identifier(*table.split(".")),
        "owner": sql.Identifier(owner),
        "column": sql.Identifier(column),
    }
    statements = {
        "select": "select {owner} from {table} where {owner} = %s",
        "insert": "insert into {table} ({owner}) values (%s)",
        "update": "update {table} set {column} = {column} where {owner} = %s",
        "delete": "delete from {table} where {owner} = %s",
    }
    statement = sql.SQL(statements[verb]).format(**names)
    try:
        with (
            db.transaction(force_rollback=True),
            acting(db, role, None if role == "service_role" else user.id),
        ):
            return "allowed" if db.execute(statement, (key,)).rowcount else "nothing"
    except psycopg.Error as error:
        # a right is looked at before the row's values: another error says that there is one
        return "refused" if error.sqlstate in REFUSED else "allowed"


def expected(role: str, verb: str, table: str, whose: str) -> set[str]:
    *_, own, service = RIGHTS[table]
    if role == "service_role":
        return {"allowed"} if verb in service else {"refused"}
    if role == "anon" or verb not in own:
        return {"refused"}
    if whose == "owner":
        return {"allowed"}
    return {"refused"} if verb == "insert" else {"nothing"}


@pytest.mark.parametrize("table", RIGHTS)
def test_every_role_may_do_what_it_should_and_no_more(
    rdb: Db, owner: User, stranger: User, table: str
) -> None:
    whose = {"owner": owner, "stranger": stranger}
    tried = {
        (role, verb, name): attempt(rdb, role, owner, verb, table, whose=whose[name])
        for role, verb, name in product(ROLES, sorted(ALL), whose)
    }
    assert {
        key for key, found in tried.items() if found not in expected(key[0], key[1], table, key[2])
    } == set()


def test_every_table_of_the_database_is_in_the_matrix(rdb: Db) -> None:
    found = rdb.execute(
        "select n.nspname || '.' || c.relname as name from pg_class c"
        " join pg_namespace n on n.oid = c.relnamespace"
        " where n.nspname in ('public', 'platform', 'jobengine')"
        " and c.relkind in ('r', 'p', 'v', 'm', 'f')"
    ).fetchall()
    assert {table["name"] for table in found} == set(RIGHTS)


def test_every_table_of_the_platform_has_row_level_security_and_a_policy_of_the_service(
    rdb: Db,
) -> None:
    """So that the service needs no BYPASSRLS, and a forgotten policy hides rows, not shows them."""
    bare = rdb.execute(
        "select c.relname from pg_class c"
        " where c.relnamespace = 'public'::regnamespace and c.relkind = 'r'"
        " and not (c.relrowsecurity and exists (select from pg_policies p"
        " where p.schemaname = 'public' and p.tablename = c.relname"
        " and p.roles = '{service_role}'))"
    ).fetchall()
    assert bare == []


@pytest.mark.parametrize("role", ROLES)
def test_every_role_may_call_what_it_should_and_no_more(rdb: Db, role: str) -> None:
    found = rdb.execute(
        "select p.proname from pg_proc p where p.pronamespace = 'public'::regnamespace"
        " and has_function_privilege(%s, p.oid, 'execute')",
        (role,),
    ).fetchall()
    assert {function["proname"] for function in found} == FUNCTIONS[role]


@pytest.mark.parametrize("role", ROLES)
def test_no_role_may_call_the_engine(rdb: Db, role: str) -> None:
    """The service's login role is a member of the engine's roles; a user's role is not."""
    found = rdb.execute(
        "select p.proname from pg_proc p where p.pronamespace = 'jobengine'::regnamespace"
        " and has_function_privilege(%s, p.oid, 'execute')",
        (role,),
    ).fetchall()
    assert found == []


def test_a_functions_owner_rights_are_safe(rdb: Db) -> None:
    """Every function pins its search path and belongs to the owner of the tables."""
    found = rdb.execute(
        "select p.proname from pg_proc p where p.pronamespace = 'public'::regnamespace"
        " and (p.proconfig is null or not p.proconfig @> array['search_path=pg_catalog, pg_temp']"
        " or p.proowner <> (select relowner from pg_class"
        " where oid = 'public.mt5_agents'::regclass))"
    ).fetchall()
    assert found == []


SECRETS = [
    *("pairing_key_hash", "pairing_key_digest", "previous_key_hash", "previous_key_digest"),
    "password_encrypted",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_a_user_cannot_read_a_secret_of_an_agent(rdb: Db, owner: User, secret: str) -> None:
    query = sql.SQL("select {} from public.mt5_agents").format(sql.Identifier(secret))
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        acting(rdb, "authenticated", owner.id),
    ):
        rdb.execute(query)


CHOSEN_BY_US = ["secret_digest", "previous_secret_digest", "previous_secret_until"]


@pytest.mark.parametrize("column", CHOSEN_BY_US)
def test_a_user_cannot_choose_by_what_a_strategy_is_found(
    rdb: Db, owner: User, column: str
) -> None:
    query = sql.SQL("update public.tv_strategies set {0} = {0}").format(sql.Identifier(column))
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        acting(rdb, "authenticated", owner.id),
    ):
        rdb.execute(query)


def test_a_user_cannot_make_a_row_that_points_at_a_strangers(
    rdb: Db, owner: User, stranger: User
) -> None:
    def foreign(table: str) -> UUID:
        found: UUID = row(
            rdb, f"select id from public.{table} where user_id = %s limit 1", stranger.id
        )["id"]
        return found

    strategy = (
        "insert into public.tv_strategies (user_id, name, webhook_secret, broker_connection_id)"
        " values (%(me)s, 's', %(any)s, %(other)s)"
    )
    version = (
        "insert into public.ea_versions (user_id, project_id, version_number)"
        " values (%(me)s, %(other)s, 9)"
    )
    current = "update public.ea_projects set current_version_id = %(other)s where user_id = %(me)s"
    for statement, other in (
        (strategy, stranger.account),
        (version, foreign("ea_projects")),
        (current, foreign("ea_versions")),
    ):
        values = {"me": owner.id, "any": str(uuid4()), "other": other}
        with (
            pytest.raises(psycopg.errors.ForeignKeyViolation),
            acting(rdb, "authenticated", owner.id),
        ):
            rdb.execute(statement.encode(), values)
