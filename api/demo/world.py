"""Who takes part: two users with broker accounts and agents, as their own programs would make them.

Users come from the library of `python -m api user add`; everything else goes over HTTP, with their
tokens. Projects, deployments and signals have no endpoint yet: they are inserted as the service.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg

from api import commands, tokens
from api.demo.agent.client import Client
from api.demo.servers import Platform

TOKEN_SECONDS = 3600.0
SYMBOLS = (("EURUSD", "GBPUSD"), ("EURUSD", "USDJPY"), ("EURUSD", "XAUUSD"))


@dataclass(frozen=True, slots=True)
class User:
    """A user, and the HTTP client that has the token."""

    user_id: UUID
    name: str
    client: Client


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent as its owner paired it."""

    name: str
    agent_id: UUID
    user_id: UUID
    broker_connection_id: UUID
    symbols: tuple[str, ...]

    @property
    def queues(self) -> set[str]:
        """Where its jobs may come from."""
        return {f"agent/{self.agent_id}", f"broker/{self.broker_connection_id}", "any"}


@dataclass(frozen=True, slots=True)
class World:
    """Everybody, and the keys of the agents."""

    users: list[User]
    agents: list[Agent]
    keys: Mapping[UUID, str]

    def secrets(self) -> list[str]:
        """What no log may hold."""
        return [
            *self.keys.values(),
            *(user.client.headers["Authorization"][7:] for user in self.users),
        ]

    def owner(self, agent: Agent) -> User:
        return next(user for user in self.users if user.user_id == agent.user_id)


def make_world(platform: Platform) -> World:
    """Anna has two agents, on two broker accounts; Bert has one."""
    anna, bert = (_user(platform, name) for name in ("anna", "bert"))
    agents, keys = [], {}
    for user, name, symbols in zip(
        (anna, anna, bert), ("anna-1", "anna-2", "bert-1"), SYMBOLS, strict=True
    ):
        account = created(
            user, "/api/v1/broker-connections", {"name": name, "account_mode": "demo"}
        )
        body = {"name": name, "broker_connection_id": account["id"]}
        paired = created(user, "/api/v1/agents/pair", body)
        agent_id = UUID(paired["agent_id"])
        agents.append(Agent(name, agent_id, user.user_id, UUID(account["id"]), symbols))
        keys[agent_id] = paired["agent_key"]
    return World([anna, bert], agents, keys)


def _user(platform: Platform, name: str) -> User:
    email = f"{name}.{uuid4().hex[:8]}@demo.invalid"
    user_id = commands.add_user({"DATABASE_URL": platform.database_url}, email)
    token = tokens.issue(platform.secret, user_id, email, TOKEN_SECONDS)
    user = User(user_id, name, Client(platform.url, {"Authorization": f"Bearer {token}"}))
    created(user, "/api/v1/onboarding/complete", {})
    return user


def created(user: User, path: str, body: Mapping[str, Any]) -> Any:
    """Return what the service made; `Refused` with its words where it did not."""
    answer = user.client.post(path, body)
    if answer.status not in {200, 201}:
        raise commands.Refused(f"POST {path} answered {answer.status}: {answer.body}")
    return answer.body


_VERSION: LiteralString = """
with project as (
    insert into public.ea_projects (user_id, name) values (%(user_id)s, 'demo') returning id)
insert into public.ea_versions (user_id, project_id, source_code)
select %(user_id)s, id, %(source_code)s from project returning id"""
_DEPLOYMENT: LiteralString = """
insert into public.ea_deployments (user_id, version_id, agent_id, broker_connection_id, symbol)
values (%(user_id)s, %(version_id)s, %(agent_id)s, %(broker_connection_id)s, %(symbol)s)
returning id"""
_SIGNAL: LiteralString = """
with strategy as (
    insert into public.tv_strategies (user_id, broker_connection_id, name, webhook_secret)
    values (%(user_id)s, %(broker_connection_id)s, 'demo', gen_random_uuid()) returning id)
insert into public.tv_signals (user_id, strategy_id, symbol, action, volume)
select %(user_id)s, id, %(symbol)s, %(action)s, %(volume)s from strategy returning id"""


@dataclass(frozen=True, slots=True)
class Parents:
    """Makes the rows that follow jobs; the connection is the service's own."""

    conn: psycopg.Connection[Any]

    def version(self, agent: Agent, source_code: str) -> UUID:
        return self._new(_VERSION, agent, source_code=source_code)

    def deployment(self, agent: Agent, symbol: str) -> UUID:
        version_id = self.version(agent, "")
        return self._new(_DEPLOYMENT, agent, version_id=version_id, symbol=symbol)

    def signal(self, agent: Agent, order: Mapping[str, Any]) -> UUID:
        values = {"symbol": order["symbol"], "action": order["side"], "volume": order["volume"]}
        return self._new(_SIGNAL, agent, **values)

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
