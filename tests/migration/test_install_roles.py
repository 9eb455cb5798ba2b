"""Which role may install, what it becomes, and what is left when it may not."""

from __future__ import annotations

import re
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from jobengine.embedded import EmbeddedPostgres
from jobengine.errors import EngineError, NotInstalled, SchemaMismatch
from tests.conftest import ROLES
from tests.migration.databases import MIGRATIONS, catalog, install, left_behind, verify

PLAIN = "plain"  # may create schemas in its own database, and no roles


@pytest.fixture
def plain_url(server: EmbeddedPostgres) -> Iterator[str]:
    """An empty database of a role without any other right."""
    yield from owned_database(server, PLAIN)


@pytest.fixture
def jobengine_url(server: EmbeddedPostgres) -> Iterator[str]:
    """An empty database of a role that is named like the schema and may create roles."""
    yield from owned_database(server, "jobengine")


def owned_database(server: EmbeddedPostgres, owner: str) -> Iterator[str]:
    with psycopg.connect(server.admin_url, autocommit=True) as admin:
        known = admin.execute("select 1 from pg_roles where rolname = %s", (owner,)).fetchone()
        if not known:
            admin.execute(sql.SQL("create role {} login").format(sql.Identifier(owner)))
        admin.execute(sql.SQL("create database app owner {}").format(sql.Identifier(owner)))
        yield make_conninfo(server.admin_url, dbname="app", user=owner)
        admin.execute("drop database app with (force)")
        for role in ROLES:
            admin.execute(sql.SQL("drop role if exists {}").format(sql.Identifier(role)))


def as_admin(server: EmbeddedPostgres, statement: str) -> None:
    with psycopg.connect(server.admin_url, dbname="app", autocommit=True) as admin:
        admin.execute(statement.encode())


def work_through_a_job(url: str) -> None:
    """Enqueue, claim and finish one job."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("select jobengine.register_job_type('work')")
        conn.execute("select jobengine.enqueue(array['work'])")
        request = '[{"queues": ["default"], "agent_id": "a", "limit": 1}]'
        claimed = conn.execute("select job_id, lease_epoch from jobengine.claim(%s)", (request,))
        [(job_id, epoch)] = claimed.fetchall()
        finished = conn.execute(
            "select verdict, status"
            " from jobengine.finish(array[%s], array[%s], array['completed'])",
            (job_id, epoch),
        )
        assert finished.fetchall() == [("ok", "completed")]


def test_a_role_that_may_create_roles_becomes_owner_and_user(jobengine_url: str) -> None:
    assert install(jobengine_url).roles
    assert verify(jobengine_url) == []
    work_through_a_job(jobengine_url)


def test_without_roles_any_owner_of_a_database_can_install(plain_url: str) -> None:
    assert install(plain_url, roles=False).applied == MIGRATIONS
    assert left_behind(plain_url) == ["schema jobengine"]
    assert verify(plain_url) == []
    assert install(plain_url, roles=False).applied == ()
    work_through_a_job(plain_url)


def test_without_roles_nobody_else_may_call(server: EmbeddedPostgres, plain_url: str) -> None:
    install(plain_url, roles=False)
    other = make_conninfo(plain_url, user="jobengine")
    with psycopg.connect(other) as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute("select jobengine.count()")


def test_roles_give_each_what_it_needs_and_no_more(jobengine_url: str) -> None:
    install(jobengine_url)
    allowed = {role: called_by(jobengine_url, role) for role in ROLES[1:]}
    assert "retry" in allowed["jobengine_operator"]
    assert "claim" in allowed["jobengine_worker"]
    assert "claim" not in allowed["jobengine_client"]
    assert "enqueue" in allowed["jobengine_client"]
    assert allowed["jobengine_client"] < allowed["jobengine_operator"]
    assert allowed["jobengine_worker"] < allowed["jobengine_operator"]


def called_by(url: str, role: str) -> set[str]:
    """The functions that a role may execute."""
    with psycopg.connect(url) as conn:
        rows = conn.execute(
            "select proname from pg_proc where pronamespace = 'jobengine'::regnamespace"
            " and has_function_privilege(%s, oid, 'execute')",
            (role,),
        ).fetchall()
    return {name for (name,) in rows}


@pytest.mark.parametrize("roles", [True, False])
def test_a_user_named_like_the_schema_sees_no_difference(jobengine_url: str, roles: bool) -> None:  # noqa: FBT001
    """Its search path holds the schema, and PostgreSQL prints names as the path shortens them."""
    url = make_conninfo(jobengine_url, options='-csearch_path="$user",public')  # the default
    install(url, roles=roles)
    with psycopg.connect(url) as conn:
        assert conn.execute("select current_schemas(false)").fetchone() == (
            ["jobengine", "public"],
        )
    assert verify(url) == []
    assert install(url, roles=roles).applied == ()


def test_any_search_path_gives_the_same_catalog(jobengine_url: str) -> None:
    install(jobengine_url)
    paths = ["public", "jobengine,public", ""]
    urls = [make_conninfo(jobengine_url, options=f"-csearch_path={path}") for path in paths]
    assert [catalog(url) for url in urls] == [catalog(jobengine_url)] * len(paths)


def test_a_worker_may_verify(server: EmbeddedPostgres, jobengine_url: str) -> None:
    install(jobengine_url)
    as_admin(server, "create role reader login in role jobengine_worker")
    try:
        assert verify(make_conninfo(jobengine_url, user="reader")) == []
    finally:
        as_admin(server, "drop role reader")


def test_an_install_does_not_change_its_mode(jobengine_url: str) -> None:
    install(jobengine_url)
    with pytest.raises(SchemaMismatch, match="installed with roles here"):
        install(jobengine_url, roles=False)
    assert verify(jobengine_url) == []


def test_an_install_without_roles_does_not_get_roles(jobengine_url: str) -> None:
    install(jobengine_url, roles=False)
    with pytest.raises(SchemaMismatch, match="installed without roles here"):
        install(jobengine_url)
    assert left_behind(jobengine_url) == ["schema jobengine"]
    assert verify(jobengine_url) == []


def refused(url: str, *, roles: bool) -> EngineError:
    """Try to install and return the refusal, after which nothing is there."""
    before = left_behind(url)
    with pytest.raises(NotInstalled) as caught:
        install(url, roles=roles)
    assert left_behind(url) == before
    assert "schema jobengine" not in before
    return caught.value


def test_a_role_that_may_not_create_roles_is_told_what_to_do(plain_url: str) -> None:
    error = refused(plain_url, roles=True)
    assert re.search("permission denied to create role|must", str(error))
    assert error.hint is not None
    assert "--no-roles" in error.hint


def test_a_role_that_may_not_have_the_roles_is_told_what_to_do(
    server: EmbeddedPostgres, plain_url: str
) -> None:
    for role in ROLES:
        as_admin(server, f"create role {role} nologin")
    error = refused(plain_url, roles=True)
    assert error.hint is not None
    assert "--no-roles" in error.hint


def test_a_role_that_may_not_create_schemas_is_told_what_to_do(
    server: EmbeddedPostgres, plain_url: str
) -> None:
    as_admin(server, "alter database app owner to postgres")
    error = refused(plain_url, roles=False)
    assert "permission denied for database app" in str(error)
    assert error.hint is not None
    assert "schemas" in error.hint
