"""What `python -m api up --simulated` adds: a user with a demo account, and its agent at work.

All of it goes over HTTP, as the user's own programs would do it. A second start finds the user, the
account and the agent, whose state folder is in the data folder.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from api import commands
from api.agent_process import keep_key, kept_key, market_data, recorded_symbols, start_agent
from api.demo.client import Client
from api.keys import PREFIX, SHOWN
from jobengine.embedded.lock import FolderLock
from jobengine.embedded.supervisor import ChildServer

EMAIL = "demo@example.org"
NAME = "simulated"
SYMBOLS = ["EURUSD", "GBPUSD", "USDJPY", "XAUUSD", "BTCUSD"]
TOKEN_HOURS = 24.0
START_SECONDS, LOOK_SECONDS = 60.0, 0.1


def beside(environment: Mapping[str, str]) -> Callable[[str], AbstractContextManager[None]]:
    """Return what runs beside the service, given its URL.

    `SettingsError` or `Refused` where the recorded prices cannot be played.
    """
    data = market_data(environment)
    symbols = recorded_symbols(data) if data else SYMBOLS
    settings = {"symbols": ",".join(symbols), "simulated_data": str(data or "")}
    return partial(_running, environment, settings, symbols[0])


@contextmanager
def _running(
    environment: Mapping[str, str], settings: Mapping[str, str], symbol: str, url: str
) -> Iterator[None]:
    """Run the agent of the demo account, and say how to try it."""
    folder = commands.data_folder(environment) / "agent"
    lock = FolderLock(folder.with_name("agent.lock"))
    if not lock.try_acquire():
        raise commands.Refused(f"{folder} is in use by {lock.holder()}")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # our own calls are no news
    token = _token(environment)
    with closing(Client(url, {"Authorization": f"Bearer {token}"})) as user:
        agent_id = _agent(user, folder)
        before = _heartbeat(user, agent_id)
        agent = start_agent(folder, agent_id, url, lock, settings)
        try:
            _wait(agent, lambda: _heartbeat(user, agent_id) != before)
            commands.say(_welcome(url, token, symbol))
            yield
        finally:
            agent.stop()
            lock.release()


def _token(environment: Mapping[str, str]) -> str:
    """Return a token for the user, who is added where there is none."""
    try:
        return commands.token(environment, EMAIL, TOKEN_HOURS)
    except commands.UnknownUser:
        commands.add_user(environment, EMAIL)
        return commands.token(environment, EMAIL, TOKEN_HOURS)


def _agent(user: Client, folder: Path) -> UUID:
    """Return the agent whose key is in the folder; one is paired where there is none."""
    user.made("/api/v1/onboarding/complete", {})
    key = kept_key(folder)
    prefix = (key or "").removeprefix(PREFIX)[:SHOWN]
    for agent in user.get("/api/v1/agents?limit=100"):
        if agent["key_prefix"].removeprefix(PREFIX) == prefix and agent["revoked_at"] is None:
            return UUID(agent["agent_id"])
    body = {"name": NAME, "broker_connection_id": _account(user)}
    paired = user.made("/api/v1/agents/pair", body)
    keep_key(folder, paired["agent_key"])
    return UUID(paired["agent_id"])


def _heartbeat(user: Client, agent_id: UUID) -> str | None:
    """Return when the agent has last said that it lives."""
    said: str | None = user.get(f"/api/v1/agents/{agent_id}/status")["last_heartbeat"]
    return said


def _wait(agent: ChildServer, works: Callable[[], bool]) -> None:
    """Return once the agent works; `Refused` with its log where it does not."""
    deadline = time.monotonic() + START_SECONDS
    while not works():
        if not agent.alive() or time.monotonic() > deadline:
            raise commands.Refused(f"the agent does not work\n{agent.log_tail()}")
        time.sleep(LOOK_SECONDS)


def _account(user: Client) -> str:
    for account in user.get("/api/v1/broker-connections"):
        if account["name"] == NAME:
            return str(account["id"])
    new: dict[str, Any] = {"name": NAME, "account_mode": "demo", "is_default": True}
    return str(user.made("/api/v1/broker-connections", new)["id"])


def _welcome(url: str, token: str, symbol: str) -> str:
    return f"""
{EMAIL} has a demo account, and its agent a simulated terminal. In another terminal:

    API={url}/api/v1
    TOKEN={token}
    curl -sS -X POST $API/orders -H "Authorization: Bearer $TOKEN" \\
        -d '{{"symbol": "{symbol}", "side": "buy", "volume": 0.1}}'

docs/trading-api.md goes on from there."""
