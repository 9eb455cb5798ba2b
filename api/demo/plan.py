"""What is to be done: jobs of all nine types, some of which follow another's end."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from uuid import UUID

from api.demo.agent.terminal import LARGEST_VOLUME
from api.demo.world import Agent, Parents

SLOW_MS = 1500  # long enough to be seen and killed in the middle
WORK_MS = (5, 40)
SOURCE = "int OnInit() { return 0; }\n"

Json: TypeAlias = dict[str, Any]
JOB_TYPES = frozenset(
    {
        *("compile", "deploy", "run", "stop", "trade", "close_position"),
        *("get_positions", "get_account", "get_candles"),
    }
)


@dataclass(frozen=True, slots=True)
class Step:
    """One job: the body of `POST /jobs`, and whether it is the one in which its agent is killed."""

    job_type: str
    body: Json
    slow: bool = False


@dataclass(slots=True)
class Chain:
    """Jobs that come one after the other, for the agent's owner."""

    agent: Agent
    steps: list[Step] = field(default_factory=list)

    def next(self, before: Json | None) -> Step | None:
        """Take the next step; a position is closed by the ticket of the order before."""
        if not self.steps:
            return None
        step = self.steps.pop(0)
        if step.job_type == "close_position":
            step.body["input_data"]["ticket"] = (before or {}).get("ticket")
        return step


class Plan:
    """Makes the chains; the same seed makes the same ones."""

    def __init__(self, agents: list[Agent], parents: Parents, seed: int) -> None:
        self._chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._parents = parents
        self._agents = agents
        self.victim = self._chance.choice(agents)

    def chains(self) -> list[Chain]:
        """Return all chains in the order in which they begin; the slow one is not among them."""
        chains = [chain for agent in self._agents for chain in self._of(agent)]
        self._chance.shuffle(chains)
        return chains

    def slow(self) -> Chain:
        """Return the compilation in whose middle its agent is to be killed."""
        parent = _parent("ea_version", self._parents.version(self.victim, SOURCE))
        input_data = {"source_code": SOURCE, "work_ms": SLOW_MS}
        step = self._step("compile", input_data, slow=True, **_to(self.victim), **parent)
        return Chain(self.victim, [step])

    def _of(self, agent: Agent) -> Iterator[Chain]:
        yield from self._deployments(agent)
        yield from self._compilations(agent)
        yield from self._orders(agent)
        yield from self._reads(agent)

    def _deployments(self, agent: Agent) -> Iterator[Chain]:
        """One that runs and is stopped, and one whose symbol the terminal does not have."""
        whole = (agent.symbols[0], ("deploy", "run", "stop"))
        for symbol, job_types in (whole, ("NOSUCH", ("deploy",))):
            parent = _parent("ea_deployment", self._parents.deployment(agent, symbol))
            steps = [
                self._step(job_type, {"symbol": symbol}, **_to(agent), **parent)
                for job_type in job_types
            ]
            yield Chain(agent, steps)

    def _compilations(self, agent: Agent) -> Iterator[Chain]:
        """One for the agent, one for anybody, and one that fails."""
        for source, target in ((SOURCE, _to(agent)), (SOURCE, {}), (f"#error\n{SOURCE}", {})):
            parent = _parent("ea_version", self._parents.version(agent, source))
            step = self._step("compile", {"source_code": source}, **target, **parent)
            yield Chain(agent, [step])

    def _orders(self, agent: Agent) -> Iterator[Chain]:
        """Signals, one of them too large; and orders of the user's own that are closed again."""
        for volume, target in (
            (0.1, _to(agent)),
            (0.001, _account(agent)),
            (2 * LARGEST_VOLUME, _to(agent)),
        ):
            order = {"symbol": agent.symbols[1], "side": "sell", "volume": volume}
            signal_id = self._parents.signal(agent, order)
            told = {**order, "source": "tv_signal", "signal_id": str(signal_id)}
            yield Chain(
                agent, [self._step("trade", told, **target, **_parent("tv_signal", signal_id))]
            )
        for side in ("buy", "sell"):
            order = {"symbol": agent.symbols[0], "side": side, "volume": 0.2}
            steps = [
                self._step(job_type, dict(told), **_to(agent))
                for job_type, told in (("trade", order), ("close_position", {}))
            ]
            yield Chain(agent, steps)

    def _reads(self, agent: Agent) -> Iterator[Chain]:
        candles = {"symbol": "EURUSD", "timeframe": "M1", "count": 50}
        for target in (_to(agent), _account(agent), {}):
            for job_type in ("get_positions", "get_account", "get_candles"):
                asked = candles if job_type == "get_candles" else {}
                yield Chain(agent, [self._step(job_type, asked, **target)])

    def _step(self, job_type: str, input_data: Json, *, slow: bool = False, **body: Any) -> Step:
        work_ms = self._chance.randint(*WORK_MS)
        return Step(job_type, {"input_data": {"work_ms": work_ms, **input_data}, **body}, slow)


def _to(agent: Agent) -> Json:
    return {"agent_id": str(agent.agent_id)}


def _account(agent: Agent) -> Json:
    return {"broker_connection_id": str(agent.broker_connection_id)}


def _parent(parent_type: str, parent_id: UUID) -> Json:
    return {"parent_type": parent_type, "parent_id": str(parent_id)}
