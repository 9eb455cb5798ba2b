"""What keeps an order from being sent, asked at the last moment before it is."""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path

from forex_agent.clock import ServerClock
from forex_agent.job import Job
from forex_agent.journal import Broken, Journal
from forex_agent.terminal import NotSent

log = logging.getLogger("forex_agent.gate")
STATES = frozenset({"active", "reducing", "halted"})


class Refused(NotSent):
    """The order is not sent; `code` says why, for programs."""


class Gate:
    """Knows the trading state, the kill file and the time; the state outlives a restart."""

    def __init__(self, journal: Journal, kill_file: Path, clock: ServerClock) -> None:
        self._journal = journal
        self._kill_file = kill_file
        self._clock = clock
        self.state = journal.fact("trading_state") or "active"
        self._shut: str | None = None

    @property
    def killed(self) -> bool:
        """Whether the kill file is there."""
        return self._kill_file.exists()

    def shut(self, why: str) -> None:
        """Let nothing pass any more."""
        self._shut = why

    def learn(self, state: object) -> None:
        """Take over what a heartbeat said; a word that is not known changes nothing."""
        if isinstance(state, str) and state in STATES and state != self.state:
            self.state = state
            try:
                self._journal.remember("trading_state", state)
            except Broken as error:
                log.warning("%s: %s is forgotten with this process", error, state)

    def check(self, job: Job) -> None:
        """Raise `Refused` where the order must not be sent now; a close passes unless late."""
        if self._shut is not None:
            raise Refused("not_sent", self._shut)
        if late(job.expires_at, self._clock):
            raise Refused("expired", f"it expired at {job.expires_at}")
        if job.job_type == "close_position":
            return
        if self.killed:
            raise Refused("kill_file", f"{self._kill_file} is there: no new trades")
        if self.state != "active":
            raise Refused(f"trading_{self.state}", f"trading is {self.state}: no new trades")


def late(expires_at: datetime | None, clock: ServerClock) -> bool:
    """Tell whether that time has come, by the service's clock."""
    return expires_at is not None and clock.now() >= expires_at
