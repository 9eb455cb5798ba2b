"""Looks at everything that an agent needs, and says of each thing that is wrong what to do."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from forex_agent.agent import key_headers
from forex_agent.client import CallError, Client, KeyRefused
from forex_agent.drivers import NoDriver, driver
from forex_agent.hands import Hands, Rank
from forex_agent.secret import Exposed
from forex_agent.settings import Settings, WrongSettings
from forex_agent.terminal import NotSent, Status, TerminalError

LARGEST_SKEW_SECONDS = 5.0
LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `remedy` says what to do where it is not as it should be."""

    what: str
    ok: bool
    told: str
    remedy: str = ""


def show(findings: Sequence[Finding]) -> str:
    """Return the findings as text."""
    lines = []
    for one in findings:
        lines.append(f"{'ok' if one.ok else 'WRONG':<6}{one.what}: {one.told}")
        if not one.ok and one.remedy:
            lines.append(f"      → {one.remedy}")
    return "\n".join(lines) + "\n"


async def examine(settings: Settings) -> Sequence[Finding]:
    """Look at everything; what stands in the way of a look is a finding."""
    found = [*_folder(settings), *_halt(settings)]
    try:
        headers = key_headers(settings)
    except (Exposed, WrongSettings) as error:
        found.append(Finding("key", ok=False, told=str(error), remedy="forex-agent pair"))
    else:
        found.extend(await _service(settings, headers))
    return [*found, *await _terminal(settings)]


def _folder(settings: Settings) -> Iterator[Finding]:
    state = settings.state
    usable = state.is_dir() and os.access(state, os.W_OK | os.X_OK)
    yield Finding(
        "state folder",
        ok=usable,
        told=str(state) if usable else f"{state} is not a folder that can be written to",
        remedy="forex-agent pair makes it; else give it to the user who runs the agent",
    )


def _halt(settings: Settings) -> Iterator[Finding]:
    halted = settings.kill_file.exists()
    yield Finding(
        "kill file",
        ok=not halted,
        told=f"{settings.kill_file} is there: no new trades" if halted else "none",
        remedy=f"when trading may go on: remove {settings.kill_file}",
    )


async def _service(settings: Settings, headers: dict[str, str]) -> Sequence[Finding]:
    found = list(_address(settings.service_url))
    path = f"/api/v1/agents/{settings.agent_id}/status"
    try:
        async with Client(settings.service_url, headers) as client:
            answer = await client.call("GET", path)
            skew = client.clock.skew().total_seconds()
    except KeyRefused as error:
        pair = "the key was rotated or the agent revoked: pair again, in a new state folder"
        return [*found, Finding("key", ok=False, told=str(error), remedy=pair)]
    except CallError as error:
        reach = f"is {settings.service_url} right, and can this machine reach it?"
        return [*found, Finding("service", ok=False, told=str(error), remedy=reach)]
    look = "the service's own log and /readyz say more"
    found.append(Finding("service", ok=answer.ok, told=f"answers {answer.status}", remedy=look))
    if answer.ok:
        found.append(Finding("key", ok=True, told="let in"))
        found.append(_skew(skew))
    return found


def _address(url: str) -> Iterator[Finding]:
    parts = urlsplit(url)
    safe = parts.scheme == "https" or parts.hostname in LOCAL
    yield Finding(
        "address",
        ok=safe,
        told=url if safe else f"{url} carries key and orders in the open",
        remedy="use https://",
    )


def _skew(seconds: float) -> Finding:
    # The header that tells the time has whole seconds: it is up to one behind.
    told = f"{seconds:+.1f} s from the service's"
    near = abs(seconds) <= LARGEST_SKEW_SECONDS
    return Finding("clock", ok=near, told=told, remedy="have the machine set its clock (NTP)")


async def _terminal(settings: Settings) -> Sequence[Finding]:
    try:
        found = driver(settings)
    except NoDriver as error:
        return [Finding("terminal", ok=False, told=str(error))]
    hands = Hands(
        found.terminal, call_seconds=settings.call_seconds, check_seconds=1, dead_checks=1
    )
    hands.start()
    try:
        return [one async for one in _looks(hands, settings)]
    except TerminalError as error:
        start = "start the terminal and log in; a dialogue in it may be open"
        return [Finding("terminal", ok=False, told=str(error), remedy=start)]
    finally:
        await asyncio.to_thread(hands.close, 2.0)


async def _looks(hands: Hands, settings: Settings) -> AsyncIterator[Finding]:
    status = await hands.call(lambda terminal: terminal.status(), Rank.READ)
    for one in (_connected(status), _autotrading(status)):
        yield one
    if status.connected:
        for name in settings.symbols:
            yield await _symbol(hands, name)


def _connected(status: Status) -> Finding:
    told = f"{status.platform} {status.version}"
    if status.connected:
        return Finding("terminal", ok=True, told=f"{told}, {status.login} on {status.server}")
    return Finding(
        "terminal", ok=False, told=f"{told} is not connected", remedy="log in to the account"
    )


def _autotrading(status: Status) -> Finding:
    allowed = status.trade_allowed
    return Finding(
        "AutoTrading",
        ok=allowed,
        told="on" if allowed else "off: every order will be refused",
        remedy="press Algo Trading in the terminal's toolbar; see also Tools, Options, Experts",
    )


async def _symbol(hands: Hands, name: str) -> Finding:
    look = f"symbol {name}"
    try:
        symbol = await hands.call(lambda terminal: terminal.symbol(name), Rank.READ)
    except NotSent as error:
        spell = "spell it as the broker does, its suffix too (Market Watch shows it)"
        return Finding(look, ok=False, told=str(error), remedy=spell)
    if not symbol.trade_allowed:
        return Finding(look, ok=False, told="may not be traded", remedy="ask the broker")
    if not symbol.fillings:
        told = "allows no filling mode that the agent knows"
        return Finding(look, ok=False, told=told, remedy="ask the broker")
    return Finding(look, ok=True, told=f"filling {', '.join(symbol.fillings)}")
