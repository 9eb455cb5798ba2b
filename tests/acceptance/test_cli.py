"""The commands: what they do, what they print, and their exit codes."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest

from jobengine import cli
from tests.acceptance.command_line import CommandLine, Said
from tests.acceptance.world import NOBODY, Db, counts

COMMANDS = ("install", "verify", "enqueue", "get", "stats", "work", "sweep", "demo")


@pytest.fixture
def jobengine(db: Db, database_url: str, tmp_path: Path) -> CommandLine:
    db.execute("select jobengine.register_job_type('resize')")
    return CommandLine(database_url, tmp_path)


def failed(said: Said, *, code: int = 1) -> str:
    """An error in one line or two on standard error, nothing else and no traceback."""
    assert said.code == code
    assert said.out == ""
    assert "Traceback" not in said.err
    return said.err


def test_help_says_where_the_database_is_and_names_every_command(jobengine: CommandLine) -> None:
    said = jobengine("--help")
    assert (said.code, said.err) == (0, "")
    assert "DATABASE_URL" in said.out
    for command in COMMANDS:
        assert f"\n    {command} " in said.out


def test_wrong_usage_is_two(jobengine: CommandLine) -> None:
    assert "usage: jobengine" in failed(jobengine("get", "not-an-id"), code=2)


def read(capsys: pytest.CaptureFixture[str], *arguments: str) -> Said:
    """Let the command line be read in this process: nothing else happens before its end."""
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    out, err = capsys.readouterr()
    assert isinstance(caught.value.code, int)
    return Said(caught.value.code, out, err)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(capsys: pytest.CaptureFixture[str], command: str) -> None:
    said = read(capsys, command, "--help")
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith(f"usage: jobengine {command}")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nothing"],
        ["get"],
        ["enqueue"],
        ["enqueue", "resize", "{}", "--priority", "high"],
        ["sweep", "--limit", "many"],
        ["demo", "--workers", "0"],
        ["demo", "--kill", "-1"],
        ["demo", "--kill", "some"],
    ],
    ids=" ".join,
)
def test_a_command_line_that_is_wrong_is_refused(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert "usage: jobengine" in failed(read(capsys, *arguments), code=2)


def test_install_then_verify(empty_database_url: str, tmp_path: Path) -> None:
    jobengine = CommandLine(empty_database_url, tmp_path)
    said = jobengine("verify")
    assert (said.code, said.out) == (1, "- schema jobengine\n")
    said = jobengine("install")
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("installed; new: 0001_engine.sql")
    assert jobengine("install").out == "installed; new: nothing\n"
    said = jobengine("verify")
    assert (said.code, said.out) == (0, "the database is as this version installs it\n")
    assert "without --no-roles" in failed(jobengine("install", "--no-roles"))


def test_install_without_roles(empty_database_url: str, tmp_path: Path) -> None:
    jobengine = CommandLine(empty_database_url, tmp_path)
    assert jobengine("install", "--no-roles").code == 0
    assert jobengine("verify").code == 0
    assert jobengine("stats").json == []


def test_enqueue_get_and_stats(jobengine: CommandLine, db: Db) -> None:
    said = jobengine(
        "enqueue", "resize", '{"path": "a.png"}', "--queue", "images", "--priority", "2",
        "--delay", "3600",
    )  # fmt: skip
    assert (said.code, said.err) == (0, "")
    assert said.json.keys() == {"item", "job_id", "verdict"}
    said = jobengine("get", said.json["job_id"])
    assert said.code == 0
    job = said.json
    assert (job["status"], job["queue"], job["priority"]) == ("pending", "images", 2)
    assert job["input"] == {"path": "a.png"}
    (row,) = jobengine("stats").json
    assert (row["queue"], row["due"], row["scheduled"]) == ("images", 0, 1)
    assert counts(db)["ready"] == 1


def test_enqueue_waits_for_the_result(jobengine: CommandLine) -> None:
    assert "had not ended in time" in failed(jobengine("enqueue", "resize", "--wait", "0.1"))


def test_sweep_says_what_it_did(jobengine: CommandLine) -> None:
    said = jobengine("sweep")
    assert said.code == 0
    assert said.json == {"returned": 0, "ended": 0, "settled": 0, "more": False}


def test_what_is_refused_is_one_and_named(jobengine: CommandLine, db: Db) -> None:
    assert f"no job {NOBODY}" in failed(jobengine("get", str(NOBODY)))
    assert "unknown job type 'nobody'" in failed(jobengine("enqueue", "nobody"))
    assert "not JSON" in failed(jobengine("enqueue", "resize", "{bad"))
    assert "invalid queue" in failed(jobengine("enqueue", "resize", "--queue", "a b"))
    assert "invalid limit" in failed(jobengine("sweep", "--limit", "0"))
    assert counts(db)["job"] == 0


def test_a_database_without_the_engine_is_told_so(empty_database_url: str, tmp_path: Path) -> None:
    said = CommandLine(empty_database_url, tmp_path)("stats")
    assert 'schema "jobengine" does not exist' in failed(said)


def test_a_server_that_does_not_answer_is_told_so(tmp_path: Path) -> None:
    said = CommandLine("host=/nonexistent", tmp_path)("stats")
    assert "jobengine: cannot connect" in failed(said)


def test_the_ids_that_it_prints_are_ids(jobengine: CommandLine, db: Db) -> None:
    job_id = UUID(jobengine("enqueue", "resize").json["job_id"])
    assert db.execute("select job_id from jobengine.job").fetchall() == [{"job_id": job_id}]
