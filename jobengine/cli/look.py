"""`get`, `list` and `stats`: what there is."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, get_args
from uuid import UUID

import orjson

from jobengine.cli import codes
from jobengine.cli.options import Options, UsageError, add_tenant, command, positive, whole
from jobengine.cli.show import details, duration, relative, say, say_json, say_lines, table
from jobengine.engine import JobEngine
from jobengine.errors import EngineError
from jobengine.records import NO_TENANT, JobInfo, QueueStats, Status

PAGE = 1000
_GET = """
Shows one job: its status at this moment, input, output, error, times, and who holds it.

  jobengine get 019a0000-0000-7000-8000-000000000000

contract: sql/engine/functions/get.sql
"""
_LIST = """
Shows the jobs that match every filter, newest first: a page of --limit, or all with --all. The
next page is --before the last id. With --json a page is an array; with --all it is a job a line.
--count gives their number instead, up to 10,000 unless it must be --exact.

  jobengine list --status failed --queue images
  jobengine list --unsettled --all --json | jq -r .settle_error
  jobengine list --status unknown --count

contract: sql/engine/functions/list.sql and count.sql
"""
_STATS = """
Shows, per tenant and queue, what is due, scheduled, claimed and running, and what needs an
operator: unknown and unsettled jobs. --watch looks again; away from a terminal it writes a line for
every queue that changed. It reads all waiting and held jobs: for people, not for loops.

  jobengine stats
  jobengine stats --watch 2

