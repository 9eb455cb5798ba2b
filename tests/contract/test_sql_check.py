"""What `nox -s sql` prints and answers, where plpgsql_check cannot be had."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobengine import schema
from tests.contract.small_engine import FILES, write
from tools import sql_check
from tools.sql_rules import debian


@pytest.fixture(autouse=True)
def no_debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a PostgreSQL 15 from before, nor a program that could fetch one."""
    monkeypatch.setattr(debian, "_place", lambda: tmp_path / "pg15")
    monkeypatch.setenv("PATH", "")


@pytest.fixture
def engine_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = write(tmp_path / "engine", FILES)
    monkeypatch.setattr(schema, "sql_folder", lambda: folder)
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.mark.parametrize("ci, status", [("", 0), ("true", 1)])
def test_a_part_that_cannot_run_is_told_and_fails_only_in_ci(
    engine_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    ci: str,
    status: int,
) -> None:
    monkeypatch.setenv("CI", ci)
    assert sql_check.main() == status
    assert capsys.readouterr().out.splitlines() == [
        "NOT RUN: plpgsql_check on PostgreSQL 15: this is no Debian: there is no apt-get",
        "7 files, 3 functions, 0 findings",
    ]


def test_a_finding_is_one_line_and_fails(
    engine_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CI", "")
    (engine_folder / "bootstrap.sql").write_text("-- nothing\t\n")
    assert sql_check.main() == 1
    assert capsys.readouterr().out.splitlines()[1:] == [
        "engine/bootstrap.sql:1 white-space a tab, or white space at the end",
        "7 files, 3 functions, 1 findings",
    ]
