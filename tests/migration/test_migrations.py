"""A database comes to the same end whatever way it went, and old files are never changed."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from jobengine import schema
from jobengine.errors import EngineError, SchemaMismatch
from tests.conftest import fresh_database
from tests.migration.databases import (
    FIRST,
    MIGRATIONS,
    SECOND,
    catalog,
    install,
    rows,
    verify,
    write_catalog,
)

NEXT = "0003_notes.sql"
ADDED = """
alter table jobengine.job_type add column note text not null default '';
create index job_type_note on jobengine.job_type (note);
"""


def add_migration(files: Path, text: str = ADDED) -> None:
    (files / "migrations" / NEXT).write_text(text)


def test_an_upgraded_database_equals_a_fresh_one(
    admin_url: str, empty_database_url: str, monkeypatch: pytest.MonkeyPatch, files: Path
) -> None:
    with fresh_database(admin_url, installed=False) as fresh:
        assert install(empty_database_url).applied == MIGRATIONS
        add_migration(files)
        write_catalog(fresh)
        assert install(empty_database_url).applied == (NEXT,)
        assert catalog(empty_database_url) == catalog(fresh)
        assert verify(empty_database_url) == []


def test_an_older_install_is_brought_to_this_one(empty_database_url: str, files: Path) -> None:
    new, now = files / "migrations" / SECOND, (files / "catalog.txt").read_text()
    text = new.read_text()
    new.unlink()
    write_catalog(empty_database_url)
    assert catalog(empty_database_url) != now.splitlines()
    new.write_text(text)
    (files / "catalog.txt").write_text(now)
    assert install(empty_database_url).applied == (SECOND,)
    assert verify(empty_database_url) == []


def test_an_upgrade_keeps_the_jobs(empty_database_url: str, admin_url: str, files: Path) -> None:
    install(empty_database_url)
    with psycopg.connect(empty_database_url) as conn:
        conn.execute("select jobengine.register_job_type('work')")
        conn.execute("select jobengine.enqueue(array['work', 'work'])")
    add_migration(files)
    with fresh_database(admin_url, installed=False) as fresh:
        write_catalog(fresh)
    install(empty_database_url)
    with psycopg.connect(empty_database_url) as conn:
        assert conn.execute("select jobengine.count()").fetchone() == (2,)


def test_migrations_run_once_and_in_order(empty_database_url: str, files: Path) -> None:
    add_migration(files)
    (files / "migrations" / "0004_more.sql").write_text(
        "alter table jobengine.job_type rename column note to remark;"
    )
    write_catalog(empty_database_url)
    assert install(empty_database_url).applied == ()
    assert "column job_type.remark text not null default ''::text" in catalog(empty_database_url)


def test_a_broken_migration_leaves_the_database_as_it_was(
    empty_database_url: str, files: Path
) -> None:
    install(empty_database_url)
    before = catalog(empty_database_url), rows(empty_database_url)
    add_migration(files, ADDED + "alter table jobengine.nowhere add column x text;")
    with pytest.raises(EngineError, match="nowhere"):
        install(empty_database_url)
    assert (catalog(empty_database_url), rows(empty_database_url)) == before


def test_an_edited_migration_is_refused(empty_database_url: str, files: Path) -> None:
    install(empty_database_url)
    before = catalog(empty_database_url), rows(empty_database_url)
    with (files / "migrations" / FIRST).open("a") as migration:
        migration.write("-- one more line\n")
    with pytest.raises(SchemaMismatch, match=f"edited after it was applied: {FIRST}"):
        install(empty_database_url)
    assert (catalog(empty_database_url), rows(empty_database_url)) == before
    assert [line.split()[:3] for line in verify(empty_database_url)] == [
        ["-", "migration", FIRST],
        ["+", "migration", FIRST],
    ]


def test_a_newer_database_is_refused(
    empty_database_url: str, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_migration(files)
    write_catalog(empty_database_url)
    before = catalog(empty_database_url), rows(empty_database_url)
    monkeypatch.undo()  # the library of before the migration
    with pytest.raises(SchemaMismatch, match=f"newer than this library: it has {NEXT}"):
        install(empty_database_url)
    assert (catalog(empty_database_url), rows(empty_database_url)) == before
    assert any(line.startswith(f"+ migration {NEXT} ") for line in verify(empty_database_url))


def test_installing_twice_changes_nothing(empty_database_url: str) -> None:
    assert install(empty_database_url).applied == MIGRATIONS
    with psycopg.connect(empty_database_url) as conn:
        conn.execute("select jobengine.register_job_type('work')")
        conn.execute("select jobengine.enqueue(array['work'])")
    before = catalog(empty_database_url), rows(empty_database_url)
    assert install(empty_database_url).applied == ()
    assert (catalog(empty_database_url), rows(empty_database_url)) == before


def test_an_install_mends_what_it_writes_each_time(empty_database_url: str) -> None:
    install(empty_database_url)
    with psycopg.connect(empty_database_url) as conn:
        conn.execute("set role jobengine_owner")
        conn.execute("alter function jobengine.claim(jsonb) security invoker")
        conn.execute("revoke select on jobengine.jobs from jobengine_operator")
        conn.execute("grant execute on function jobengine._end to public")
    assert verify(empty_database_url) != []
    install(empty_database_url)
    assert verify(empty_database_url) == []


def test_an_install_refuses_what_it_cannot_mend(empty_database_url: str) -> None:
    install(empty_database_url)
    with psycopg.connect(empty_database_url) as conn:
        conn.execute("set role jobengine_owner")
        conn.execute("drop index jobengine.ready_claim")
    with pytest.raises(SchemaMismatch, match="- index CREATE INDEX ready_claim"):
        install(empty_database_url)


def test_a_foreign_schema_of_that_name_is_refused(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url) as conn:
        conn.execute("create schema jobengine")
        conn.execute("create table jobengine.mine (x integer)")
    with pytest.raises(SchemaMismatch, match="without roles"):
        install(empty_database_url)
    with pytest.raises(SchemaMismatch, match=r"\+ table mine"):
        install(empty_database_url, roles=False)
    with psycopg.connect(empty_database_url) as conn:
        assert conn.execute(
            "select relname from pg_class where relnamespace = 'jobengine'::regnamespace"
        ).fetchall() == [("mine",)]


def test_verify_of_an_empty_database_says_that_nothing_is_there(empty_database_url: str) -> None:
    assert verify(empty_database_url) == ["- schema jobengine"]


def test_an_old_server_is_refused(empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What this library needs is raised above this server, in place of an old server."""
    monkeypatch.setattr(schema, "MINIMUM_SERVER", 990000)
    with pytest.raises(SchemaMismatch, match="or newer is needed"):
        install(empty_database_url)
    assert verify(empty_database_url) == ["- schema jobengine"]
