"""`forex-agent doctor`: every finding is found, with a remedy, and the exit code says it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from forex_agent import cli, clock, doctor
from forex_agent.doctor import Finding

from tests.agent.paper import Paper
from tests.agent.world import settings_of, state_of
from tests.api.world import Agent, User


@pytest.fixture
def paper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paper:
    made = Paper(tmp_path / "paper.jsonl")
    monkeypatch.setitem(doctor.__dict__, "driver", lambda _: made.driver)
    return made


@pytest.fixture
def state(tmp_path: Path, agent: Agent) -> Path:
    return state_of(tmp_path / "state", agent)


def findings(state: Path, **more: Any) -> Mapping[str, Finding]:
    told = settings_of(state, **{"symbols": ["EURUSD"], "call_seconds": 20.0, **more})
    return {one.what: one for one in asyncio.run(doctor.examine(told))}


def wrong(found: Mapping[str, Finding]) -> list[str]:
    assert all(one.remedy for one in found.values() if not one.ok)
    return [name for name, one in found.items() if not one.ok]


def test_nothing_is_wrong(state: Path, paper: Paper) -> None:
    found = findings(state)
    assert not wrong(found)
    parts = {"state folder", "key", "clock", "service", "terminal", "AutoTrading"}
    assert {*parts, "kill file", "address", "symbol EURUSD"} == found.keys()


def test_the_key_file_may_be_read_by_others(state: Path, paper: Paper) -> None:
    (state / "agent.key").chmod(0o644)
    assert wrong(findings(state)) == ["key"]


def test_the_key_is_not_let_in(owner: User, agent: Agent, state: Path, paper: Paper) -> None:
    assert owner.delete(agent.path).status_code == 200
    assert wrong(findings(state)) == ["key"]


def test_the_agent_is_not_paired(tmp_path: Path, paper: Paper) -> None:
    found = findings(tmp_path)
    assert wrong(found) == ["key"]
    assert "pair" in found["key"].remedy


def test_the_service_does_not_answer(state: Path, paper: Paper) -> None:
    assert wrong(findings(state, service_url="http://127.0.0.1:1")) == ["service"]


def test_the_address_is_in_the_open(state: Path, paper: Paper) -> None:
    assert "address" in wrong(findings(state, service_url="http://service.invalid"))


def test_the_clock_is_wrong(state: Path, paper: Paper, monkeypatch: pytest.MonkeyPatch) -> None:
    late = clock.utc_now
    monkeypatch.setattr(clock, "utc_now", lambda: late() + timedelta(minutes=2))
    assert wrong(findings(state)) == ["clock"]


def test_the_kill_file_is_there(state: Path, paper: Paper) -> None:
    (state / "HALT").touch()
    assert wrong(findings(state)) == ["kill file"]


def test_the_terminal_is_away(state: Path, paper: Paper) -> None:
    paper.connected = False
    assert wrong(findings(state)) == ["terminal"]


def test_the_terminal_hangs(state: Path, paper: Paper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paper, "status", paper.release.wait)
    assert wrong(findings(state, call_seconds=1.0)) == ["terminal"]
    paper.release.set()


def test_autotrading_is_off(state: Path, paper: Paper) -> None:
    paper.trade_allowed = False
    assert wrong(findings(state)) == ["AutoTrading"]


def test_a_symbol_is_not_there(state: Path, paper: Paper) -> None:
    assert wrong(findings(state, symbols=["EURUSD", "EURUSDx"])) == ["symbol EURUSDx"]


def test_no_filling_mode_is_known(
    state: Path, paper: Paper, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = paper.symbol("EURUSD")
    bare = {name: getattr(known, name) for name in known.__slots__} | {"fillings": ()}
    monkeypatch.setattr(paper, "symbol", lambda _: type(known)(**bare))
    assert wrong(findings(state)) == ["symbol EURUSD"]


def test_the_state_folder_cannot_be_used(tmp_path: Path, paper: Paper) -> None:
    assert "state folder" in wrong(findings(tmp_path / "nowhere"))


def test_the_exit_code_says_it(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = ["--state", str(state), "doctor", "--simulated"]
    assert cli.main(told) == 0
    (state / "HALT").touch()
    assert cli.main(told) == 1
    assert "WRONG kill file" in capsys.readouterr().out
