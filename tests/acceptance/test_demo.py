"""`jobengine demo`, run as people run it, on a small tree of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.acceptance.command_line import PATIENCE, CommandLine
from tests.acceptance.world import Db, scalar, until

DEMO_SCHEMA = Path(__file__).parents[2] / "jobengine" / "demo" / "schema.sql"
BLOCKED = (
    "select 1 from pg_locks where not granted and relation = 'jobengine_demo.folder'::regclass"
)
# A folder's row that grows by more than its files.
TAMPER = """
create or replace function jobengine_demo.tamper() returns trigger language plpgsql as
$$ begin new.bytes := new.bytes + 1; return new; end $$;
create trigger tamper before update on jobengine_demo.folder
for each row execute function jobengine_demo.tamper();
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    for number in range(60):
        folder = root / f"folder {number % 4}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:02}.txt").write_text("x" * number)
    return root


@pytest.fixture
def demo_db(db: Db) -> Db:
    db.execute(DEMO_SCHEMA.read_bytes())
    db.execute("drop trigger if exists tamper on jobengine_demo.folder")
    return db


@contextmanager
def held_back(db: Db) -> Iterator[None]:
    """Let the demo find its files, and go no further until the block ends."""
    with psycopg.connect(db.info.dsn, password=db.info.password) as conn:
        conn.execute("lock table jobengine_demo.folder in share mode")
        yield


def holding(proofs: dict[str, bool]) -> set[bool]:
    return set(proofs.values())


def test_it_kills_workers_and_proves_that_nothing_was_lost(
    demo_db: Db, database_url: str, tree: Path, tmp_path: Path
) -> None:
    said = CommandLine(database_url, tmp_path)("demo", tree, "--kill", "3", "--json")
    assert said.code == 0, said.err
    result = said.json
    assert result["proved"] is True
    assert holding(result["proofs"]) == {True}
    assert "at least 3 workers were killed" in result["proofs"]
    assert (result["files"], result["folders"], result["failed"]) == (60, 4, 0)
    assert result["bytes"] == sum(range(60))
    assert result["kills"] == 3
    assert result["retries"] >= 3
    assert result["claims"] == 60 + result["retries"]
    assert (result["duplicates"], result["changed_meanwhile"], result["wrong"]) == (0, 0, [])
    assert result["wait_ms"].keys() == result["run_ms"].keys() == {"p50", "p95", "p99", "max"}
    assert "hashing 100% 60/60" in said.err
    killed = "select count(distinct agent_id) from jobengine.failure where reported_by = 'sweep'"
    assert scalar(demo_db, killed) == 3


def test_a_file_that_cannot_be_read_is_a_result_like_any_other(
    demo_db: Db, database_url: str, tree: Path, tmp_path: Path
) -> None:
    """Found, then removed before anybody reads it; said in words this time."""
    with held_back(demo_db):
        process = CommandLine(database_url, tmp_path).start("demo", tree, "--kill", "0")
        asyncio.run(until(lambda: scalar(demo_db, BLOCKED)))
        (tree / "folder 1" / "01.txt").unlink()
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    said = out.decode()
    assert "failed     1 {'unreadable': 1}" in said
    assert "files      60 in 4 folders" in said
    assert said.count("proved  ") == 5
    assert "FAILED" not in said


def test_a_proof_that_fails_is_one(
    demo_db: Db, database_url: str, tree: Path, tmp_path: Path
) -> None:
    demo_db.execute(TAMPER.encode())
    said = CommandLine(database_url, tmp_path)(
        "demo", tree, "--kill", "0", "--workers", "2", "--json"
    )
    assert said.code == 1
    result: dict[str, Any] = said.json
    assert result["proved"] is False
    assert [proof for proof, holds in result["proofs"].items() if not holds] == [
        "every folder row is right"
    ]
    assert len(result["wrong"]) == 4


def test_one_file_is_enough_for_a_kill(demo_db: Db, database_url: str, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "only").write_text("one")
    said = CommandLine(database_url, tmp_path)(
        "demo", tmp_path / "tree", "--kill", "1", "--workers", "1", "--json"
    )
    assert said.code == 0, said.err
    assert (said.json["files"], said.json["kills"], said.json["proved"]) == (1, 1, True)


def test_no_files_are_an_error(database_url: str, tmp_path: Path) -> None:
    said = CommandLine(database_url, tmp_path)("demo", tmp_path / "nowhere")
    assert (said.code, said.out) == (1, "")
    assert "no files under" in said.err


def test_it_installs_the_engine_where_there_is_none(
    empty_database_url: str, tree: Path, tmp_path: Path
) -> None:
    said = CommandLine(empty_database_url, tmp_path)("demo", tree, "--kill", "0", "--json")
    assert said.code == 0, said.err
    assert said.json["proved"] is True
