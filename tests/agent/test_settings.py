"""Settings: file, environment, rules; and the table of docs/agent.md."""

from __future__ import annotations

from pathlib import Path

import pytest
from forex_agent.settings import FILE, WrongSettings, load, table

DOCUMENT = Path(__file__).parents[2] / "docs" / "agent.md"


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('symbols = ["EURUSD"]\ncall_seconds = 12\nin_hand = 7\n')
    environment = {"FOREX_AGENT_CALL_SECONDS": "3.5", "FOREX_AGENT_SYMBOLS": "GBPUSD,USDJPY"}
    settings = load(tmp_path, environment)
    assert settings.call_seconds == 3.5
    assert settings.symbols == ("GBPUSD", "USDJPY")
    assert settings.in_hand == 7
    assert settings.kill_file == tmp_path / "HALT"


def test_the_state_folder_comes_from_the_environment_too(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("in_hand = 7\n")
    assert load(None, {"FOREX_AGENT_STATE": str(tmp_path)}).in_hand == 7


@pytest.mark.parametrize(
    "line,named",
    [
        ("call_seconds = -1", "call_seconds: must be a number from 0.1 to 300"),
        ("call_seconds = true", "call_seconds: must be a number"),
        ('terminal = "mt4"', "terminal: must be one of mt5, simulated"),
        ('service_url = "ftp://x"', "service_url: must be an http:// or https:// address"),
        ('service_url = "http://x:abc"', "service_url: must be an http:// or https:// address"),
        ('service_url = "http://x:99999"', "service_url: must be an http:// or https:// address"),
        ('service_url = "http://x/?y"', "service_url: must be an http:// or https:// address"),
        ('service_url = "http://me:pass@x"', "service_url: must be an http:// or https:// address"),
        ("call_seconds = nan", "call_seconds: must be a number from 0.1 to 300"),
        ('agent_id = "7"', "agent_id: must be an id"),
        ("symbols = [1]", "symbols: must be a list of names"),
        ("in_hand = 1.5", "in_hand: must be a whole number"),
        ('mt5_portable = "perhaps"', "mt5_portable: must be true or false"),
        ("sybmols = []", "sybmols: there is no such setting"),
        ("= 1", "agent.toml"),
    ],
)
def test_a_wrong_value_is_named_with_its_rule(tmp_path: Path, line: str, named: str) -> None:
    (tmp_path / FILE).write_text(line + "\n")
    with pytest.raises(WrongSettings, match=named.replace("(", r"\(").replace(".", r"\.")):
        load(tmp_path, {})


def test_all_wrong_values_are_named_at_once(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("call_seconds = 0\nin_hand = 0\n")
    with pytest.raises(WrongSettings) as caught:
        load(tmp_path, {})
    assert len(str(caught.value).splitlines()) == 2


def test_the_documentation_has_every_setting_with_its_default_and_rule() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    for name, default, rule, about in table():
        shown = "" if name == "terminal" else f"`{default}`" if default else ""
        if name == "terminal":
            assert f"| `{name}` |" in text
        else:
            assert f"| `{name}` | {shown} | {rule} | {about} |" in text
