"""Which agent was given which lease by this process: what it says of it needs no look first."""

from __future__ import annotations

from collections import OrderedDict
from uuid import UUID

from jobengine import Lease
from jobengine.records import Held

KEPT = 10_000  # leases; one that is forgotten, or of another process, costs a look


class Handed:
    """An epoch belongs to one holder for ever: what is known here does not grow old.

    Whether the lease still holds is for the engine to say, in the call that uses it.
    """

    def __init__(self) -> None:
        """Nothing was given yet."""
        self._agents: OrderedDict[tuple[UUID, int], UUID] = OrderedDict()

    def note(self, lease: Held, agent_id: UUID) -> None:
        """Remember to whom the lease was given."""
        self._agents[lease.job_id, lease.lease_epoch] = agent_id
        while len(self._agents) > KEPT:
            self._agents.popitem(last=False)

    def lease(self, job_id: UUID, epoch: int | None, agent_id: UUID) -> Lease | None:
        """Return the lease, if it is known that this agent was given it."""
        if epoch is None or self._agents.get((job_id, epoch)) != agent_id:
            return None
        return Lease(job_id, epoch)
