"""Every command line that help and documents show is one, and output is readable."""

from __future__ import annotations

import io
import re
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import jobengine.doctor
from jobengine.cli import change, doctor, house, install, look, put, show
from jobengine.cli.main import parser
from jobengine.progress import Progress
from tests.contract.documents import DOCS

GROUPS = (change, doctor, house, install, look, put)
HELPS = "\n".join(
    text for group in GROUPS for text in vars(group).values() if isinstance(text, str)
)
TEXTS = {
    "help": HELPS,
    **{name: (DOCS / name).read_text() for name in ("cli.md", "doctor.md")},
}


def examples() -> list[str]:
    """The lines that begin with the command, apart from pipes behind it and comments."""
    lines = re.findall(r"^(?:  )?(jobengine \S.*)$", "\n".join(TEXTS.values()), re.MULTILINE)
    return sorted({line.partition(" | ")[0].partition("  #")[0].strip() for line in lines})


@pytest.mark.parametrize("line", examples())
def test_an_example_is_a_command_line(line: str) -> None:
    options = parser().parse_args(shlex.split(line)[1:])
    options.check(options)


def test_the_commands_of_remedies_are_command_lines() -> None:
    folder = Path(jobengine.doctor.__file__).parent
    source = "".join(file.read_text() for file in folder.glob("*.py"))
    lines = set(re.findall(r'"(jobengine [a-z][^"\\{]*)', source))
    assert {"jobengine install", "jobengine sweep", "jobengine sweep --all"} <= lines
    for line in lines:
        job = "019a0000-0000-7000-8000-000000000000"
        parser().parse_args(shlex.split(line.replace("<job>", job))[1:])


def test_a_table_is_aligned_and_numbers_stand_to_the_right() -> None:
    assert show.table(("NAME", "N"), [("a", 5), ("long name", "1,234"), ("b", None)]).split(
        "\n"
    ) == [
        "NAME           N",
        "a              5",
        "long name  1,234",
        "b              -",
    ]


def test_a_terminal_that_is_narrow_gets_shorter_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.setenv("COLUMNS", "24")
    lines = show.table(("ID", "NAME"), [("0123456789", "a very long name")], shorten=(1,)).split(
        "\n"
    )
    assert lines[1] == "0123456789  a very long…"
    monkeypatch.setenv("COLUMNS", "5")
    lines = show.table(("ID", "NAME"), [("0123456789", "a very long name")], shorten=(1,)).split(
        "\n"
    )
    assert lines[1] == "0123456789  a very …", "it keeps a few characters all the same"


class Terminal(io.StringIO):
    """Somebody looks at it."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    "seconds, text",
    [(0.2, "0s"), (59.6, "1m"), (125, "2m 5s"), (7200, "2h"), (90_061, "1d 1h"), (86_405, "1d 5s")],
)
def test_durations_have_two_units_at_most(seconds: float, text: str) -> None:
    assert show.duration(seconds) == text


def test_times_are_relative_and_absolute() -> None:
    now = datetime(2030, 1, 1, tzinfo=UTC)
    assert show.relative(now - timedelta(seconds=90), now) == "1m 30s ago"
    assert show.relative(now + timedelta(hours=2), now) == "in 2h"


def test_details_leave_out_what_has_no_value() -> None:
    assert show.details(Thing("a", None, {"n": 1})).split("\n") == ["name   a", 'value  {"n":1}']


@dataclass
class Thing:
    name: str
    nothing: object
    value: object


def test_progress_is_a_bar_where_somebody_looks_and_a_line_a_tenth_elsewhere() -> None:
    file, terminal = io.StringIO(), Terminal()
    for stream in (file, terminal):
        progress = Progress("jobs", 40, stream)
        for done in range(0, 41, 2):
            progress.show(done)
        progress.end()
    assert len(file.getvalue().splitlines()) == 11
    assert file.getvalue().splitlines()[-1].startswith("jobs 100% 40/40 ")
    assert terminal.getvalue().count("\r\x1b[K") == 21
    assert "█" * 32 + " jobs 100% 40/40" in terminal.getvalue()


def test_progress_of_an_unknown_amount_says_what_is_done() -> None:
    file = io.StringIO()
    progress = Progress("removed", None, file)
    for done in (10, 20, 25):
        progress.show(done)
    progress.end()
    (line,) = file.getvalue().splitlines()
    assert line.startswith("removed 25 ")
