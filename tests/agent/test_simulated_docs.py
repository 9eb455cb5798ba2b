"""The page of the simulated terminal is true: its example runs, its table is complete."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from forex_agent.simulated import read_book
from forex_agent.simulated.faults import KINDS

PAGE = Path(__file__).parents[2] / "docs" / "simulated-terminal.md"
ROOT = PAGE.parents[1]


def test_the_example_runs_and_the_commands_do_what_they_say(tmp_path: Path) -> None:
    page = PAGE.read_text(encoding="utf-8")
    example = page.split("```python\n")[1].split("```")[0]
    assert len(example.splitlines()) <= 12
    run(tmp_path, "-c", example)
    state = read_book(tmp_path / "demo" / "book.db")
    assert {comment: len(deals) for comment, deals in state.fills().items()} == {
        "first": 1,
        "out": 1,
    }
    commands = [line for line in page.splitlines() if line.startswith("python -m ")]
    shown = [run(tmp_path, *command.split()[1:]) for command in commands]
    assert "deal 2 out sell 0.10 EURUSD" in shown[-1]


def run(folder: Path, *arguments: str) -> str:
    search = {"PYTHONPATH": str(ROOT / "agent")}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, **search},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_every_fault_is_in_the_table() -> None:
    rows = re.findall(r"^\| (`[^|]*`) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", " ".join(rows))) == set(KINDS)
