"""TradingView, as the service meets it: it has strategies' addresses, and posts alerts there."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable
from typing import LiteralString
from uuid import UUID

import httpx
from pydantic import TypeAdapter

from api import commands, models
from api.demo.alerts import Alert, Posted, Target
from api.demo.desk import Desk
from api.demo.evidence import Conn
from api.demo.world import Agent, User

TEXT = {"Content-Type": "text/plain; charset=utf-8"}
TIMEOUT = 30.0
PAGE = 200
_OVER: LiteralString = """
select count(*) from public.tv_signals s where s.user_id = any (%s) and s.status <> 'pending'"""
_KEPT: LiteralString = """
select count(*) from public.tv_signals s where s.raw_payload ->> 'id' = any (%s)"""


class TradingView:
    """Posts alerts one after the other, and never asks what became of them."""

    def __init__(self, desk: Desk) -> None:
        self.posted: list[Posted] = []
        self._desk = desk
        self._users = [user.user_id for user in desk.world.users]
        self._addresses: dict[tuple[UUID, Target], str] = {}
        self._http = httpx.Client(headers=TEXT, timeout=TIMEOUT, trust_env=False)

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def run(self) -> None:
        """Post each account's alerts, one bar of the chart after the other; all have ended then."""
        agents = self._desk.world.agents
        for agent in agents:
            self._make_strategies(agent)
        self._desk.happened("alerts come to the webhooks of every account's strategies")
        series = [self._desk.plan.alerts(agent) for agent in agents]
        for bar in zip(*series, strict=True):
            self.post(bar)
            self.wait()

    def post(self, alerts: Iterable[Alert]) -> None:
        """Post the alerts, one after the other."""
        for alert in alerts:
            url = self._addresses[alert.agent.agent_id, alert.to]
            self.posted.append(_post(self._http, url, alert))

    def wait(self) -> None:
        """Return when every alert that was posted is a signal that has ended."""
        self._desk.wait(self._over, "every alert is a signal that has ended")

    def strangers(self) -> list[Alert]:
        """Return the alerts that were posted to nobody's address."""
        return [posted.alert for posted in self.posted if posted.alert.to == "nobody"]

    def _make_strategies(self, agent: Agent) -> None:
        """One that trades, one that is disabled, and an address that is nobody's."""
        about = {
            "broker_connection_id": str(agent.broker_connection_id),
            "allowed_pairs": [agent.symbols[0]],
            "default_volume": 0.02,
        }
        self._make(agent, "strategy", {**about, "name": agent.name})
        self._make(agent, "disabled", {**about, "name": "disabled", "is_enabled": False})
        url = self._addresses[agent.agent_id, "strategy"].rpartition("/")[0]
        self._know(agent, "nobody", f"{url}/{secrets.token_urlsafe(32)}")

    def _make(self, agent: Agent, target: Target, values: dict[str, object]) -> None:
        made = self._desk.client(agent).made("/api/v1/strategies", values)
        self._know(agent, target, made["webhook_url"])

    def _know(self, agent: Agent, target: Target, url: str) -> None:
        """Keep the address; its secret must be in no log."""
        self._addresses[agent.agent_id, target] = url
        self._desk.world.secrets.append(url.rpartition("/")[2])

    def _over(self) -> bool:
        row = self._desk.conn.execute(_OVER, (self._users,)).fetchone()
        assert row is not None
        return bool(row[0] >= len(self.posted) - len(self.strangers()))


def _post(http: httpx.Client, url: str, alert: Alert) -> Posted:
    sent_at = time.time()
    try:
        answer = http.post(url, content=alert.body)
    except httpx.HTTPError as error:
        raise commands.Refused(f"an alert was not answered: {error}") from error
    return Posted(
        alert=alert,
        sent_at=sent_at,
        answered_at=time.time(),
        answer=(answer.status_code, answer.text),
    )


def known_signals(user: User) -> list[models.Signal]:
    """Return the user's signals as the service has them."""
    return TypeAdapter(list[models.Signal]).validate_python(
        user.client.get(f"/api/v1/signals?limit={PAGE}")
    )


def kept_of(conn: Conn, ids: Iterable[str]) -> int:
    """Return how many signals, of whichever user, there are of alerts with these ids."""
    row = conn.execute(_KEPT, (list(ids),)).fetchone()
    assert row is not None
    return int(row[0])
