"""Tells the service of every deal of the account, whoever made it, and of the account's money.

A deal is in the journal's spool from the moment it is seen until the service has it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeAlias

from forex_agent import wire
from forex_agent.backoff import Backoff
from forex_agent.client import Answer, Client, Unreachable
from forex_agent.clock import elapsed, utc_now
from forex_agent.hands import Hands, Rank
from forex_agent.job import Json
from forex_agent.journal import KEEP_DAYS, Broken, Journal
from forex_agent.prices import Prices
from forex_agent.settings import Settings
from forex_agent.terminal import Account, Deal, Position, Terminal, TerminalError

log = logging.getLogger("forex_agent.deals")

BATCH = 500  # deals that one call may name
REFUSED = frozenset({400, 413, 422})
NEAR = timedelta(minutes=5)  # a deal may come into the history after younger ones
WIDE = timedelta(hours=26)  # and a broker's clock be half a day off, or change with the season
JUST = timedelta(seconds=2)  # most looks: an account at work has thousands in five minutes
GATHER_SECONDS = 0.1  # after an order: whoever waits for its answer goes first, and others follow
NEAR_SECONDS, WIDE_SECONDS = 10.0, 600.0  # between looks that go back so far


_State: TypeAlias = tuple[Account, int]
"""The account and how many positions are open."""


class Refused(Unreachable):
    """The service will never take this report."""


@dataclass(slots=True)
class Deals:
    """Looks for deals soon after every change, and every few seconds."""

    client: Client
    path: str
    hands: Hands
    journal: Journal
    prices: Prices
    settings: Settings
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _told: _State | None = None
    _told_at: float = float("-inf")
    _wide_at: float = float("-inf")
    _near_at: float = float("-inf")
    _newest: datetime | None = None
    _known: set[str] = field(default_factory=set)
    """The ids of deals that are in the journal; those of the last hours."""

    def changed(self) -> None:
        """Look soon: an order was done."""
        self._changed.set()

    async def run(self) -> None:
        """Look and report for ever; what could not be reported stays in the spool."""
        backoff = Backoff()
        while True:
            self._changed.clear()
            try:
                await self.look()
            except (Unreachable, TerminalError, Broken) as error:
                log.log(logging.DEBUG, "deals: %s", error)
                await asyncio.sleep(max(backoff.next(), self.settings.deals_seconds))
                continue
            backoff.reset()
            await self._pause()

    async def look(self) -> None:
        """Look once, and report until the spool is empty."""
        since = self._since()
        deals, account, positions = await self.hands.call(
            lambda terminal: _read(terminal, since), Rank.READ
        )
        self.prices.held = frozenset(one.symbol for one in positions)
        self._spool(deals)
        now = account, len(positions)
        while spooled := self.journal.spooled(BATCH):
            # The account is as it is after all of them: the day's base is told from both.
            await self._hand_in(spooled, now if len(spooled) < BATCH else None)
        if now != self._told or elapsed() - self._told_at > self.settings.account_seconds:
            await self._report([], now)

    def _spool(self, deals: Sequence[Deal]) -> None:
        """Keep what was not seen before; most of what a look brings was."""
        new = [one for one in deals if one.deal_id not in self._known]
        if new:
            rows = [(one.deal_id, json.dumps(wire.deal(one)), one.time) for one in new]
            self.journal.spool(rows)
            self._known.update(one.deal_id for one in new)
            newest = max(one.time for one in new)
            self._newest = max(self._newest or newest, newest)

    async def _hand_in(self, spooled: Sequence[tuple[str, str]], now: _State | None) -> None:
        """Report these deals; one that the service refuses does not keep the others back."""
        try:
            await self._report([json.loads(body) for _, body in spooled], now)
        except Refused as error:
            if len(spooled) > 1:
                for one in spooled:
                    await self._hand_in([one], None)
                return
            log.warning("deal %s is refused and left out: %s", spooled[0][0], error)
        self.journal.deals_acked(deal_id for deal_id, _ in spooled)

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self.settings.deals_seconds):
                await self._changed.wait()
        except TimeoutError:
            return
        await asyncio.sleep(GATHER_SECONDS)

    def _since(self) -> datetime:
        self._newest = self._newest or self.journal.newest_deal()
        if self._newest is None:
            return utc_now() - timedelta(days=self.settings.deals_days)
        newest = min(self._newest, utc_now())  # a clock that was ahead must not hide what comes
        now = elapsed()
        if now - self._wide_at > WIDE_SECONDS:
            self._wide_at = self._near_at = now
            self._known.clear()  # the look brings what may be asked for again
            return newest - WIDE
        if now - self._near_at > NEAR_SECONDS:
            self._near_at = now
            return newest - NEAR
        return newest - JUST

    async def _report(self, deals: list[Json], now: _State | None) -> None:
        body: Json = {"deals": deals}
        if now is not None:
            body |= {"account": wire.account(now[0]), "open_positions": now[1]}
        answer = await self.client.call("POST", f"{self.path}/deals", body)
        if answer.status in REFUSED:
            raise Refused(answer.text)
        if not answer.ok:
            raise Unreachable(_words(answer))
        if now is not None:
            self._told, self._told_at = now, elapsed()

    def forget(self) -> None:
        """Drop what is too old to be asked for."""
        with contextlib.suppress(Broken):  # then another day
            self.journal.forget(utc_now() - timedelta(days=KEEP_DAYS))


def _read(terminal: Terminal, since: datetime) -> tuple[list[Deal], Account, list[Position]]:
    return list(terminal.deals(since)), terminal.account(), list(terminal.positions())


def _words(answer: Answer) -> str:
    return f"{answer.status} {answer.code}"
