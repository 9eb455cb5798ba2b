"""Jobs put in at a steady rate, with the time of the call and of the answer of each."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg

from benchmarks.database import JOB_TYPE, Database
from benchmarks.latencies import percentiles
from benchmarks.report import Sample
from jobengine import NO_TENANT, JobEngine

WARM_UP = 20
_ENDED_WITHIN = 60.0


@dataclass(slots=True)
class Probes:
    """When each was called for and answered (committed), on `time.monotonic`; how late calls were.

    A job is due at its place in the rate, however long the ones before it took.
    """

    called: dict[int, float] = field(default_factory=dict)
    answered: dict[int, float] = field(default_factory=dict)
    late: list[float] = field(default_factory=list)

    def latencies(self, began: Mapping[int, float]) -> Sample:
        """Return percentiles from the answer and from the call to the handler's beginning."""
        if missing := self.called.keys() - began.keys():
            raise AssertionError(f"{len(missing)} jobs never began")
        return {
            **percentiles([began[n] - at for n, at in self.answered.items()]),
            **percentiles([began[n] - at for n, at in self.called.items()], "call_"),
            **percentiles(self.late, "late_"),
            "probes": len(self.called),
        }


async def put_in(
    engine: JobEngine,
    rate: float,
    seconds: float,
    tenant_of: Callable[[int], UUID] = lambda _number: NO_TENANT,
) -> Probes:
    """Put jobs in at this rate a second, each when it is due, until the last is answered."""
    probes = Probes()

    async def put(number: int) -> None:
        probes.called[number] = time.monotonic()
        job: dict[str, Any] = {"probe": number}
        await engine.enqueue(JOB_TYPE, job, tenant_id=tenant_of(number))
        probes.answered[number] = time.monotonic()

    gc.freeze()  # else the collector walks all of it again and again: 57 ms late at p99, not 2
    async with asyncio.TaskGroup() as tasks:  # which keeps none that has ended
        began = time.monotonic()
        for number in range(max(1, round(rate * seconds))):
            due = began + number / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            probes.late.append(time.monotonic() - due)
            tasks.create_task(put(number))
    return probes


async def warm_up(engine: JobEngine, tenant_id: UUID = NO_TENANT) -> None:
    """Bring `WARM_UP` jobs through, one by one: somebody works, plans and connections are made."""
    for _ in range(WARM_UP):
        job = await engine.enqueue(JOB_TYPE, {}, tenant_id=tenant_id, wake=True)
        await engine.wait(job.id, timeout=_ENDED_WITHIN)


def until_ended(target: Database, least: UUID = NO_TENANT) -> None:
    """Return when no job of the tenants from this one on waits or is held any more."""
    deadline = time.monotonic() + _ENDED_WITHIN
    with psycopg.connect(target.admin_url, autocommit=True) as admin:
        while admin.execute(
            "select 1 where exists (select from jobengine.ready where tenant_id >= %(least)s)"
            " or exists (select from jobengine.lease where tenant_id >= %(least)s)",
            {"least": least},
        ).fetchone():
            if time.monotonic() > deadline:
                raise TimeoutError("jobs are left")
            time.sleep(0.01)
