"""`jobengine doctor` as an operator meets it: healthy, three faults, remedies, healthy again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from jobengine import JobEngine
from jobengine.doctor import CHECKS, CODES, Finding, examine
from jobengine.embedded import EmbeddedPostgres
from tests.acceptance.clinic import codes, findings, follow, hospital
from tests.acceptance.command_line import CommandLine
from tests.acceptance.world import in_loop
from tests.contract.documents import DOCS, code, tables
from tests.faults.embedded_owner import wait_until


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    with hospital(tmp_path_factory.mktemp("clinic")) as server:
        yield server


@pytest.fixture
def jobengine(server: EmbeddedPostgres, tmp_path: Path) -> CommandLine:
    return CommandLine(server.url, tmp_path)


@contextmanager
def held_snapshot(url: str) -> Iterator[int]:
    """Another session that stays in a transaction with a snapshot."""
    with (
        contextlib.suppress(psycopg.errors.AdminShutdown),  # the remedy ends it
        psycopg.connect(url, application_name="report") as conn,
    ):
        conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        conn.execute("select 1")
        yield conn.info.backend_pid


def age(url: str, pid: int) -> float:
    """For how long a session's transaction has run."""
    with psycopg.connect(url, autocommit=True) as conn:
        row = conn.execute(
            "select extract(epoch from clock_timestamp() - xact_start)::float8"
            " from pg_stat_activity where pid = %s",
            (pid,),
        ).fetchone()
    return row[0] if row else 0


def test_a_healthy_database_is_healthy(jobengine: CommandLine) -> None:
    said = jobengine("doctor")
    assert (said.code, said.err) == (0, "")
    *fine, last = said.out.splitlines()
    assert last == "healthy"
    assert [line.split()[:2] for line in fine] == [["ok", f"{check}:"] for check in CHECKS]


def test_three_faults_are_three_findings_and_their_remedies_mend_them(
    jobengine: CommandLine, server: EmbeddedPostgres, tmp_path: Path
) -> None:
    with psycopg.connect(server.url, autocommit=True) as conn:
        conn.execute("revoke execute on function jobengine.claim from jobengine_worker")
        conn.execute(altered_backoff(conn))
    with held_snapshot(server.url) as pid:
        wait_until(lambda: age(server.url, pid) >= 0.2)
        said = jobengine("doctor", "--hold", "0.2", "--json")
        assert (said.code, said.err, said.json["healthy"]) == (1, "", False)
        found = [Finding(**finding) for finding in said.json["findings"]]
        assert [(finding.code, finding.severity) for finding in found] == [
            ("altered", "error"),
            ("grant_missing", "error"),
            ("horizon_held", "warning"),
        ]
        altered, grant, held = found
        assert altered.seen == "function _backoff"
        assert grant.seen == "on function claim: execute to jobengine_worker"
        assert held.seen.startswith(f"session {pid}, of jobengine, (report), idle in transaction")
        assert "query: select 1" in held.seen
        for finding in found:
            follow(finding, server.url, tmp_path)
        wait_until(lambda: age(server.url, pid) == 0)
    said = jobengine("doctor")
    assert (said.code, said.out.splitlines()[-1]) == (0, "healthy")


def altered_backoff(conn: psycopg.Connection[tuple[str]]) -> bytes:
    """The definition of a function with another body."""
    row = conn.execute("select pg_get_functiondef('jobengine._backoff'::regproc)").fetchone()
    assert row
    assert row[0].count("0.4 * random") == 1
    return row[0].replace("0.4 * random", "0.9 * random").encode()


def test_people_get_a_table_with_the_remedy_below_each_finding(
    jobengine: CommandLine, server: EmbeddedPostgres
) -> None:
    with psycopg.connect(server.url, autocommit=True) as conn:
        conn.execute("drop index jobengine.ready_expires_at")
    said = jobengine("doctor")
    assert said.code == 1
    lines = said.out.splitlines()
    assert lines[0] == "error    missing: index ready_expires_at"
    assert lines[1].startswith("         | CREATE INDEX ready_expires_at ON jobengine.ready ")
    assert lines[-1] == "not healthy: 1 error"
    follow(findings(server.url)[0], server.url, Path())
    assert codes(server.url) == []


def test_a_server_that_does_not_answer_is_told_so(tmp_path: Path) -> None:
    said = CommandLine("host=/nonexistent", tmp_path)("doctor")
    assert (said.code, said.out) == (1, "")
    assert "jobengine: cannot connect" in said.err


def test_it_writes_nothing(server: EmbeddedPostgres) -> None:
    url = make_conninfo(server.url, options="-c default_transaction_read_only=on")
    assert codes(url) == []


@in_loop
async def test_a_pool_of_the_programs_own_is_left_as_it_was(server: EmbeddedPostgres) -> None:
    pool = AsyncConnectionPool(
        server.url, kwargs={"row_factory": dict_row}, min_size=2, max_size=2, open=False
    )
    async with pool, JobEngine(pool) as engine:
        assert list(await examine(engine)) == []
        async with pool.connection() as first, pool.connection() as second:
            assert [first.autocommit, second.autocommit] == [False, False]
            assert first.prepare_threshold == second.prepare_threshold == 5


@in_loop
async def test_what_a_pool_of_one_connection_cannot_tell_is_said(server: EmbeddedPostgres) -> None:
    async with JobEngine(server.url, max_size=1) as engine:
        (note,) = await examine(engine)
    assert (note.code, note.severity) == ("not_checked", "note")
    assert note.seen.startswith("pooler: no second connection")


def test_the_document_has_every_code() -> None:
    rows = {code(name): rest for name, *rest in tables("doctor.md")["code"]}
    assert rows == {
        name: [code_.check or "any", code_.severity, code_.meaning] for name, code_ in CODES.items()
    }


def test_the_document_shows_each_query() -> None:
    text = (DOCS / "doctor.md").read_text()
    queries = (DOCS.parent / "sql" / "engine" / "doctor").glob("*.sql")
    assert [query.name for query in queries if f"`{query.stem}`" not in text] == []
