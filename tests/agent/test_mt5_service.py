"""The agent as a service: the unit and the task name what exists, and the page says how."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from forex_agent import cli
from forex_agent.settings import PREFIX, Settings

ROOT = Path(__file__).resolve().parents[2]
SERVICE = ROOT / "agent" / "service"
UNIT = SERVICE / "forex-agent.service"
TASK = SERVICE / "forex-agent-task.xml"
PAGES = [ROOT / "docs" / "agent-service.md", ROOT / "docs" / "mt5.md", ROOT / "agent" / "README.md"]
NAMESPACE = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"
# Of Microsoft's schema: what may stand in <Settings> of a task of version 1.2.
TASK_SETTINGS = {
    "AllowHardTerminate",
    "AllowStartOnDemand",
    "DeleteExpiredTaskAfter",
    "DisallowStartIfOnBatteries",
    "Enabled",
    "ExecutionTimeLimit",
    "Hidden",
    "IdleSettings",
    "MultipleInstancesPolicy",
    "NetworkProfileName",
    "NetworkSettings",
    "Priority",
    "RestartOnFailure",
    "RunOnlyIfIdle",
    "RunOnlyIfNetworkAvailable",
    "StartWhenAvailable",
    "StopIfGoingOnBatteries",
    "WakeToRun",
}


def unit() -> dict[str, list[str]]:
    """Return the unit's settings; a name may stand there more than once."""
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        if line and line[0] not in "#[":
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def arguments(command: str) -> list[str]:
    """Return what follows the program's name."""
    return shlex.split(command.replace("\\", "/"))[1:]


def understood(words: list[str]) -> bool:
    """Tell whether the command line takes these words; help and version end it well."""
    try:
        cli._parser().parse_args(words)
    except SystemExit as end:
        return end.code == 0
    return True


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_finds_nothing_wrong_in_the_unit(tmp_path: Path) -> None:
    """With a program that exists: that is all that this machine lacks."""
    there = tmp_path / UNIT.name
    text = re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", UNIT.read_text())
    there.write_text(re.sub(r"(?m)^(User|Group)=.*", r"\1=root", text))
    said = subprocess.run(
        ["systemd-analyze", "verify", there], capture_output=True, text=True, check=False
    )
    assert (said.returncode, said.stdout + said.stderr) == (0, "")


def test_the_unit_starts_the_agent_with_settings_that_exist() -> None:
    told = unit()
    assert understood(arguments(told["ExecStart"][0]))
    known = {f"{PREFIX}{one.name.upper()}" for one in fields(Settings)}
    assert {value.partition("=")[0] for value in told["Environment"]} <= known


def test_the_unit_leaves_time_to_drain_and_to_be_heard() -> None:
    told, defaults = unit(), Settings()
    assert float(told["TimeoutStopSec"][0]) > defaults.drain_seconds
    assert float(told["WatchdogSec"][0]) > 2 * defaults.heartbeat_seconds
    assert told["Type"] == ["notify"]


def test_the_unit_does_not_start_again_what_can_only_fail() -> None:
    codes = {int(code) for code in unit()["RestartPreventExitStatus"][0].split()}
    assert codes == {cli.WRONG_USAGE, cli.KEY_REFUSED}


def test_the_task_starts_the_agent_in_the_users_session() -> None:
    task = ET.parse(TASK).getroot()  # noqa: S314 - our own file
    assert task.tag == f"{NAMESPACE}Task"
    assert task.findtext(f".//{NAMESPACE}LogonType") == "InteractiveToken"
    assert task.find(f".//{NAMESPACE}LogonTrigger") is not None
    assert task.findtext(f".//{NAMESPACE}ExecutionTimeLimit") == "PT0S"
    assert task.findtext(f".//{NAMESPACE}Command", "").endswith("forex-agent.exe")
    assert understood(arguments("x " + task.findtext(f".//{NAMESPACE}Arguments", "")))


def test_the_tasks_settings_are_of_the_schema() -> None:
    settings = ET.parse(TASK).getroot().find(f"{NAMESPACE}Settings")  # noqa: S314 - our own file
    assert settings is not None
    names = [one.tag.removeprefix(NAMESPACE) for one in settings]
    assert set(names) <= TASK_SETTINGS
    assert len(names) == len(set(names))


def commands(page: Path) -> Iterator[str]:
    """Yield each line of the page's code blocks that calls the agent, without its comment."""
    for block in re.findall(r"```\w*\n(.*?)```", page.read_text(), re.DOTALL):
        for line in block.splitlines():
            if found := re.search(
                r"(?:^|bin/|Scripts\\)forex-agent(?:\.exe)? ((?:--|pair|run|doctor).*)", line
            ):
                yield found[1].partition(" #")[0].rstrip(' "')


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_are_understood(page: Path) -> None:
    found = list(commands(page))
    assert [line for line in found if not understood(shlex.split(line.replace("\\", "/")))] == []
    assert found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_settings_of_a_page_exist(page: Path) -> None:
    known = {one.name for one in fields(Settings)}
    text = page.read_text()
    named = {name.lower() for name in re.findall(rf"{PREFIX}([A-Z0-9_]+)", text)}
    named |= set(re.findall(r"`((?:mt5|simulated)_\w+)`", text))
    assert named - {"token"} <= known


@pytest.mark.parametrize("page", PAGES[:2], ids=lambda page: page.name)
def test_the_files_that_a_page_links_exist(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []
    assert links
