from __future__ import annotations

import io
import sys

import pytest

from jobengine.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_file_gets_a_line_per_tenth() -> None:
    stream = io.StringIO()
    progress = Progress("hashing", 1000, stream)
    for done in range(1001):
        progress.show(done, "2 killed")
    progress.end()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 11
    assert lines[5].startswith("hashing  50% 500/1000 ")
    assert all(line.endswith("2 killed") for line in lines)


def test_a_terminal_gets_one_line_that_moves() -> None:
    stream = Terminal()
    progress = Progress("hashing", 2, stream)
    for done in (0, 1, 2):
        progress.show(done)
    progress.end()
    shown = stream.getvalue()
    assert shown.count("\n") == 1
    assert shown.endswith("\n")
    steps = shown.split("\r\x1b[K")[1:]
    assert [step.count("█") for step in steps] == [0, 16, 32]
    assert [step.count("·") for step in steps] == [32, 16, 0]


def test_a_bar_of_nothing_and_one_that_overshoots_stay_bars() -> None:
    stream = Terminal()
    Progress("nothing", 0, stream).show(0)
    Progress("more", 1, stream).show(5)
    assert stream.getvalue().count("█") == 32


def test_standard_error_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    Progress("hashing", 1).show(1)
    captured = capsys.readouterr()
    assert "hashing 100% 1/1" in captured.err
    assert captured.out == ""
    assert not sys.stderr.isatty()
