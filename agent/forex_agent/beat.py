"""Says every half minute that the agent lives and how it is, and hears what it has to know."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import psutil

from forex_agent import __version__
from forex_agent.client import Client, Unreachable
from forex_agent.gate import Gate
from forex_agent.hands import Hands
from forex_agent.job import Json
from forex_agent.prices import Prices
from forex_agent.programs import Programs
from forex_agent.work import Work

log = logging.getLogger("forex_agent.beat")

RETRY_SECONDS = 5.0  # a beat that was lost is followed so soon


@dataclass(slots=True)
class Beat:
    """Sends heartbeats, and passes on what their answers say."""

    client: Client
    path: str
    hands: Hands
    gate: Gate
    prices: Prices
    work: Work
    programs: Programs
    seconds: float
    status: str = "online"
    config_version: int | None = None
    soon: asyncio.Event = field(default_factory=asyncio.Event)
    """Set to have the next beat at once."""
    heard: Callable[[], object] = field(default=lambda: None)
    """Called after every beat that was answered."""

    async def run(self) -> None:
        """Beat for ever."""
        while True:
            try:
                await self.beat()
                pause = self.seconds
            except Unreachable as error:
                log.warning("no answer to the heartbeat: %s", error)
                pause = min(self.seconds, RETRY_SECONDS)
            await self._pause(pause)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.soon.wait()
        self.soon.clear()

    async def beat(self) -> None:
        """Beat once; raises `Unreachable`."""
        body = {"status": self.status, "version": __version__, "metrics": await self.metrics()}
        answer = await self.client.call("POST", f"{self.path}/heartbeat", body)
        if not answer.ok:
            raise Unreachable(f"{answer.status} {answer.code}")
        self._listen(answer.body)
        self.heard()

    async def metrics(self) -> Json:
        """Return how the agent, its machine and its terminal are."""
        status = self.hands.status
        return {
            "cpu_percent": psutil.cpu_percent(),
            "memory_percent": psutil.virtual_memory().percent,
            "active_eas": await self.programs.active(),
            "terminal_connected": bool(status and status.connected),
            "trade_allowed": bool(status and status.trade_allowed),
            "account_login": status.login if status else None,
            "account_server": status.server if status else None,
            "ping_ms": status.ping_ms if status else None,
            "platform": status.platform if status else None,
            "terminal_version": status.version if status else None,
            "terminal_replaced": self.hands.replaced,
            "queue_depth": len(self.work.tasks),
            "clock_skew_ms": round(self.client.clock.skew().total_seconds() * 1000),
            "kill_file": self.gate.killed,
            "trading_state": self.gate.state,
            "config_version": self.config_version,
            "version": __version__,
        }

    def _listen(self, body: Json) -> None:
        self.gate.learn(body.get("trading_state"))
        self.seconds = _seconds(body.get("heartbeat_seconds"), self.seconds)
        self.prices.seconds = _seconds(body.get("price_seconds"), self.prices.seconds)
        self.work.poll_seconds = min(
            30.0, _seconds(body.get("poll_seconds"), self.work.poll_seconds)
        )
        config = body.get("config")
        if isinstance(config, dict):
            symbols = config.get("symbols")
            if isinstance(symbols, list):
                self.prices.pushed_by_service = tuple(str(name) for name in symbols)
            log.info("configuration %s came", body.get("config_version"))
        if isinstance(version := body.get("config_version"), int):
            self.config_version = version


def _seconds(told: object, now: float) -> float:
    """Take over an interval that the service names."""
    usable = isinstance(told, int | float) and not isinstance(told, bool) and told > 0
    return min(300.0, float(told)) if usable else now  # type: ignore[arg-type]