contract: sql/engine/functions/stats.sql
"""
_LIST_TITLES = ("JOB", "TYPE", "QUEUE", "STATUS", "TRY", "CREATED")
_STATS_FIELDS = ("due", "scheduled", "claimed", "running", "unknown", "unsettled")


def add(commands: Any) -> None:
    """Add the commands."""
    get = command(commands, _get, "Show a job.", _GET)
    get.add_argument("job_id", type=UUID)
    _add_list(commands)
    stats = command(commands, _stats, "Show what waits and what is held, per queue.", _STATS)
    add_tenant(stats, "only this tenant's")
    stats.add_argument("--watch", type=positive, metavar="SECONDS", help="look again and again")


def _add_list(commands: Any) -> None:
    parser = command(commands, _list, "Show jobs, newest first.", _LIST, check=_check_list)
    add_filters(parser)
    parser.add_argument(
        "--status", choices=get_args(Status), metavar="STATUS", help=", ".join(get_args(Status))
    )
    parser.add_argument("--unsettled", action="store_true", help="whose settle failed")
    parser.add_argument("--before", type=UUID, metavar="ID", help="only older ones than this")
    parser.add_argument("--limit", type=whole(1), default=50, help="of a page (default: 50)")
    parser.add_argument("--all", action="store_true", help="every page")
    parser.add_argument("--count", action="store_true", help="only how many")
    parser.add_argument("--exact", action="store_true", help="count beyond 10,000")


def add_filters(parser: Any) -> None:
    """Add `--tenant`, `--queue` and `--type`."""
    add_tenant(parser, "only this tenant's")
    parser.add_argument("--queue", help="only of this queue")
    parser.add_argument("--type", dest="job_type", help="only of this job type")


def filters(options: Options) -> dict[str, Any]:
    """Return what `list` and `count` take."""
    names = ("tenant_id", "queue", "job_type", "status", "unsettled")
    return {name: getattr(options, name) for name in names if hasattr(options, name)}


async def pages(
    engine: JobEngine, *, size: int = PAGE, before: UUID | None = None, **wanted: Any
) -> AsyncIterator[Sequence[JobInfo]]:
    """Yield every page of jobs, newest first."""
    while page := await engine.list(**wanted, before=before, limit=size):
        yield page
        before = page[-1].job_id


async def _get(url: str, options: Options) -> int:
    async with JobEngine(url) as engine:
        job = await engine.get(options.job_id)
    if job is None:
        raise EngineError(f"no job {options.job_id}")
    if options.json:
        say_json(job)
    else:
        say(details(job))
    return codes.DONE


def _check_list(options: Options) -> None:
    if options.exact and not options.count:
        raise UsageError("--exact goes with --count")


async def _list(url: str, options: Options) -> int:
    async with JobEngine(url) as engine:
        if options.count:
            await _say_count(engine, options)
        elif options.all:
            await _say_all(engine, options)
        else:
            wanted = filters(options)
            jobs = await engine.list(**wanted, before=options.before, limit=options.limit)
            _say_page(jobs, json=options.json)
    return codes.DONE


async def _say_count(engine: JobEngine, options: Options) -> None:
    cap = None if options.exact else 10_000
    count = await engine.count(**filters(options), cap=cap)
    if options.json:
        say_json({"count": count, "exact": count != cap})
    else:
        say(f"{count:,}" + (" or more" if count == cap else ""))


async def _say_all(engine: JobEngine, options: Options) -> None:
    async for page in pages(engine, before=options.before, **filters(options)):
        if options.json:
            say_lines(page)
        else:
            say(_jobs(page))
        sys.stdout.flush()  # a reader that is gone ends this before the next page is fetched


def _say_page(jobs: Sequence[JobInfo], *, json: bool) -> None:
    if json:
        say_json(jobs)
    else:
        say(_jobs(jobs) if jobs else "no jobs")


def _jobs(jobs: Iterable[JobInfo]) -> str:
    now = datetime.now(UTC)
    rows = [
        (
            job.job_id,
            job.job_type,
            job.queue,
            job.status,
            f"{job.attempt}/{job.max_attempts}",
            relative(job.created_at, now),
        )
        for job in jobs
    ]
    return table(_LIST_TITLES, rows, shorten=(1, 2, 5))


async def _stats(url: str, options: Options) -> int:
    async with JobEngine(url) as engine:
        shown: dict[Any, QueueStats] = {}
        while True:
            found = await engine.stats(tenant_id=options.tenant_id)
            if options.watch is None:
                say_json(found) if options.json else say(_queues(found))
                return codes.DONE
            shown = _show_changes(found, shown, json=options.json)
            sys.stdout.flush()
            await asyncio.sleep(options.watch)


def _show_changes(
    found: Sequence[QueueStats], shown: dict[Any, QueueStats], *, json: bool
) -> dict[Any, QueueStats]:
    """Draw the table anew on a terminal, elsewhere write the queues whose numbers changed."""
    now = {(row.tenant_id, row.queue): row for row in found}
    if sys.stdout.isatty() and not json:
        say(f"\x1b[H\x1b[2J{datetime.now(UTC):%H:%M:%S} UTC\n{_queues(found)}")
        return now
    gone = [_empty(row) for key, row in shown.items() if key not in now]
    changed = [r for key, r in now.items() if key not in shown or _line(shown[key]) != _line(r)]
    for row in [*changed, *gone]:
        say(orjson.dumps(row).decode() if json else _line(row))
    return now


def _empty(row: QueueStats) -> QueueStats:
    """Return the row of a queue that has nothing any more: stats leaves it out."""
    return QueueStats(row.tenant_id, row.queue, 0, 0, 0, 0, 0, 0, None)


def _line(row: QueueStats) -> str:
    tenant = "" if row.tenant_id == NO_TENANT else f" tenant={row.tenant_id}"
    numbers = " ".join(f"{name}={getattr(row, name)}" for name in _STATS_FIELDS)
    return f"{row.queue}{tenant} {numbers}"


def _queues(found: Sequence[QueueStats]) -> str:
    if not found:
        return "no jobs wait, none are held"
    tenants = any(row.tenant_id != NO_TENANT for row in found)
    titles = ["QUEUE", *(["TENANT"] if tenants else []), *map(str.upper, _STATS_FIELDS), "OLDEST"]
    rows = [
        [
            row.queue,
            *([row.tenant_id] if tenants else []),
            *(f"{getattr(row, name):,}" for name in _STATS_FIELDS),
            None if row.oldest_due_seconds is None else duration(row.oldest_due_seconds),
        ]
        for row in found
    ]
    return table(titles, rows, shorten=(0, 1) if tenants else (0,))
