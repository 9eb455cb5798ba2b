"""Begins jobs of agents: starts of all agents that come at the same time share a statement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias
from uuid import UUID

from api import calls
from jobengine import JobEngine
from jobengine._coalescing import Coalescer
from jobengine._sharing import blame
from jobengine.records import Held, Started

_Start: TypeAlias = tuple[UUID, Held]


class Starts:
    """One per process. A start gets its own verdict, whatever becomes of those beside it.

    A shared statement waits for no lock for long: then each start goes alone.
    """

    def __init__(self, engine: JobEngine) -> None:
        """Begin by the engine's connections, and count by its meter."""
        self._engine = engine
        self._together = Coalescer(self._send, blame=blame)

    async def begin(self, agent_id: UUID, lease: Held) -> Started:
        """Begin the agent's job, and note of an order that it is on its way to the terminal.

        Contract: sql/platform/functions/agent_start.sql.
        """
        (started,) = await self._together([(agent_id, lease)])
        return started

    async def _send(self, starts: Sequence[_Start], *, shared: bool) -> Sequence[Started]:
        async with self._engine.connection() as conn:
            answers = await calls.agent_start(
                conn,
                agent_ids=[agent_id for agent_id, _ in starts],
                leases=[lease for _, lease in starts],
                brief=shared,
            )
        if self._engine.meter is not None:
            self._engine.meter.leases(answers)
        return answers
