"""Agents of this project at work: in a thread of the test, or in a process that can be killed."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from forex_agent import secret, settings
from forex_agent.agent import Stop, run
from forex_agent.drivers import Driver
from forex_agent.settings import Settings

from tests.agent.paper import Paper, PaperExperts
from tests.api.world import PATIENCE, Agent, User, until

QUICK: dict[str, Any] = {
    "terminal": "simulated",
    "trace_seconds": 1.0,
    "deals_seconds": 0.2,
    "price_seconds": 0.1,
    "check_seconds": 0.1,
    "drain_seconds": 10.0,
}


def state_of(folder: Path, agent: Agent, url: str | None = None) -> Path:
    """Make the state folder of a paired agent."""
    folder.mkdir(exist_ok=True)
    secret.write(folder / "agent.key", agent.key)
    lines = [f'service_url = "{url or agent.service.address}"', f'agent_id = "{agent.agent_id}"']
    (folder / settings.FILE).write_text("\n".join(lines) + "\n")
    return folder


def settings_of(state: Path, **more: Any) -> Settings:
    return settings.load(state, {}, **{**QUICK, **more})


TRADE: dict[str, Any] = {"symbol": "EURUSD", "side": "buy", "volume": 0.1}


def order(
    owner: User,
    agent: Agent,
    job_type: str = "trade",
    *,
    expires_in: float | None = None,
    **more: Any,
) -> str:
    """Put in an order for this agent."""
    given = {**(TRADE if job_type == "trade" else {}), **more}
    limit = {} if expires_in is None else {"expires_in": expires_in}
    job_id = owner.enqueue(job_type, input_data=given, agent_id=str(agent.agent_id), **limit)
    return str(job_id)


def ended(owner: User, job_id: str) -> Any:
    """Return the job once it has an outcome."""
    until(lambda: look(owner, job_id)["status"] not in {"pending", "claimed", "running"})
    return look(owner, job_id)


def look(owner: User, job_id: str) -> Any:
    return owner.job(UUID(job_id))


def lapse(owner: User, job_id: str) -> None:
    """Have the service take the job back; an agent that extends it comes before or after."""
    query = """update jobengine.lease set lease_expires_at = now() - interval '1 minute'
        where job_id = %s returning job_id"""
    with psycopg.connect(owner.service.database_url) as conn:
        # The service sweeps as well, and there is one sweep at a time.
        conn.execute("select pg_advisory_xact_lock(hashtextextended('jobengine/sweep', 0))")
        assert conn.execute(query, (job_id,)).fetchone()
        swept = conn.execute("select returned + ended from jobengine.sweep()").fetchone()
    assert swept
    assert swept[0] > 0


@dataclass
class Running:
    """An agent in a thread; `error` is what it ended with."""

    paper: Paper
    settings: Settings
    error: BaseException | None = None
    experts: PaperExperts = field(default_factory=PaperExperts)
    thread: threading.Thread = field(init=False)
    _loop: asyncio.AbstractEventLoop | None = None
    _stop: Stop | None = None

    def start(self) -> None:
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def stop(self, *, now: bool = False) -> None:
        """Tell it to drain, or to end now, and wait for its end."""
        until(lambda: self._stop is not None or not self.thread.is_alive())
        if self._loop is not None and self._stop is not None and self.thread.is_alive():
            event = self._stop.now if now else self._stop.drain
            self._loop.call_soon_threadsafe(event.set)
        self.ended()

    def ended(self) -> None:
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()

    def _run(self) -> None:
        try:
            asyncio.run(self._live())
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.error = error

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = Stop(asyncio.Event(), asyncio.Event())
        await run(self.settings, Driver(lambda: self.paper, self.experts), self._stop)


@contextmanager
def working(paper: Paper, told: Settings) -> Iterator[Running]:
    """An agent that works as long as the block lasts."""
    running = Running(paper, told)
    running.start()
    try:
        yield running
    finally:
        paper.release.set()
        running.stop()


@dataclass
class Process:
    """An agent in a process of its own."""

    state: Path
    paper: Path

    def start(self, point: str = "", *arguments: str, **variables: str) -> subprocess.Popen[bytes]:
        quick = {f"FOREX_AGENT_{name.upper()}": str(value) for name, value in QUICK.items()}
        command = [sys.executable, "-m", "tests.agent.process", str(self.paper), point]
        return subprocess.Popen(
            [*command, "--state", str(self.state), "run", *arguments],
            env={**os.environ, **quick, **variables},
            stdin=subprocess.PIPE,
        )


@contextmanager
def process(state: Path, paper: Path, *arguments: str, **variables: str) -> Iterator[Any]:
    """An agent's process that is killed at the block's end, if it has not ended by then."""
    started = Process(state, paper).start("", *arguments, **variables)
    try:
        yield started
    finally:
        started.kill()
        started.communicate(timeout=PATIENCE)
