"""What is to be done: jobs of expert advisors, reads, orders, and alerts."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeAlias
from uuid import UUID

from api.demo.alerts import Alert, alerts
from api.demo.orders import Order
from api.demo.world import TOO_MUCH, Agent, Parents

SOURCE = "int OnInit() { return 0; }\nvoid OnTick() {}\n"
WRONG_SOURCE = "void OnTick() {\n"
PROGRAM = base64.b64encode(b"EX5 of the demo").decode()
BURST = 10  # orders at once, in whose middle somebody is killed
EXPIRES_SECONDS = 0.2

Json: TypeAlias = dict[str, Any]
JOB_TYPES = frozenset(
    {
        *("compile", "deploy", "run", "stop", "trade", "close_position"),
        *("get_positions", "get_account", "get_candles"),
    }
)


@dataclass(frozen=True, slots=True)
class Step:
    """One job: the body of `POST /jobs`."""

    job_type: str
    body: Json


@dataclass(slots=True)
class Chain:
    """Jobs that come one after the other, for the agent's owner."""

    agent: Agent
    steps: list[Step] = field(default_factory=list)


class Plan:
    """Makes jobs, alerts and orders; the same seed makes the same ones."""

    def __init__(self, agents: list[Agent], parents: Parents, seed: int) -> None:
        self._chance = _chance(seed)
        self._parents = parents
        self._agents = agents
        # Each account has chances and keys of its own, as all draw at the same time.
        self._chances = {agent.agent_id: _chance(f"{seed}/{agent.name}") for agent in agents}
        self._keys = {agent.agent_id: count(1) for agent in agents}
        self.victim = self._chance.choice(agents)

    def chains(self) -> list[Chain]:
        """Return all chains of jobs in the order in which they begin."""
        chains = [chain for agent in self._agents for chain in self._of(agent)]
        self._chance.shuffle(chains)
        return chains

    def alerts(self, agent: Agent) -> list[Alert]:
        """Return the alerts for the account's strategies."""
        return alerts(agent, self._chances[agent.agent_id])

    def orders(self, agent: Agent) -> list[Order]:
        """Return market orders that are filled, some asked for again, and one that is too large."""
        orders = [self.order(agent, requests=1 + number % 3 // 2) for number in range(6)]
        return [*orders, self.order(agent, volume=TOO_MUCH, expected=("rejected",))]

    def burst(self, agent: Agent) -> list[Order]:
        """Return orders that are placed all at once."""
        return [self.order(agent) for _ in range(BURST)]

    def order(
        self,
        agent: Agent,
        *,
        expected: tuple[str, ...] = ("filled",),
        requests: int = 1,
        **body: Any,
    ) -> Order:
        """Return a market order of the agent's account; `body` says what is not left to chance."""
        key, chance = self._key(agent), self._chances[agent.agent_id]
        drawn = {
            "symbol": agent.symbols[0],
            "side": chance.choice(("buy", "sell")),
            "volume": chance.randint(1, 5) / 100,
            "client_order_id": key,
        }
        return Order(
            agent=agent, key=key, expected=expected, body={**drawn, **body}, requests=requests
        )

    def close(
        self,
        agent: Agent,
        ticket: str,
        *,
        expected: tuple[str, ...] = ("closed",),
        requests: int = 1,
    ) -> Order:
        """Return the order that closes the position."""
        return Order(
            agent=agent,
            key=self._key(agent),
            expected=expected,
            ticket=ticket,
            requests=requests,
        )

    def _key(self, agent: Agent) -> str:
        return f"{agent.name}/{next(self._keys[agent.agent_id])}"

    def _of(self, agent: Agent) -> Iterator[Chain]:
        yield from self._deployments(agent)
        yield from self._compilations(agent)
        yield from self._reads(agent)

    def _deployments(self, agent: Agent) -> Iterator[Chain]:
        """One that runs and is stopped, and one without a program."""
        name = {"name": "demo", "symbol": agent.symbols[0], "timeframe": "M1"}
        whole = {"deploy": {**name, "program_base64": PROGRAM}, "run": name, "stop": name}
        for inputs in (whole, {"deploy": name}):
            deployment_id = self._parents.deployment(agent, agent.symbols[0])
            parent = _parent("ea_deployment", deployment_id)
            yield Chain(agent, [_step(kind, told, agent, parent) for kind, told in inputs.items()])

    def _compilations(self, agent: Agent) -> Iterator[Chain]:
        """One for the agent, one for anybody, and one that fails."""
        for source, target in ((SOURCE, _to(agent)), (SOURCE, {}), (WRONG_SOURCE, {})):
            parent = _parent("ea_version", self._parents.version(agent, source))
            body = {"input_data": {"name": "demo", "source_code": source}, **target, **parent}
            yield Chain(agent, [Step("compile", body)])

    def _reads(self, agent: Agent) -> Iterator[Chain]:
        """The same questions to the agent and to its account."""
        candles = {"instrument": agent.symbols[0], "timeframe": "M1", "count": 50}
        for target in (_to(agent), _account(agent)):
            for job_type in ("get_positions", "get_account", "get_candles"):
                asked = candles if job_type == "get_candles" else {}
                yield Chain(agent, [Step(job_type, {"input_data": asked, **target})])


def _chance(seed: object) -> random.Random:
    return random.Random(str(seed))  # noqa: S311 - repeatable, not secret


def _step(job_type: str, input_data: Json, agent: Agent, parent: Json) -> Step:
    return Step(job_type, {"input_data": input_data, **_to(agent), **parent})


def _to(agent: Agent) -> Json:
    return {"agent_id": str(agent.agent_id)}


def _account(agent: Agent) -> Json:
    return {"broker_connection_id": str(agent.broker_connection_id)}


def _parent(parent_type: str, parent_id: UUID) -> Json:
    return {"parent_type": parent_type, "parent_id": str(parent_id)}
