"""Files with which a person starts an expert advisor: its inputs, and the terminal's start file."""

from __future__ import annotations

from pathlib import Path

from forex_agent.mt5 import names
from forex_agent.mt5.constants import TIMEFRAMES
from forex_agent.mt5.folders import Folders
from forex_agent.terminal import Chart, NotSent


def write(chart: Chart, folders: Folders) -> Path:
    """Write both files and return the start file, for `terminal64.exe /config:FILE`."""
    stem = f"{names.expert(chart.expert)}-{names.symbol(chart.symbol)}-{_period(chart.timeframe)}"
    preset = _text(folders.presets / f"{stem}.set", inputs(chart))
    return _text(folders.data / "forex-agent" / f"{stem}.ini", start_file(chart, preset.name))


def start_file(chart: Chart, preset: str) -> str:
    """Return the section that the terminal's manual calls StartUp."""
    return "\n".join(
        (
            "[StartUp]",
            f"Expert={chart.expert}",
            f"ExpertParameters={preset}",
            f"Symbol={chart.symbol}",
            f"Period={chart.timeframe}",
            "",
        )
    )


def inputs(chart: Chart) -> str:
    """Return the inputs, one a line."""
    lines = [f"{names.input_name(name)}={_value(value)}" for name, value in chart.inputs.items()]
    return "\n".join([*lines, ""])


def _value(value: str | float | bool) -> str:  # noqa: FBT001 - what an input may be
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if not text.isprintable():
        raise NotSent("invalid_input", "inputs: values of one line")
    return text


def _period(timeframe: str) -> str:
    if timeframe not in TIMEFRAMES:
        raise NotSent("invalid_input", f"timeframe {timeframe}: one of MetaTrader's")
    return timeframe


def _text(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-16")
    return path
