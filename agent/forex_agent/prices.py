"""Pushes prices: only those that changed, and only the newest of each."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from forex_agent import wire
from forex_agent.backoff import Backoff
from forex_agent.client import Client, Unreachable
from forex_agent.clock import elapsed
from forex_agent.hands import Hands, Rank
from forex_agent.terminal import TerminalError, Tick

MOST = 500  # instruments that one push may name
log = logging.getLogger("forex_agent.prices")


@dataclass(slots=True)
class Prices:
    """Knows whose prices are wanted, and what the service has of them."""

    client: Client
    path: str
    hands: Hands
    configured: Sequence[str]
    seconds: float
    pushed_by_service: Sequence[str] = ()
    """Symbols of the configuration that heartbeats bring."""
    held: frozenset[str] = frozenset()
    """Symbols of the open positions."""
    watched: frozenset[str] = frozenset()
    """Symbols that browsers look at; every answer names them."""
    _told: dict[str, Tick] = field(default_factory=dict)

    @property
    def wanted(self) -> Sequence[str]:
        """The symbols to push."""
        first = dict.fromkeys(
            [*self.held, *self.watched, *self.configured, *self.pushed_by_service]
        )
        return sorted(list(first)[:MOST])

    async def run(self) -> None:
        """Push for ever; what could not be pushed is overtaken by what is newer."""
        backoff = Backoff()
        while True:
            began = elapsed()
            try:
                await self.push()
            except Refusal as error:
                self._told.clear()  # its store may have been emptied
                log.warning("prices: %s", error)
                await asyncio.sleep(backoff.next(error.retry_after))
            except (Unreachable, TerminalError) as error:
                log.log(logging.DEBUG, "prices: %s", error)
                await asyncio.sleep(backoff.next())
            else:
                backoff.reset()
            await asyncio.sleep(max(0.0, self.seconds - (elapsed() - began)))

    async def push(self) -> None:
        """Push once, also an empty set: its answer says what is watched."""
        wanted = self.wanted
        ticks = await self._ticks(wanted)
        changed = {name: tick for name, tick in ticks.items() if self._told.get(name) != tick}
        body = {name: wire.price(tick) for name, tick in changed.items()}
        answer = await self.client.call("POST", f"{self.path}/prices", body)
        if not answer.ok:
            raise Refusal(f"{answer.status} {answer.code}", answer.retry_after)
        self._told.update(changed)
        self._listen(answer.body)

    async def _ticks(self, wanted: Sequence[str]) -> Mapping[str, Tick]:
        if not wanted:
            return {}
        return await self.hands.call(lambda terminal: terminal.ticks(wanted), Rank.PRICES)

    def _listen(self, body: object) -> None:
        subscriptions = body.get("subscriptions") if isinstance(body, dict) else None
        if isinstance(subscriptions, list):
            self.watched = frozenset(str(name) for name in subscriptions)


class Refusal(Unreachable):
    """The service does not take prices now."""

    def __init__(self, message: str, retry_after: float | None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
