"""The demo's agent: what it still knows after it was killed, and what it does not know of us."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from api.demo import agent
from api.demo.agent.journal import Entry, Journal, read
from api.demo.agent.terminal import Json, Refused, Terminal, Work
from api.demo.agent.work import deals, unanswered, unfinished

JOB: Json = {"job_id": "j1", "lease_epoch": 1, "job_type": "trade", "input_data": {}}
DEAL: Json = {"ticket": 5}
FILLED: Json = {"status": "completed", "output_data": DEAL}
ASKED: Entry = {"event": "asked", "request_id": "r1"}
CLAIMED: Entry = {"event": "claimed", "request_id": "r1", "job": JOB}
DONE: Entry = {"event": "done", "job_id": "j1", "report": FILLED}
CLOSE: Json = {"job_id": "j2", "job_type": "close_position", "input_data": {"ticket": 5}}


@pytest.mark.parametrize(
    "path", sorted(Path(agent.__file__).parent.glob("*.py")), ids=lambda p: p.name
)
def test_it_imports_nothing_but_itself_and_python(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert {alias.name.partition(".")[0] for alias in node.names} <= sys.stdlib_module_names
        elif isinstance(node, ast.ImportFrom):
            name = node.module or ""
            assert name.startswith("api.demo.agent.") or (
                name.partition(".")[0] in sys.stdlib_module_names
            )


def test_a_line_that_was_cut_short_is_no_event(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with Journal(path) as journal:
        journal.write("asked", request_id="r1")
    with path.open("a") as file:
        file.write('{"event": "claimed", "jo')
    assert [entry["event"] for entry in read(path)] == ["asked"]
    with Journal(path) as again:
        assert [entry["event"] for entry in again.before] == ["asked"]


@pytest.mark.parametrize(
    "entries,expected",
    [
        ([], None),
        ([ASKED], "r1"),
        ([ASKED, CLAIMED], None),
        ([ASKED, {"event": "nothing"}, {**ASKED, "request_id": "r2"}], "r2"),
    ],
)
def test_a_question_without_an_answer_is_asked_again(
    entries: list[Entry], expected: str | None
) -> None:
    assert unanswered(entries) == expected


@pytest.mark.parametrize(
    "entries,expected",
    [
        ([ASKED], []),
        ([CLAIMED], [(JOB, None)]),
        ([CLAIMED, {"event": "begun", "job_id": "j1"}], [(JOB, None)]),
        ([CLAIMED, DONE], [(JOB, FILLED)]),
        ([CLAIMED, DONE, {"event": "acknowledged", "job_id": "j1"}], []),
        ([CLAIMED, {"event": "lost", "job_id": "j1"}], []),
    ],
)
def test_a_job_in_its_hands_is_finished(
    entries: list[Entry], expected: list[tuple[Json, Json | None]]
) -> None:
    assert list(unfinished(entries)) == expected


def test_a_position_is_known_until_it_is_closed() -> None:
    assert deals([CLAIMED]) == []
    assert deals([CLAIMED, DONE]) == [DEAL]
    closing: list[Entry] = [
        {"event": "claimed", "job": CLOSE},
        {"event": "done", "job_id": "j2", "report": {"status": "completed", "output_data": {}}},
    ]
    assert deals([CLAIMED, DONE, *closing]) == []


def test_the_terminal_refuses_what_no_terminal_does() -> None:
    terminal = Terminal("seed", ["EURUSD"])
    order: Json = {"symbol": "EURUSD", "side": "sell", "volume": 0.1}
    job_id = "00000000-0000-0000-0000-00000000000a"
    deal = terminal.do(Work(job_id, "trade", order))
    assert terminal.do(Work(job_id, "get_positions", {})) == {"positions": [deal]}
    close = Work(job_id, "close_position", {"ticket": deal["ticket"]})
    assert terminal.do(close)["closed_price"] > 0
    for refused in (
        close,
        Work(job_id, "trade", {**order, "volume": 0}),
        Work(job_id, "trade", {**order, "symbol": "NOSUCH"}),
        Work(job_id, "compile", {"source_code": "#error"}),
    ):
        with pytest.raises(Refused):
            terminal.do(refused)
