"""The terminal that the settings name; only its driver is imported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import NoReturn

from forex_agent import secret
from forex_agent.settings import Settings
from forex_agent.terminal import Chart, Compiled, Experts, NotSent, Terminal

BOOK = "book.db"
"""The simulated account, in the state folder."""


class NoDriver(Exception):
    """The driver cannot be used here; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Driver:
    """`terminal` is called by the thread that will use it, and again after a hung one."""

    terminal: Callable[[], Terminal]
    experts: Experts


@dataclass(frozen=True, slots=True)
class NoExperts:
    """Stands where the compiler was not found: prices and orders go on without it."""

    why: NotSent

    def compile(self, name: str, source: bytes) -> Compiled:  # noqa: ARG002
        """Refuse."""
        self._refuse()

    def deploy(self, name: str, program: bytes) -> None:  # noqa: ARG002
        """Refuse."""
        self._refuse()

    def run(self, chart: Chart) -> None:  # noqa: ARG002
        """Refuse."""
        self._refuse()

    def stop(self, chart: Chart) -> None:  # noqa: ARG002
        """Refuse."""
        self._refuse()

    def active(self) -> int:
        """Refuse: nobody knows."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise NotSent(self.why.code, str(self.why))


def driver(settings: Settings) -> Driver:
    """Return the driver; raises `NoDriver`, `secret.Exposed`."""
    return _simulated(settings) if settings.terminal == "simulated" else _mt5(settings)


def _simulated(settings: Settings) -> Driver:
    from forex_agent.simulated import (  # noqa: PLC0415 - only where it is wanted
        BrokenLine,
        RandomWalk,
        Replay,
        SimulatedExperts,
        SimulatedTerminal,
    )

    data = settings.simulated_data
    try:
        market = RandomWalk(settings.simulated_seed) if data is None else Replay(data)
    except (OSError, ValueError, BrokenLine) as error:
        raise NoDriver(f"simulated_data: {error}") from error
    book = settings.state / BOOK
    return Driver(
        lambda: SimulatedTerminal(book, market), SimulatedExperts(settings.state / "simulated")
    )


def _mt5(settings: Settings) -> Driver:
    from forex_agent.mt5 import MT5Experts, MT5Settings, MT5Terminal  # noqa: PLC0415 - the same
    from forex_agent.mt5.folders import locate  # noqa: PLC0415 - the same
    from forex_agent.mt5.package import load  # noqa: PLC0415 - the same

    kept = settings.mt5_password_file
    offset = settings.mt5_utc_offset
    told = MT5Settings(
        path=settings.mt5_path,
        login=settings.mt5_login,
        password=None if kept is None else secret.read(settings.within(kept)),
        server=settings.mt5_server,
        portable=settings.mt5_portable,
        utc_offset=None if offset is None else timedelta(hours=offset),
    )
    try:
        load()
    except NotSent as error:
        raise NoDriver(str(error)) from error
    try:
        experts: Experts = MT5Experts(locate(told))
    except NotSent as error:
        experts = NoExperts(error)
    return Driver(lambda: MT5Terminal(told), experts)
