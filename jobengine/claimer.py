"""A claimer's memory: which tenants have jobs, and how far into each queue it has come.

A claim walks the index from its start, over the dead entries of jobs that were claimed before.
Where an old snapshot keeps those entries alive the walk grows with every job, until the queue
stands still (measured: a quarter of the rate after a minute, and falling). So a claimer passes the
last key that it took per tenant, queue and priority as a lower bound, a *mark*. What becomes
claimable behind a mark (a retry, a late commit) is found by a *look*, a claim without marks. Looks
take a tenth of the time at most: the next is due ten times the last one's duration later, one
second at most.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

import orjson

from jobengine import _db, calls
from jobengine._db import Connection
from jobengine._meter import Meter
from jobengine.records import Job, TwoPhase

Connect: TypeAlias = Callable[[], AbstractAsyncContextManager[Connection]]

_Place: TypeAlias = tuple[UUID, str, int]

LOOK_SHARE = 10
LOOK_PAUSE_MAX = 1.0
# A look reads so many tenants, the next one goes on after them: it must not grow with their number.
TENANT_PAGE = 1000


class Claimer:
    """Claims for one holder; not to be used by two tasks at once."""

    def __init__(
        self,
        connect: Connect,
        *,
        queues: Sequence[str],
        agent_id: str,
        tenant_id: UUID | None = None,
        two_phase: TwoPhase = "never",
        meter: Meter | None = None,
    ) -> None:
        """Without a tenant it serves all, in turn."""
        self._connect = connect
        self._queues = list(queues)
        self._agent_id = agent_id
        self._tenant_id = tenant_id
        self._two_phase = two_phase
        self._meter = meter
        self._tenants: list[UUID] = [] if tenant_id is None else [tenant_id]
        self._marks: dict[_Place, tuple[datetime | None, UUID]] = {}
        self._look_due = 0.0
        self._page_end: UUID | None = None
        self._notified = False

    async def claim(self, limit: int) -> list[Job]:
        """Take up to `limit` due jobs, in the order to work them."""
        if self._notified:  # of a tenant that is known: it need not be looked for
            self._notified = False
            if jobs := await self._take(limit):
                return jobs
        if self._marks and time.monotonic() < self._look_due:
            jobs = await self._take(limit)
            if len(jobs) == limit or time.monotonic() < self._look_due:
                return jobs
            return jobs + await self._look(limit - len(jobs))
        return await self._look(limit)

    def _remember(self, tenant_id: UUID) -> None:
        if self._tenant_id is None and tenant_id not in self._tenants:
            self._tenants.append(tenant_id)

    def wants(self, tenant_id: UUID, queue: str | None) -> bool:
        """Tell whether a notified job is this claimer's, and remember its tenant."""
        if queue not in self._queues or self._tenant_id not in {None, tenant_id}:
            return False
        self._remember(tenant_id)
        self._notified = True
        return True

    async def seconds_to_sleep(self, longest: float) -> float:
        """Tell when an empty claim is worth repeating: a job is due, or it is time to look."""
        async with self._connect() as conn:
            tenants = [self._tenant_id] if self._tenant_id else await calls._tenants(conn)
            due = await calls._next_due(
                conn, tenant_ids=_db.array(tenants), queues=_db.array(self._queues)
            )
        look = self._look_due - time.monotonic() if self._marks or self._page_end else None
        return max(0.0, min([longest, *(s for s in (due, look) if s is not None)]))

    async def doze(self, listener_id: UUID, seconds: float) -> None:
        """Ask to be notified of jobs for so many seconds."""
        tenants = None if self._tenant_id is None else [self._tenant_id]
        async with self._connect() as conn:
            await calls._doze(
                conn,
                listener_id=listener_id,
                tenant_ids=_db.array(tenants),
                queues=_db.array(self._queues),
                seconds=seconds,
            )

    async def rouse(self, listener_id: UUID) -> None:
        """Take the request to be notified back."""
        async with self._connect() as conn:
            await calls._rouse(conn, listener_id=listener_id)

    async def _look(self, limit: int) -> list[Job]:
        """Claim without marks, from all tenants that there are."""
        began = time.monotonic()
        self._marks.clear()
        if self._tenant_id is None:
            async with self._connect() as conn:
                page = await calls._tenants(conn, after=self._page_end, limit=TENANT_PAGE)
            for tenant_id in page:
                self._remember(tenant_id)
            self._page_end = page[-1] if len(page) == TENANT_PAGE else None
        jobs = await self._take(limit)
        pause = LOOK_SHARE * (time.monotonic() - began)
        self._look_due = time.monotonic() + min(LOOK_PAUSE_MAX, pause)
        return jobs

    async def _take(self, limit: int) -> list[Job]:
        if not self._tenants:
            return []
        async with self._connect() as conn:
            asked = len(self._tenants)  # `wants` may add some while the claim is under way
            jobs = await calls.claim(conn, requests=self._request(limit))
        if self._meter is not None:
            self._meter.claimed(jobs)
        # The last of each place; by `int`, as a UUID's own hash is a call of Python.
        last = {(job.tenant_id.int, job.queue, job.priority): job for job in jobs}.values()
        for job in last:
            self._marks[job.tenant_id, job.queue, job.priority] = (job.run_at, job.job_id)
        if self._tenant_id is None:
            self._turn({job.tenant_id for job in last}, asked, full=len(jobs) == limit)
        self._queues.append(self._queues.pop(0))
        return jobs

    def _request(self, limit: int) -> str:
        request: dict[str, Any] = {
            "queues": self._queues,
            "agent_id": self._agent_id,
            "limit": limit,
            "two_phase": self._two_phase,
            "tenant_id": self._tenant_id,
            "tenants": self._tenants,
            "marks": [_mark(place, *key) for place, key in self._marks.items()],
        }
        return orjson.dumps([request]).decode()

    def _turn(self, served: set[UUID], asked: int, *, full: bool) -> None:
        """Put the tenants that were served last, and forget those that had nothing."""
        tried = asked
        if full:
            tried = 1 + max(i for i, tenant in enumerate(self._tenants) if tenant in served)
        for tenant in self._tenants[:tried]:
            if tenant not in served:
                self._marks = {p: key for p, key in self._marks.items() if p[0] != tenant}
        kept = [tenant for tenant in self._tenants[:tried] if tenant in served]
        self._tenants = self._tenants[tried:] + kept


def _mark(place: _Place, run_at: datetime | None, job_id: UUID) -> dict[str, Any]:
    tenant_id, queue, priority = place
    return {
        "tenant_id": tenant_id,
        "queue": queue,
        "priority": priority,
        "run_at": run_at,
        "job_id": job_id,
    }
