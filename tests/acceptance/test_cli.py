"""The commands: what they do, what they print, and their exit codes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import orjson
import pytest

from jobengine import cli
from jobengine.cli.codes import CODES
from tests.acceptance.command_line import PATIENCE, CommandLine, Said
from tests.acceptance.world import NOBODY, Db, counts

DOCS = Path(__file__).parents[2] / "docs"
COMMANDS = (
    "install", "verify", "enqueue", "get", "list", "stats", "finish", "cancel", "retry", "work",
    "sweep", "prune", "doctor", "demo",
)  # fmt: skip


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
    listed = re.findall(r"^    (\w+) ", said.out, re.MULTILINE)
    assert tuple(listed) == COMMANDS


def test_the_exit_codes_are_one_table_in_help_and_docs(jobengine: CommandLine) -> None:
    rows = re.findall(r"^\| `([^`]+)` \| (.+) \|$", (DOCS / "cli.md").read_text(), re.MULTILINE)
    assert dict(rows[-len(CODES) :]) == CODES
    said = jobengine("--help").out
    for code, text in CODES.items():
        assert re.search(rf"^  {re.escape(code)} +{re.escape(text)}$", said, re.MULTILINE)


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
    assert re.search(rf"^  jobengine {command}", said.out, re.MULTILINE), "an example to paste"
    assert "contract:" in said.out or command == "demo"
    assert max(map(len, said.out.splitlines())) <= 100


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nothing"],
        ["get"],
        ["enqueue", "resize", "{}", "--priority", "high"],
        ["sweep", "--limit", "many"],
        ["list", "--status", "done"],
        ["prune"],
        ["work", "--log-level", "loud"],
        ["enqueue", "resize", "--run-at", "2030-01-01T00:00:00"],
        ["enqueue", "resize", "--wait", "0"],
        ["enqueue", "--prio", "1", "resize"],
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
    assert jobengine("stats", "--json").json == []


def test_enqueue_get_and_stats(jobengine: CommandLine, db: Db) -> None:
    said = jobengine(
        "enqueue", "resize", '{"path": "a.png"}', "--queue", "images", "--priority", "2",
        "--delay", "3600", "--json",
    )  # fmt: skip
    assert (said.code, said.err) == (0, "")
    assert said.json.keys() == {"item", "job_id", "verdict"}
    said = jobengine("get", said.json["job_id"], "--json")
    assert said.code == 0
    job = said.json
    assert (job["status"], job["queue"], job["priority"]) == ("pending", "images", 2)
    assert job["input"] == {"path": "a.png"}
    (row,) = jobengine("stats", "--json").json
    assert (row["queue"], row["due"], row["scheduled"]) == ("images", 0, 1)
    assert counts(db)["ready"] == 1


def test_enqueue_waits_for_the_result(jobengine: CommandLine) -> None:
    said = jobengine("enqueue", "resize", "--wait", "0.1")
    assert "had not ended in time" in failed(said, code=3)


def test_sweep_says_what_it_did(jobengine: CommandLine) -> None:
    assert jobengine("sweep").out == "0 returned to wait, 0 ended, 0 settled\n"
    said = jobengine("sweep", "--json")
    assert said.code == 0
    assert said.json == {"returned": 0, "ended": 0, "settled": 0, "more": False}


def test_what_is_refused_is_one_and_named(jobengine: CommandLine, db: Db) -> None:
    assert f"no job {NOBODY}" in failed(jobengine("get", str(NOBODY)))
    assert "unknown job type 'nobody'" in failed(jobengine("enqueue", "nobody"))
    assert "invalid input: JSON" in failed(jobengine("enqueue", "resize", "{bad"))
    assert "invalid queue" in failed(jobengine("enqueue", "resize", "--queue", "a b"))
    assert counts(db)["job"] == 0


def test_a_database_without_the_engine_is_told_so(empty_database_url: str, tmp_path: Path) -> None:
    said = CommandLine(empty_database_url, tmp_path)("stats")
    assert 'schema "jobengine" does not exist\n`jobengine install`' in failed(said)


def test_a_server_that_does_not_answer_is_told_so(tmp_path: Path) -> None:
    """Once, whatever the driver's pool says about each of its tries."""
    command = CommandLine("host=/nonexistent", tmp_path)
    asked = [command.start("stats", *how) for how in ((), ("--json",))]
    plain, json = [process.communicate(timeout=PATIENCE)[1].decode() for process in asked]
    assert [process.returncode for process in asked] == [1, 1]
    assert plain.startswith("jobengine: cannot connect")
    assert orjson.loads(json)["error"] == "EngineUnavailable"


def test_the_ids_that_it_prints_are_ids(jobengine: CommandLine, db: Db) -> None:
    job_id = UUID(jobengine("enqueue", "resize", "--json").json["job_id"])
    assert db.execute("select job_id from jobengine.job").fetchall() == [{"job_id": job_id}]


def test_errors_are_a_line_of_json_where_json_is_asked_for(jobengine: CommandLine) -> None:
    said = jobengine("enqueue", "resize", "--priority", "77", "--json")
    assert orjson.loads(failed(said)) == {
        "error": "InvalidArgument",
        "message": "invalid priority (item 1): from 0 (first) to 9",
        "field": "priority",
        "rule": "from 0 (first) to 9",
        "item": 1,
    }
    said = jobengine("get", "not-an-id", "--json")
    assert orjson.loads(failed(said, code=2)) == {
        "error": "UsageError",
        "message": "argument job_id: invalid UUID value: 'not-an-id'",
    }
    said = jobengine("cancel", "--json")
    assert orjson.loads(failed(said, code=2))["error"] == "UsageError"


def test_it_says_which_version_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(["--version"])
    assert left.value.code == 0
    assert re.fullmatch(r"jobengine \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_it_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "jobengine", "--help"]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert said.stdout.startswith("usage: jobengine ")
