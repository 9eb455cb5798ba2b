"""One agent from its start to its end: makes the parts, runs them side by side, drains them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forex_agent import secret
from forex_agent.beat import Beat
from forex_agent.client import Client, KeyRefused, Unreachable
from forex_agent.clock import elapsed
from forex_agent.deals import Deals
from forex_agent.drivers import Driver
from forex_agent.gate import Gate
from forex_agent.hands import Hands
from forex_agent.journal import Journal
from forex_agent.notify import Notify
from forex_agent.orders import Orders
from forex_agent.prices import Prices
from forex_agent.programs import Programs
from forex_agent.reads import Reads
from forex_agent.settings import Settings, WrongSettings
from forex_agent.work import Work

log = logging.getLogger("forex_agent")

FAREWELL_SECONDS = 3.0  # for the last heartbeat
DAY_SECONDS = 86_400.0


@dataclass(slots=True)
class Stop:
    """How the agent is told to end: `drain` first, `now` if that takes too long."""

    drain: asyncio.Event
    now: asyncio.Event


@dataclass(frozen=True, slots=True)
class Parts:
    """What one agent is made of."""

    client: Client
    hands: Hands
    gate: Gate
    prices: Prices
    deals: Deals
    programs: Programs
    work: Work
    beat: Beat
    notify: Notify


def key_headers(settings: Settings) -> dict[str, str]:
    """Return the headers that say who the agent is; raises `secret.Exposed`, `WrongSettings`."""
    for name in ("service_url", "agent_id"):
        if not getattr(settings, name):
            raise WrongSettings(f"{name}: missing; `forex-agent pair` writes it")
    return {"X-Agent-Key": secret.read(settings.within(settings.key_file))}


async def run(settings: Settings, driver: Driver, stop: Stop) -> None:
    """Run until told to stop; raises `KeyRefused`, `journal.InUse`, `secret.Exposed`."""
    headers = key_headers(settings)
    with Journal(settings.state / "journal.db") as journal:
        async with Client(settings.service_url, headers) as client:
            parts = _parts(settings, driver, client, journal)
            parts.hands.start()
            try:
                await _live(parts, settings, stop)
            finally:
                await parts.work.end()
                parts.programs.close()
                await asyncio.to_thread(parts.hands.close, 2.0)


def _parts(settings: Settings, driver: Driver, client: Client, journal: Journal) -> Parts:
    path = f"/api/v1/agents/{settings.agent_id}"
    hands = Hands(
        driver.terminal,
        call_seconds=settings.call_seconds,
        check_seconds=settings.check_seconds,
        dead_checks=settings.dead_checks,
    )
    gate = Gate(journal, settings.kill_file, client.clock)
    prices = Prices(client, path, hands, settings.symbols, settings.price_seconds)
    deals = Deals(client, path, hands, journal, prices, settings)
    programs = Programs(driver.experts, settings.within(Path("artifacts")))
    orders = Orders(client, path, hands, journal, gate, settings, deals.changed)
    work = Work(
        client, path, journal, settings, orders, Reads(hands), programs, settings.poll_seconds
    )
    beat = Beat(client, path, hands, gate, prices, work, programs, settings.heartbeat_seconds)
    return Parts(client, hands, gate, prices, deals, programs, work, beat, Notify())


async def _live(parts: Parts, settings: Settings, stop: Stop) -> None:
    """Work until told to stop, then finish what is in hand."""
    refused: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    parts.work.refused = refused
    parts.hands.changed = parts.beat.soon.set
    parts.beat.heard = _ready_once(parts.notify)
    claiming = asyncio.create_task(_claim(parts))
    loops = [
        *_tasks(parts.hands.watch(), parts.beat.run(), parts.deals.run(), parts.prices.run()),
        *_tasks(_tidy(parts.deals), _watchdog(parts, settings)),
    ]
    told = [asyncio.create_task(stop.drain.wait()), asyncio.create_task(stop.now.wait())]
    try:
        try:
            await _first(refused, claiming, *loops, *told)
        except KeyRefused as error:
            claiming.cancel()
            await _first(asyncio.create_task(_shut(parts, settings, error)), told[1])
            raise
        parts.notify.send("STOPPING=1")
        claiming.cancel()
        await asyncio.gather(claiming, return_exceptions=True)
        await _first(asyncio.create_task(_drain(parts, settings)), refused, told[1])
        await _farewell(parts.beat)
    finally:
        for task in (claiming, *loops, *told):
            task.cancel()
        await asyncio.gather(claiming, *loops, *told, return_exceptions=True)
        if not refused.cancel():
            refused.exception()  # looked at, so that nobody misses it


def _tasks(*loops: Coroutine[Any, Any, None]) -> list[asyncio.Task[None]]:
    return [asyncio.create_task(loop) for loop in loops]


async def _first(*waited: asyncio.Future[Any]) -> None:
    """Return when one of these ends; raises its error."""
    done, _ = await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
    for one in done:
        one.result()


async def _claim(parts: Parts) -> None:
    parts.work.resume()
    await parts.work.run()


async def _drain(parts: Parts, settings: Settings) -> None:
    log.info("stopping: %d jobs are in hand", len(parts.work.tasks))
    parts.beat.status = "draining"
    parts.beat.soon.set()  # the service hears of it now, not in half a minute
    if not await parts.work.drain(settings.drain_seconds):
        log.warning("%d jobs are left to the next start", len(parts.work.tasks))


async def _shut(parts: Parts, settings: Settings, error: KeyRefused) -> None:
    """Send nothing more, and keep what becomes of what was sent."""
    log.error("the key is not let in any more: %s", error)
    parts.gate.shut("the service does not let this agent in any more")
    await parts.work.drain(settings.drain_seconds)


async def _farewell(beat: Beat) -> None:
    """Say goodbye, if somebody listens."""
    beat.status = "offline"
    try:
        async with asyncio.timeout(FAREWELL_SECONDS):
            await beat.beat()
    except (Unreachable, KeyRefused, TimeoutError):
        log.info("nobody heard the last heartbeat")


async def _tidy(deals: Deals) -> None:
    while True:
        deals.forget()
        await asyncio.sleep(DAY_SECONDS)


def _ready_once(notify: Notify) -> Any:
    """Tell systemd after the first heartbeat that was answered that the agent is ready."""
    told: list[bool] = []

    def heard() -> None:
        if not told:
            told.append(True)
            log.info("the service answers: ready")
            notify.send("READY=1")

    return heard


async def _watchdog(parts: Parts, settings: Settings) -> None:
    """Tell systemd that the agent lives, while the service was heard of lately."""
    pause = (parts.notify.watchdog_seconds or 60.0) / 3
    while True:
        silent = elapsed() - parts.client.contact
        if silent < max(2 * settings.heartbeat_seconds, 2 * parts.beat.seconds):
            parts.notify.send("WATCHDOG=1")
        await asyncio.sleep(pause)
