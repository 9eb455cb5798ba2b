"""Expert advisors compile, are deployed, run and stop, and outlive the process."""

from __future__ import annotations

from pathlib import Path

import pytest
from forex_agent.simulated import SimulatedExperts
from forex_agent.terminal import Chart, NotSent

GOOD = b"""// a comment with { and "
#property copyright "me {"
int OnInit() { return(INIT_SUCCEEDED); }
void OnTick(const int x = 0) { /* } */ Print("a \\" ) brace"); }
"""
CHART = Chart(expert="grid", symbol="EURUSD", timeframe="H1", inputs={"lots": 0.1, "on": True})


@pytest.fixture
def experts(tmp_path: Path) -> SimulatedExperts:
    return SimulatedExperts(tmp_path)


def test_good_source_compiles_to_the_same_program_each_time(experts: SimulatedExperts) -> None:
    first, second = (experts.compile("grid", GOOD) for _ in range(2))
    assert (first.errors, first.warnings) == (0, 0)
    assert first == second
    assert first.log.endswith("Result: 0 errors, 0 warnings\n")
    other = experts.compile("grid", GOOD + b"\n")
    assert first.program is not None
    assert other.program not in {None, first.program}


def test_source_may_be_utf_16(experts: SimulatedExperts) -> None:
    assert experts.compile("grid", GOOD.decode().encode("utf-16")).errors == 0


@pytest.mark.parametrize(
    "source, place, message",
    [
        (b"void OnTick() {\n  if (x {\n}", "(2,6)", "'(' - unbalanced"),
        (b"void OnTick() {\n  if (x }\n}", "(2,9)", "'}' - unexpected token"),
        (b"void OnTick() {\n  run();", "(1,15)", "'{' - unbalanced"),
        (b"void OnTick() { }\n }", "(2,2)", "'}' - unexpected token"),
        (b'void OnTick() { Print("x); }', "(1,23)", "newline in string"),
        (b"void OnTick() { }\n/* open", "(2,1)", "comment is not closed"),
        (b"int twice(int x) { return 2 * x; }", "(1,1)", "event handling function not found"),
        (b"void OnTick();", "(1,1)", "event handling function not found"),
        (b"", "(1,1)", "event handling function not found"),
    ],
)
def test_a_mistake_is_named_with_its_place(
    experts: SimulatedExperts, source: bytes, place: str, message: str
) -> None:
    compiled = experts.compile("grid", source)
    assert compiled.program is None
    assert compiled.errors >= 1
    line = next(line for line in compiled.log.splitlines() if place in line)
    assert line.startswith(f"grid.mq5{place} : error : ")
    assert message in line


def test_an_expert_without_oninit_is_warned_of(experts: SimulatedExperts) -> None:
    compiled = experts.compile("grid", b"void OnTick() { }")
    assert (compiled.errors, compiled.warnings) == (0, 1)
    assert compiled.program is not None


def deployed(experts: SimulatedExperts) -> None:
    program = experts.compile("grid", GOOD).program
    assert program is not None
    experts.deploy("grid", program)


def test_a_deployed_expert_runs_until_it_is_stopped(
    experts: SimulatedExperts, tmp_path: Path
) -> None:
    deployed(experts)
    experts.run(CHART)
    experts.run(CHART)
    assert experts.active() == 1
    assert SimulatedExperts(tmp_path).active() == 1
    for _ in range(2):
        experts.stop(CHART)
        assert SimulatedExperts(tmp_path).active() == 0


def test_what_is_not_deployed_does_not_run(experts: SimulatedExperts) -> None:
    with pytest.raises(NotSent) as refusal:
        experts.run(CHART)
    assert refusal.value.code == "not_sent"
    assert experts.active() == 0


def test_wrong_input_is_refused(experts: SimulatedExperts) -> None:
    deployed(experts)
    with pytest.raises(NotSent, match="timeframe"):
        experts.run(Chart(expert="grid", symbol="EURUSD", timeframe="M7", inputs={}))
    with pytest.raises(NotSent, match="program"):
        experts.deploy("grid", b"MZ")
    for name in ("../grid", "", "a/b", ".hidden", "x" * 101):
        with pytest.raises(NotSent, match="name"):
            experts.compile(name, GOOD)
