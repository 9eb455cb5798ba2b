"""Names that become file names: checked here, so that no job writes where it should not."""

from __future__ import annotations

import re

from forex_agent.terminal import NotSent

EXPERT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,62}", re.ASCII)
SYMBOL = re.compile(r"[A-Za-z0-9#][A-Za-z0-9._#&+-]{0,31}", re.ASCII)
INPUT = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}", re.ASCII)
# Windows opens a device by these names, with any extension and in any folder.
DEVICE = re.compile(r"con|prn|aux|nul|com[0-9]|lpt[0-9]", re.IGNORECASE)


def expert(name: str) -> str:
    """Return the name of an expert advisor; spaces confuse MetaEditor's command line."""
    if not EXPERT.fullmatch(name) or DEVICE.fullmatch(name):
        raise _refused("name", "1 to 63 letters, digits, _ and -, and no device of Windows")
    return name


def symbol(name: str) -> str:
    """Return a symbol as brokers write them: EURUSD, EURUSD.r, #AAPL, XAUUSD+."""
    if not SYMBOL.fullmatch(name):
        raise _refused("symbol", "1 to 32 letters, digits and . _ # & + -")
    return name


def input_name(name: str) -> str:
    """Return the name of an input of an expert advisor."""
    if not INPUT.fullmatch(name):
        raise _refused("inputs", "names as MQL5 has them: letters, digits and _")
    return name


def _refused(field: str, rule: str) -> NotSent:
    return NotSent("invalid_input", f"{field}: {rule}")
