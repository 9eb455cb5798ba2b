"""Housekeeping: what somebody has to do from time to time, whoever it is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from jobengine import _values, logs
from jobengine._retrying import jittered, note_retry
from jobengine.engine import JobEngine
from jobengine.errors import EngineError, InvalidArgument

log = logging.getLogger("jobengine.housekeeping")

KEEP = 30 * 86400.0
_LONGEST = 315_360_000  # ten years: the most that prune takes
# Jobs that one call removes: a transaction of some ten milliseconds.
_BATCH = 1000


class Housekeeping:
    """Sweeps and prunes an engine until it is cancelled. Every `Worker` has one of its own.

    Any number may run beside each other, also in several processes: they share the work.
    """

    def __init__(
        self,
        engine: JobEngine,
        *,
        sweep_every: float = 1.0,
        keep: float | None = KEEP,
        prune_every: float = 60.0,
    ) -> None:
        """All in seconds; `keep` is how long ended jobs stay, None: for ever."""
        self._engine = engine
        self._sweep_every = _values.span(sweep_every, "sweep_every")
        self._keep = None if keep is None else _values.seconds(keep, "keep")
        if self._keep is not None and not 0 <= self._keep <= _LONGEST:
            raise InvalidArgument("keep", f"None, or from 0 to {_LONGEST}")
        self._prune_every = _values.span(prune_every, "prune_every")

    async def run(self) -> None:
        """Do all of it, each at its pace with jitter, until cancelled.

        Whatever `EngineError` a round raises is logged, and the next round tries again; a program
        that wants to fail where the engine is not installed calls `JobEngine.sweep` itself first.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._every(self._sweep_every, "sweep", self.sweep))
            if self._keep is not None:
                tasks.create_task(self._every(self._prune_every, "prune", self.prune))

    async def sweep(self) -> None:
        """Take back run-out leases, end what expired and settle again, until nothing is left."""
        more = True
        while more:
            swept = await self._engine.sweep()
            more = swept.more
            counts = {"returned": swept.returned, "ended": swept.ended, "settled": swept.settled}
            if any(counts.values()):
                logs.emit(log, logs.SWEPT, **counts)

    async def prune(self) -> None:
        """Remove, in small transactions, all jobs that ended longer ago than is kept."""
        if self._keep is None:
            return
        after, total, more = None, 0, True
        while more:
            pruned = await self._engine.prune(keep=self._keep, after=after, limit=_BATCH)
            after, more = pruned.last_job_id, pruned.more
            total += pruned.pruned
        if total:
            logs.emit(log, logs.PRUNED, pruned=total)

    async def _every(self, seconds: float, what: str, work: Callable[[], Awaitable[None]]) -> None:
        pause = jittered(seconds)
        while True:
            await asyncio.sleep(pause)
            pause = jittered(seconds)
            try:
                await work()
            except EngineError as error:
                note_retry(what, error, pause, self._engine.meter)
