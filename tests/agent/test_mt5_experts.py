"""Expert advisors beside a real terminal; MetaEditor is a small program of the test's own."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import psutil
import pytest
from forex_agent.mt5 import Folders, MT5Experts, MT5Settings, locate
from forex_agent.mt5.compiler import command, counted
from forex_agent.mt5.texts import decoded
from forex_agent.terminal import Chart, Experts, NotSent

# Reads the two options as MetaEditor does, and does what the source's first word says.
EDITOR = f"""#!{sys.executable}
import pathlib, sys
options = dict(word[1:].split(":", 1) for word in sys.argv[1:])
source, log = pathlib.Path(options["compile"]), pathlib.Path(options["log"])
what, _, rest = source.read_text().partition(" ")
program = source.with_suffix(".ex5")
if what == "good":
    program.write_bytes(b"EX5" + rest.encode())
if what != "silent":
    count = 2 if what == "bad" else 0
    line = f"Result: {{count}} errors, 1 warnings, 525 msec elapsed"
    if what == "garbled":
        line = "?"
    log.write_text(f"{{source}} : information: compiling\\r\\n{{line}}\\r\\n", encoding="utf-16")
sys.exit(1)
"""
CHART = Chart(expert="Trend_1", symbol="EURUSD.r", timeframe="H1", inputs={"Lots": 0.1, "On": True})
TRICKS = ["", "..", "../x", "a/b", "a\\b", "a.b", "a b", "nul", "COM1", "C:x", "é", "x" * 64, "a\n"]


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    editor = tmp_path / "MetaEditor64.exe"
    editor.write_text(EDITOR)
    editor.chmod(editor.stat().st_mode | stat.S_IXUSR)
    data = tmp_path / "data"
    (data / "MQL5" / "Experts").mkdir(parents=True)
    return Folders(editor=editor, data=data)


@pytest.fixture
def experts(folders: Folders) -> MT5Experts:
    return MT5Experts(folders, timeout=60)


def test_a_source_is_compiled(experts: MT5Experts, folders: Folders) -> None:
    compiled = experts.compile("Trend", b"good program")
    assert (compiled.program, compiled.errors, compiled.warnings) == (b"EX5program", 0, 1)
    assert "Trend.mq5 : information: compiling" in compiled.log
    assert list(folders.experts.iterdir()) == []


def test_errors_are_counted(experts: MT5Experts, folders: Folders) -> None:
    compiled = experts.compile("Trend", b"bad program")
    assert (compiled.program, compiled.errors, compiled.warnings) == (None, 2, 1)
    assert list(folders.experts.iterdir()) == []


@pytest.mark.parametrize(
    "source, words",
    [
        ("nothing", "made no program"),
        ("silent", "wrote no log"),
        ("garbled", "no line of result"),
    ],
)
def test_a_compiler_that_says_nothing_is_not_believed(
    experts: MT5Experts, folders: Folders, source: str, words: str
) -> None:
    with pytest.raises(NotSent, match=words):
        experts.compile("Trend", source.encode())
    assert list(folders.experts.iterdir()) == []


def test_a_compiler_that_hangs_is_killed_with_its_children(
    folders: Folders, tmp_path: Path
) -> None:
    note = tmp_path / "child"
    folders.editor.write_text(f"#!/bin/sh\nsleep 600 &\necho $! >'{note}'\nwait\n")
    experts = MT5Experts(folders, timeout=6)  # the shell needs milliseconds
    with pytest.raises(NotSent, match="longer than 6 seconds") as error:
        experts.compile("Trend", b"endless")
    assert error.value.code == "timeout"
    assert not alive(int(note.read_text()))
    assert list(folders.experts.iterdir()) == []


def alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_a_compiler_that_is_not_there(folders: Folders) -> None:
    folders.editor.unlink()
    with pytest.raises(NotSent, match="cannot be started"):
        MT5Experts(folders).compile("Trend", b"good")


def test_quotes_stand_where_metaeditor_looks_for_them() -> None:
    line = command(Path("C:/MT 5/e.exe"), Path("C:/a b/x.mq5"), Path("C:/a b/x.log"), "Windows")
    assert line == '"C:/MT 5/e.exe" /compile:"C:/a b/x.mq5" /log:"C:/a b/x.log"'


@pytest.mark.parametrize(
    "log, expected",
    [
        ("Result: 0 errors, 0 warnings, 525 msec elapsed, cpu='X64 Regular'", (0, 0)),
        ("Result 12 error(s), 3 warning(s)", (12, 3)),
        ("Result: 1 errors, 0 warnings\nResult: 0 errors, 2 warnings", (0, 2)),
        ("x : error 256: Result: undeclared\nResult: 1 errors, 0 warnings\n", (1, 0)),
    ],
)
def test_the_line_of_result(log: str, expected: tuple[int, int]) -> None:
    assert counted(log) == expected


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-8", "utf-8-sig"])
def test_a_log_is_read_in_whichever_encoding(encoding: str) -> None:
    assert decoded("Result: 0 errors".encode(encoding)) == "Result: 0 errors"


def test_a_program_is_deployed_whole(experts: MT5Experts, folders: Folders) -> None:
    experts.deploy("Trend_1", b"one")
    experts.deploy("Trend_1", b"two")
    assert {path.name: path.read_bytes() for path in folders.experts.iterdir()} == {
        "Trend_1.ex5": b"two"
    }


@pytest.mark.parametrize("name", TRICKS)
def test_a_name_cannot_leave_its_folder(experts: MT5Experts, folders: Folders, name: str) -> None:
    chart = Chart(expert=name, symbol="EURUSD", timeframe="H1", inputs={})
    for call in (
        lambda: experts.deploy(name, b"x"),
        lambda: experts.run(chart),
        lambda: experts.compile(name, b"good"),
    ):
        with pytest.raises(NotSent, match="name") as error:
            call()
        assert error.value.code == "invalid_input"
    assert [path for path in folders.data.rglob("*") if path.is_file()] == []


def test_an_empty_program_is_refused(experts: MT5Experts) -> None:
    with pytest.raises(NotSent, match="program"):
        experts.deploy("Trend", b"")


def test_a_folder_that_is_not_the_terminals(tmp_path: Path) -> None:
    experts = MT5Experts(Folders(editor=tmp_path / "e", data=tmp_path))
    for call in (lambda: experts.deploy("Trend", b"x"), lambda: experts.compile("Trend", b"good")):
        with pytest.raises(NotSent, match="data folder"):
            call()


def test_a_program_that_cannot_be_replaced_is_not_sent(
    experts: MT5Experts, folders: Folders
) -> None:
    (folders.experts / "Trend.ex5").mkdir()
    with pytest.raises(NotSent, match="Trend"):
        experts.deploy("Trend", b"x")


def test_run_prepares_and_says_what_is_left_to_do(experts: MT5Experts, folders: Folders) -> None:
    experts.deploy("Trend_1", b"x")
    with pytest.raises(NotSent, match=r"drag Trend_1 .* EURUSD\.r H1 chart") as error:
        experts.run(CHART)
    assert error.value.code == "by_hand"
    start = folders.data / "forex-agent" / "Trend_1-EURUSD.r-H1.ini"
    assert str(start) in str(error.value)
    assert start.read_text(encoding="utf-16") == (
        "[StartUp]\nExpert=Trend_1\nExpertParameters=Trend_1-EURUSD.r-H1.set\n"
        "Symbol=EURUSD.r\nPeriod=H1\n"
    )
    inputs = folders.presets / "Trend_1-EURUSD.r-H1.set"
    assert inputs.read_text(encoding="utf-16") == "Lots=0.1\nOn=true\n"


def test_what_is_not_deployed_is_not_run(experts: MT5Experts) -> None:
    with pytest.raises(NotSent, match="deploy it first"):
        experts.run(CHART)


@pytest.mark.parametrize(
    "chart",
    [
        Chart(expert="Trend", symbol="../EURUSD", timeframe="H1", inputs={}),
        Chart(expert="Trend", symbol="EURUSD", timeframe="H5", inputs={}),
        Chart(expert="Trend", symbol="EURUSD", timeframe="H1", inputs={"a=b": 1}),
        Chart(expert="Trend", symbol="EURUSD", timeframe="H1", inputs={"a": "1\nb=2"}),
    ],
    ids=repr,
)
def test_a_chart_that_breaks_a_rule(experts: MT5Experts, folders: Folders, chart: Chart) -> None:
    experts.deploy("Trend", b"x")
    with pytest.raises(NotSent) as error:
        experts.run(chart)
    assert error.value.code == "invalid_input"
    assert not (folders.data / "forex-agent").exists()


def test_stopping_and_counting_are_by_hand(experts: MT5Experts) -> None:
    for call in (lambda: experts.stop(CHART), experts.active):
        with pytest.raises(NotSent) as error:
            call()
        assert error.value.code == "by_hand"


# -- folders ---------------------------------------------------------------------------------------


def test_a_portable_terminal_has_its_data_beside_it(tmp_path: Path) -> None:
    found = locate(MT5Settings(path=tmp_path / "terminal64.exe", portable=True), {})
    assert found == Folders(editor=tmp_path / "MetaEditor64.exe", data=tmp_path)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8"])
def test_the_data_folder_is_the_one_whose_origin_is_the_terminal(
    tmp_path: Path, encoding: str
) -> None:
    home = tmp_path / "Program Files" / "MT5"
    for name, origin in (("A1", "C:\\other"), ("B2", str(home).upper().replace("/", "\\"))):
        folder = tmp_path / "MetaQuotes" / "Terminal" / name
        folder.mkdir(parents=True)
        (folder / "origin.txt").write_text(origin, encoding=encoding)
    found = locate(MT5Settings(path=home / "terminal64.exe"), {"APPDATA": str(tmp_path)})
    assert found.data == tmp_path / "MetaQuotes" / "Terminal" / "B2"


@pytest.mark.parametrize("path", [None, Path("C:/MT5/terminal64.exe")])
def test_folders_that_cannot_be_found(tmp_path: Path, path: Path | None) -> None:
    with pytest.raises(NotSent, match=r"mt5_path|belongs to the terminal"):
        locate(MT5Settings(path=path), {"APPDATA": str(tmp_path)})


def test_the_driver_is_experts(experts: MT5Experts) -> None:
    driver: Experts = experts
    assert driver is experts
