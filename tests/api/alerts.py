"""Strategies and alerts as tests of the service send them."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import httpx

from tests.api.world import Agent, Json, User, until


@dataclass
class Strategy:
    """A strategy with the path of its webhook, and the agent of its account."""

    owner: User
    agent: Agent
    strategy_id: UUID
    path: str

    @property
    def secret(self) -> str:
        return self.path.rpartition("/")[2]

    def alert(self, body: bytes | str | Json, **headers: str) -> httpx.Response:
        """Send an alert; a value is sent as its JSON."""
        content = body if isinstance(body, bytes | str) else json.dumps(body)
        answer = self.owner.service.http.post(self.path, content=content, headers=headers)
        assert (answer.status_code, answer.text) == (200, "ok")
        return answer

    def change(self, **changes: Json) -> Json:
        found = self.owner.patch(f"/api/v1/strategies/{self.strategy_id}", changes)
        assert found.status_code == 200, found.text
        return found.json()

    def signals(self) -> list[Json]:
        """The signals, newest first."""
        found: list[Json] = self.owner.get(
            "/api/v1/signals", strategy_id=str(self.strategy_id), limit=200
        ).json()
        return found

    def signal(self) -> Json:
        """The only signal, once it is there: an alert may wait in the spool for a moment."""
        until(lambda: len(self.signals()) == 1)
        [found] = self.signals()
        return found


def new_strategy(owner: User, **values: Json) -> Strategy:
    account = owner.post("/api/v1/broker-connections", {"name": "demo"}).json()["id"]
    agent = owner.pair(broker_connection_id=account)
    body = {"name": secrets.token_hex(4), "broker_connection_id": account, **values}
    made = owner.post("/api/v1/strategies", body)
    assert made.status_code == 201, made.text
    found = made.json()
    path = urlsplit(found["webhook_url"]).path
    return Strategy(owner, agent, UUID(found["strategy_id"]), path)


def fields(found: Json, *names: str) -> tuple[Any, ...]:
    return tuple(found[name] for name in names)
