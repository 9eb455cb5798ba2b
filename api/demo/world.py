"""Who takes part: two users with broker accounts and agents, as their own programs would make them.

Users come from the library of `python -m api user add`; everything else goes over HTTP, with their
tokens. Projects and deployments have no endpoint yet: they are inserted as the service.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
from forex_agent.simulated import RandomWalk

from api import commands, tokens
from api.agent_process import keep_key, recorded_symbols
from api.demo.client import Client
from api.demo.servers import Platform

TOKEN_SECONDS = 3600.0
SYMBOLS: dict[str, tuple[str, ...]] = {
    "anna-1": ("EURUSD", "BTCUSD"),
    "anna-2": ("USDJPY", "GBPUSD"),  # which `MARKET_DATA_DIR` may have prices of
    "bert-1": ("EURUSD", "BTCUSD"),
}
REPLAYING = "anna-2"
TICK_MS, LOOK_BACK_MS = 500, 15_000
FAST = "BTCUSD"
TOO_MUCH = 90  # lots: no demo account has the margin
AHEAD_MS, LULL_MS, MOVES = 60_000, 3_000, 400  # points


@dataclass(frozen=True, slots=True)
class User:
    """A user, and the HTTP client that has the token."""

    user_id: UUID
    name: str
    token: str
    client: Client


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """An agent as its owner paired it; `state` is its folder, `data` the prices that it replays."""

    name: str
    agent_id: UUID
    user_id: UUID
    broker_connection_id: UUID
    symbols: tuple[str, ...]
    state: Path
    seed: int = 1
    data: Path | None = None

    @property
    def queues(self) -> set[str]:
        """Where its jobs may come from."""
        return {f"agent/{self.agent_id}", f"broker/{self.broker_connection_id}", "any"}

    @property
    def book_path(self) -> Path:
        """Where its terminal keeps the account."""
        return self.state / "book.db"

    def quoted(self, symbol: str, bid: float, ask: float, ts: int) -> bool:
        """Whether the market of its terminal had that price, at that time or shortly before."""
        market = RandomWalk(self.seed, [symbol])
        spec = market.specs[symbol]
        return any(
            (spec.decimal(quote.bid), spec.decimal(quote.ask))
            == (Decimal(str(bid)), Decimal(str(ask)))
            for at in range(ts, ts - LOOK_BACK_MS, -TICK_MS)
            if (quote := market.quote(symbol, at))
        )


@dataclass(frozen=True, slots=True)
class World:
    """Everybody, and what no log may hold: keys, tokens, secrets of webhooks."""

    users: list[User]
    agents: list[Agent]
    secrets: list[str]

    def owner(self, agent: Agent) -> User:
        """Return whose agent it is."""
        return next(user for user in self.users if user.user_id == agent.user_id)

    def close(self) -> None:
        """Let go of the users' connections."""
        for user in self.users:
            user.client.close()


def make_world(platform: Platform, seed: int, data: Path | None) -> World:
    """Anna has two agents, on two broker accounts; Bert has one. The first account is the default.

    `data` is a folder of recorded prices, which one of the agents replays.
    """
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    users = {name: _user(platform, name) for name in ("anna", "bert")}
    agents, secrets = [], [platform.secret, *(user.token for user in users.values())]
    for name, symbols in _symbols(data).items():
        user = users[name.partition("-")[0]]
        account = user.client.made(
            "/api/v1/broker-connections",
            {"name": name, "account_mode": "demo", "is_default": name.endswith("-1")},
        )
        body = {"name": name, "broker_connection_id": account["id"]}
        paired = user.client.made("/api/v1/agents/pair", body)
        agent = Agent(
            name=name,
            agent_id=UUID(paired["agent_id"]),
            user_id=user.user_id,
            broker_connection_id=UUID(account["id"]),
            symbols=symbols,
            state=platform.folder / name,
            seed=_lively(chance),
            data=data if name == REPLAYING else None,
        )
        keep_key(agent.state, paired["agent_key"])
        agents.append(agent)
        secrets.append(paired["agent_key"])
    return World(list(users.values()), agents, secrets)


def _symbols(data: Path | None) -> dict[str, tuple[str, ...]]:
    """Return what each agent offers; one that replays recorded prices, the first two of them."""
    if data is None:
        return SYMBOLS
    return {**SYMBOLS, REPLAYING: tuple(recorded_symbols(data)[:2])}


def _lively(chance: random.Random) -> int:
    """Return a seed whose fast instrument moves all the time from now on: some are quiet."""
    now = time.time_ns() // 1_000_000
    while True:
        seed = chance.randrange(2**31)
        market = RandomWalk(seed, [FAST])
        bars = [
            market.bar(FAST, now + at, now + at + LULL_MS) for at in range(0, AHEAD_MS, LULL_MS)
        ]
        if all(bar and bar.high - bar.low >= MOVES for bar in bars):
            return seed


def _user(platform: Platform, name: str) -> User:
    email = f"{name}.{uuid4().hex[:8]}@demo.invalid"
    user_id = commands.add_user({"DATABASE_URL": platform.database_url}, email)
    token = tokens.issue(platform.secret, user_id, email, TOKEN_SECONDS)
    client = Client(platform.url, {"Authorization": f"Bearer {token}"})
    client.made("/api/v1/onboarding/complete", {})
    return User(user_id, name, token, client)


_VERSION: LiteralString = """
with project as (
    insert into public.ea_projects (user_id, name) values (%(user_id)s, 'demo') returning id)
insert into public.ea_versions (user_id, project_id, source_code)
select %(user_id)s, id, %(source_code)s from project returning id"""
_DEPLOYMENT: LiteralString = """
insert into public.ea_deployments (user_id, version_id, agent_id, broker_connection_id, symbol)
values (%(user_id)s, %(version_id)s, %(agent_id)s, %(broker_connection_id)s, %(symbol)s)
returning id"""


@dataclass(frozen=True, slots=True)
class Parents:
    """Makes the rows that follow jobs; the connection is the service's own."""

    conn: psycopg.Connection[Any]

    def version(self, agent: Agent, source_code: str) -> UUID:
        return self._new(_VERSION, agent, source_code=source_code)

    def deployment(self, agent: Agent, symbol: str) -> UUID:
        version_id = self.version(agent, "")
        return self._new(_DEPLOYMENT, agent, version_id=version_id, symbol=symbol)

    def _new(self, statement: LiteralString, agent: Agent, **values: Any) -> UUID:
        known = {
            "user_id": agent.user_id,
            "agent_id": agent.agent_id,
            "broker_connection_id": agent.broker_connection_id,
        }
        row = self.conn.execute(statement, {**known, **values}).fetchone()
        assert row is not None
        found: UUID = row[0]
        return found
