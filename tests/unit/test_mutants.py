"""The planted bugs still fit the code, and the one who judges the tests is judged himself."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tools.mutants.__main__ import DOCUMENT
from tools.mutants.lab import Lab, NoBaseline
from tools.mutants.record import Chaos, DoesNotApply, Edit, Mutant
from tools.mutants.report import as_markdown, documented
from tools.mutants.table import BUGS, THEMES
from tools.mutants.tree import ROOT, copied, copy_checkout
from tools.mutants.trial import Outcome, run_chaos, run_tests
from tools.sql_rules.code import parsed, procedural, statements


def by_name(mutant: Mutant) -> str:
    return mutant.name


def changed(mutant: Mutant) -> Iterator[tuple[str, str, str]]:
    """Yield name, former and new text of each file that it changes."""
    for name in {edit.file: None for edit in mutant.edits}:
        before = after = (ROOT / name).read_text()
        for edit in mutant.edits:
            after = edit.of(after) if edit.file == name else after
        yield name, before, after


def parse(text: str) -> None:
    """Let PostgreSQL's parser read a file, and the body of a function."""
    assert parsed(text)
    if "language plpgsql" in text:
        assert procedural(text, 1).statements
    elif "language sql" in text:
        assert list(statements(text.split("$$")[1], 1))


@pytest.mark.parametrize("mutant", BUGS.values(), ids=by_name)
def test_a_mutant_has_its_place_and_can_be_parsed(mutant: Mutant) -> None:
    for name, before, after in changed(mutant):
        assert after != before
        if name.endswith(".py"):
            compile(after, name, "exec")
        else:
            parse(after)


@pytest.mark.parametrize("mutant", BUGS.values(), ids=by_name)
def test_the_test_that_is_to_find_it_exists(mutant: Mutant) -> None:
    file, _, name = mutant.found_by.partition("::")
    tree = ast.parse((ROOT / file).read_text())
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    *classes, name = name.split("::")
    body = tree.body
    for of in classes:
        body = next(n.body for n in body if isinstance(n, ast.ClassDef) and n.name == of)
    assert name in {node.name for node in body if isinstance(node, functions)}


def test_no_two_bugs_are_the_same() -> None:
    assert len(BUGS) == sum(map(len, THEMES.values()))
    changes = Counter(mutant.edits for mutant in BUGS.values())
    assert [edits for edits, times in changes.items() if times > 1] == []


def test_the_document_lists_them_all() -> None:
    """Else: `python -m tools.mutants --docs`."""
    assert DOCUMENT.read_text() == documented(THEMES)


@pytest.mark.parametrize("text", ["nothing here", "one two one"])
def test_an_edit_without_its_one_place_is_refused(text: str) -> None:
    with pytest.raises(DoesNotApply):
        Edit("file", "one", "three").of(text)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder that passes for a copy of the checkout; its only test is yet to be written."""
    for name in ("jobengine", "tools"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def judged(copy: Path, text: str, limit: float = 60.0) -> Outcome:
    (copy / "test_one.py").write_text(f"import jobengine, psycopg, pytest\n{text}\n")
    return run_tests(copy, ["test_one.py"], server=None, limit=limit)


@pytest.mark.parametrize(
    "line, verdict, by",
    [
        ("assert True", "survived", ""),
        ("assert 1 == 2", "found", "test_one.py::test_it"),
        ("raise psycopg.errors.InsufficientPrivilege", "found", "test_one.py::test_it"),
        ("raise KeyError from psycopg.errors.UndefinedColumn()", "broken", "test_one.py::test_it"),
        ("raise jobengine.errors.SchemaMismatch", "broken", "test_one.py::test_it"),
        ("no_such_name", "broken", "test_one.py::test_it"),
        ("pytest.skip()", "broken", ""),
    ],
)
def test_a_test_finds_by_failing_but_not_over_nonsense(
    copy: Path, line: str, verdict: str, by: str
) -> None:
    outcome = judged(copy, f"def test_it():\n    {line}")
    assert (outcome.verdict, outcome.by) == (verdict, by)


@pytest.mark.parametrize(
    "text",
    [
        "def test_it(:",
        "",
        "@pytest.fixture\ndef it():\n    assert False\ndef test_it(it):\n    pass",
    ],
    ids=["does not compile", "has no test", "fails before the test"],
)
def test_a_run_without_a_failed_test_finds_nothing(copy: Path, text: str) -> None:
    assert judged(copy, text).verdict == "broken"


def test_a_test_that_hangs_finds_nothing(copy: Path) -> None:
    outcome = judged(copy, "import time\ndef test_it():\n    time.sleep(3600)", limit=1.0)
    assert (outcome.verdict, outcome.says) == ("broken", "still running after 1 s")


def test_a_run_against_the_checkout_instead_of_the_copy_finds_nothing(copy: Path) -> None:
    (copy / "jobengine").unlink()
    outcome = judged(copy, "def test_it():\n    assert False")
    assert outcome.verdict == "broken"
    assert outcome.says.endswith("not the copy")


def test_a_copy_holds_the_checkout_as_it_is(tmp_path: Path) -> None:
    copy_checkout(tmp_path / "base")
    with copied(tmp_path / "base") as tree:
        mutant = next(iter(BUGS.values()))
        mutant.plant(tree)
        (name, before, after), *_ = changed(mutant)
        assert (tree / name).read_text() == after
        assert (ROOT / name).read_text() == before
    assert not tree.exists()


def test_the_session_tells_what_came_of_each(capsys: pytest.CaptureFixture[str]) -> None:
    bug = BUGS["NaN is stored as null"]
    lost = replace(bug, name="lost", edits=(Edit("jobengine/_db.py", "no such text", ""),))
    outcomes = Lab(1).tried([bug, lost])
    assert {name: it.verdict for name, it in outcomes.items()} == {
        bug.name: "found",
        "lost": "broken",
    }
    assert re.search(r"^\[2/2\] broken in \d+\.\d s: lost", capsys.readouterr().out, re.MULTILINE)
    assert f"| {bug.name} | found | {bug.found_by}" in as_markdown(outcomes)


def test_a_test_that_fails_without_a_bug_proves_nothing() -> None:
    bug = next(iter(BUGS.values()))
    with pytest.raises(NoBaseline):
        Lab(1).tried([replace(bug, found_by="tests/unit/test_array.py::no_such_test")])


RUNNER = """
import pathlib, sys
*named, report = sys.argv[1:]
assert named == ["--seed=7", "--seconds=30", "--profile=all"]
pathlib.Path(report.removeprefix("--json=")).write_text('{"violations": %s}')
"""


@pytest.mark.parametrize(
    "runner, verdict, says",
    [
        (RUNNER % "[]", "survived", "no violation"),
        (RUNNER % '["a", "b"]', "found", "a"),
        ("exit('no server')", "broken", "no server"),
    ],
)
def test_the_chaos_runner_finds_by_the_violations_that_it_reports(
    copy: Path, runner: str, verdict: str, says: str
) -> None:
    (copy / "tests").mkdir()
    (copy / "tests" / "chaos.py").write_text(runner)
    outcome = run_chaos(copy, Chaos(seed=7, seconds=30), limit=60.0)
    assert (outcome.verdict, outcome.says) == (verdict, says)
