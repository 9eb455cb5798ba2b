"""`work`, `sweep` and `prune`: what runs in the background."""

from __future__ import annotations

import asyncio
import gc
import importlib
import os
import sys
from typing import Any, NoReturn
from uuid import UUID

from jobengine._cancelling import cancelled
from jobengine._retrying import persistently
from jobengine.cli import codes, logs
from jobengine.cli.options import Options, UsageError, command, not_negative, whole
from jobengine.cli.show import note, say, say_json
from jobengine.engine import JobEngine
from jobengine.errors import EngineError
from jobengine.housekeeping import KEEP, Housekeeping
from jobengine.progress import Progress
from jobengine.records import Pruned, Swept
from jobengine.worker import STOP_SIGNALS, Worker

DAY = 86400.0
_WORK = """
Works until SIGTERM or Ctrl-C, then drains: what runs may end, what is held and unstarted goes back.
Both are a normal end (0). MODULE:FACTORY is a function that takes the JobEngine and returns a
Worker. Without it only housekeeping is done: run-out leases, expiry, settles, retention.

  jobengine work shop.jobs:make_worker --log-format json
  jobengine work --keep-days 90

contract: jobengine.Worker
"""
_SWEEP = """
Takes back leases that ran out, ends what has expired, and settles again what failed to settle.
Workers and `jobengine work` do it all the time; any process may at any time. It handles --limit
jobs of each kind, or goes on with --all until nothing is left.

  jobengine sweep --all

contract: sql/engine/functions/sweep.sql
"""
_PRUNE = """
Removes jobs that ended more than --keep-days ago, with their results. Unknown and unsettled jobs
stay, whatever their age. Each step of --limit jobs is a transaction of its own: what was removed
stays removed when this is stopped.

  jobengine prune --keep-days 90

contract: sql/engine/functions/prune.sql
"""


def add(commands: Any) -> None:
    """Add the commands."""
    work = command(
        commands, _work, "Work until SIGTERM or Ctrl-C.", _WORK, check=_check_work, json=False
    )
    work.add_argument("app", nargs="?", metavar="MODULE:FACTORY", help="makes the worker")
    work.add_argument(
        "--keep-days",
        type=not_negative,
        help="without MODULE:FACTORY: older ended jobs are removed (default: 30)",
    )
    work.add_argument("--log-format", choices=logs.FORMATS, default="text", help="(default: text)")
    work.add_argument(
        "--log-level", choices=logs.LEVELS, default="warning", help="(default: warning)"
    )
    sweep = command(commands, _sweep, "Take back run-out leases, expire, settle again.", _SWEEP)
    sweep.add_argument("--limit", type=whole(1), default=1000, help="of each kind (default: 1000)")
    sweep.add_argument("--all", action="store_true", help="until nothing is left")
    prune = command(commands, _prune, "Remove jobs that ended long ago.", _PRUNE)
    prune.add_argument("--keep-days", type=not_negative, required=True, metavar="N")
    prune.add_argument("--limit", type=whole(1), default=10_000, help="a step (default: 10000)")


def _check_work(options: Options) -> None:
    if options.app is not None and options.keep_days is not None:
        raise UsageError("--keep-days is for `work` alone: with a factory Worker(keep=…) says it")


async def _work(url: str, options: Options) -> int:
    async with JobEngine(url) as engine:
        if options.app is None:
            keep = KEEP if options.keep_days is None else options.keep_days * DAY
            await _keep_house(engine, keep)
        else:
            worker = _worker(options.app, engine)
            # What is there stays: from here on a full collection only looks at jobs. Worth 45,700
            # jobs/s for 40,300 where the handler does nothing (`bench -- drain`).
            gc.freeze()
            await worker.run(signals=STOP_SIGNALS)
            if worker.abandoned:
                _leave()
    return codes.DONE


def _leave() -> NoReturn:
    """End although a handler runs: Python itself would wait for it, perhaps for ever."""
    note("jobengine: a handler took no notice of its end; left without it")
    sys.stdout.flush()
    os._exit(codes.FAILED)


def _worker(app: str, engine: JobEngine) -> Worker:
    module, _, factory = app.partition(":")
    if not module:
        raise EngineError(f"{app} names no module")
    sys.path.insert(0, "")
    make = getattr(importlib.import_module(module), factory or "worker", None)
    if not callable(make):
        raise EngineError(f"{module} has no function {factory or 'worker'}")
    worker = make(engine)
    if not isinstance(worker, Worker):
        raise EngineError(f"{app} returned {worker!r}, not a Worker")
    return worker


async def _keep_house(engine: JobEngine, keep: float) -> None:
    """Sweep and prune until stopped, also through outages of the server."""
    stop = asyncio.Event()
    for number in STOP_SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    house = Housekeeping(engine, keep=keep)
    # The first round ends the command where the engine is missing, or may not be used.
    await persistently(house.sweep, "sweep", stop)
    await persistently(house.prune, "prune", stop)
    keeping = asyncio.create_task(house.run())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({keeping, stopping}, return_when=asyncio.FIRST_COMPLETED)
    await cancelled(keeping, stopping)
    if not keeping.cancelled():
        keeping.result()  # it ends by an error only


async def _sweep(url: str, options: Options) -> int:
    async with JobEngine(url) as engine:
        swept = await engine.sweep(limit=options.limit)
        if options.all and swept.more:
            swept = await _sweep_on(engine, swept, options.limit)
    if options.json:
        say_json(swept)
    else:
        more = "; there is more: --all" if swept.more else ""
        say(
            f"{swept.returned:,} returned to wait, {swept.ended:,} ended,"
            f" {swept.settled:,} settled{more}"
        )
    return codes.DONE


async def _sweep_on(engine: JobEngine, done: Swept, limit: int) -> Swept:
    """Sweep until no limit is met, and return the sums."""
    progress = Progress("swept", None)
    while done.more:
        swept = await engine.sweep(limit=limit)
        done = Swept(
            done.returned + swept.returned,
            done.ended + swept.ended,
            done.settled + swept.settled,
            swept.more,
        )
        progress.show(done.returned + done.ended + done.settled)
    progress.end()
    return done


async def _prune(url: str, options: Options) -> int:
    async with JobEngine(url) as engine:
        done = await _step(engine, options, None)
        progress = Progress("removed", None) if done.more else None
        while done.more:
            step = await _step(engine, options, done.last_job_id)
            done = Pruned(done.pruned + step.pruned, step.last_job_id, step.more)
            if progress:
                progress.show(done.pruned)
        if progress:
            progress.end()
    if options.json:
        say_json({"pruned": done.pruned})
    else:
        say(f"{done.pruned:,} jobs removed")
    return codes.DONE


async def _step(engine: JobEngine, options: Options, after: UUID | None) -> Pruned:
    return await engine.prune(keep=options.keep_days * DAY, after=after, limit=options.limit)
