"""Every way in which the schema may differ is found, alone, and its remedy mends it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.acceptance.clinic import codes, findings, follow
from tests.acceptance.command_line import CommandLine
from tests.conftest import fresh_database

# What is done to the schema, what is found, and whether the remedy can be followed to the letter.
FAULTS: dict[str, tuple[str, str, bool]] = {
    "function dropped": ("drop function jobengine.get", "missing", True),
    "function with other arguments": (
        (
            "drop function jobengine._rouse(uuid); create function jobengine._rouse(p_other uuid)"
            " returns boolean language sql set search_path = pg_catalog, pg_temp as 'select true';"
            " revoke execute on function jobengine._rouse from public;"
            " grant execute on function jobengine._rouse to jobengine_worker, jobengine_operator"
        ),
        "altered",
        True,
    ),
    "function with another setting": (
        "alter function jobengine.stats set work_mem = '1GB'",
        "altered",
        True,
    ),
    "function of ours for everybody": (
        "grant execute on function jobengine.retry to public",
        "grant_unexpected",
        True,
    ),
    "function of another owner": (
        "alter function jobengine._now owner to current_user",
        "altered",
        True,
    ),
    "function that is not ours": (
        (
            "create function jobengine.mine(p_n integer default 1) returns integer language sql"
            " as 'select 1'; revoke execute on function jobengine.mine from public"
        ),
        "unexpected",
        True,
    ),
    "grant taken away": (
        "revoke select on jobengine.ended from jobengine_operator",
        "grant_missing",
        True,
    ),
    "grant of the schema taken away": (
        "revoke usage on schema jobengine from jobengine_client",
        "grant_missing",
        True,
    ),
    "grant too many": (
        "grant insert on jobengine.job to jobengine_client",
        "grant_unexpected",
        True,
    ),
    "grant of a function too many": (
        "grant execute on function jobengine.prune to jobengine_client",
        "grant_unexpected",
        True,
    ),
    "index dropped": ("drop index jobengine.lease_request", "missing", True),
    "index of another shape": (
        "drop index jobengine.ready_claim; create index ready_claim on jobengine.ready (queue)",
        "altered",
        True,
    ),
    "index that is not ours": ("create index mine on jobengine.job (queue)", "unexpected", True),
    "policy dropped": ("drop policy operator_reads on jobengine.job", "missing", True),
    "policy of another rule": (
        "alter policy operator_reads on jobengine.job using (false)",
        "altered",
        True,
    ),
    "trigger that is not ours": (
        (
            "create trigger mine before update on jobengine.job for each row"
            " execute function suppress_redundant_updates_trigger()"
        ),
        "unexpected",
        True,
    ),
    "constraint dropped": (
        "alter table jobengine.ended drop constraint ended_status_check",
        "missing",
        True,
    ),
    "primary key dropped": (
        "alter table jobengine.lease drop constraint lease_pkey cascade",
        "missing",
        True,
    ),
    "unique constraint that is not ours": (
        "alter table jobengine.failure add constraint mine unique (failed_at, agent_id)",
        "unexpected",
        False,
    ),
    "constraint that is not ours": (
        "alter table jobengine.failure add constraint mine check (agent_id <> 'it''s')",
        "unexpected",
        False,
    ),
    "column dropped": ("alter table jobengine.failure drop column agent_id", "missing", True),
    "column of another type": (
        "alter table jobengine.failure alter column attempt type bigint",
        "altered",
        False,
    ),
    "column that is not ours": ("alter table jobengine.failure add mine text", "unexpected", True),
    "view of another text": (
        (
            "create or replace view jobengine.jobs with (security_invoker = false)"
            " as select * from (table jobengine.jobs) w"
        ),
        "altered",
        False,
    ),
    "row-level security off": (
        "alter table jobengine.job disable row level security",
        "altered",
        True,
    ),
    "table's settings changed": (
        (
            "alter table jobengine.ready reset (vacuum_truncate);"
            " alter table jobengine.ready set (autovacuum_enabled = off)"
        ),
        "table_settings",
        True,
    ),
    "table's settings given": (
        "alter table jobengine.ended set (autovacuum_enabled = off)",
        "table_settings",
        True,
    ),
    "table that is not ours": ("create table jobengine.mine (n integer)", "unexpected", True),
    "table dropped": ("drop table jobengine.live_key", "missing", False),
    "migration from the future": (
        "insert into jobengine._migration values ('9999_next.sql', 'x')",
        "database_newer",
        False,
    ),
    "migration edited": (
        "update jobengine._migration set checksum = 'x' where name like '0002%'",
        "migration_edited",
        False,
    ),
    "migration not applied": (
        "delete from jobengine._migration where name like '0002%'",
        "database_older",
        False,
    ),
}


@pytest.fixture
def own_database_url(admin_url: str) -> Iterator[str]:
    """A database of this test's own, with the engine installed."""
    with fresh_database(admin_url) as url:
        yield url


@pytest.mark.parametrize("fault, code, mends", FAULTS.values(), ids=FAULTS.keys())
def test_a_difference_is_one_finding(
    own_database_url: str, tmp_path: Path, fault: str, code: str, *, mends: bool
) -> None:
    url = own_database_url
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(fault.encode())
    found = findings(url)
    assert [finding.code for finding in found] == [code], found
    assert found[0].remedy
    if mends:
        follow(found[0], url, tmp_path)
        assert codes(url) == []


def test_the_remedy_of_a_constraint_that_is_not_ours_finds_its_name(own_database_url: str) -> None:
    with psycopg.connect(own_database_url, autocommit=True) as conn:
        conn.execute(
            "alter table jobengine.failure add constraint mine check (agent_id <> 'it''s')"
        )
        (found,) = findings(own_database_url)
        query = found.remedy.splitlines()[0].removeprefix("-- find its name:  ")
        assert conn.execute(query.encode()).fetchall() == [("mine",)]
        last = found.remedy.splitlines()[1].removeprefix("-- then:  ")
        conn.execute(last.replace("NAME", "mine").encode())
    assert codes(own_database_url) == []


def test_a_database_without_the_engine_is_examined_as_far_as_it_goes(
    empty_database_url: str, tmp_path: Path
) -> None:
    missing, skipped = findings(empty_database_url)
    assert (missing.code, missing.remedy) == ("not_installed", "jobengine install")
    assert skipped.code == "not_checked"
    assert skipped.seen.startswith("settle, unsettled, parent_gone, unknown, leases, queues: ")
    follow(missing, empty_database_url, tmp_path)
    assert codes(empty_database_url) == []


def test_an_install_without_roles_is_healthy(empty_database_url: str, tmp_path: Path) -> None:
    assert CommandLine(empty_database_url, tmp_path)("install", "--no-roles").code == 0
    assert codes(empty_database_url) == []
