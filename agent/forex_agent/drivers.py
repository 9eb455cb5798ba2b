"""The terminal that the settings name; only its driver is imported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from forex_agent.settings import Settings
from forex_agent.terminal import Experts, Terminal


class NoDriver(Exception):
    """The driver cannot be used here; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Driver:
    """`terminal` is called by the thread that will use it, and again after a hung one."""

    terminal: Callable[[], Terminal]
    experts: Experts


def driver(settings: Settings) -> Driver:
    """Return the driver; raises `NoDriver`."""
    raise NoDriver(f"there is no terminal {settings.terminal} in this version")
