"""`finish`, `cancel` and `retry`: what an operator decides about jobs."""

from __future__ import annotations

import itertools
import math
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Any, get_args
from uuid import UUID

from jobengine.cli import codes
from jobengine.cli.look import PAGE, add_filters, filters, pages
from jobengine.cli.options import (
    Options,
    UsageError,
    add_yes,
    command,
    confirm,
    json_value,
    moment,
    whole,
)
from jobengine.cli.show import say, say_json, say_lines, table, tally
from jobengine.engine import JobEngine
from jobengine.errors import EngineError
from jobengine.progress import Progress
from jobengine.records import NO_TENANT, Cancelled, Finished, Outcome, Report, Retried

_FINISH = """
Resolves a job whose outcome is `unknown`: somebody looked what became of it and says so. It ends
`completed` or `failed`, its parents follow in the same transaction, and it is never run again by
this. A job that is held is ended in its holder's place only where --lease-epoch names the lease
(`jobengine get` shows it); the holder's own report is then `stale`.

  jobengine finish 019a0000-0000-7000-8000-000000000000 --outcome completed --output '{"n": 4}'
  jobengine finish 019a0000-0000-7000-8000-000000000000 --outcome failed --error-message 'no trace'

contract: sql/engine/functions/finish.sql
"""
_CANCEL = """
Stops jobs, by id or by tenant and queue. What waits ends at once; who runs one is asked to stop,
and his report still counts. By queue at most --limit jobs are stopped, the oldest first, or with
--all every one. The number is shown first, and --yes or an answer is needed.

  jobengine cancel 019a0000-0000-7000-8000-000000000000 --reason 'wrong folder'
  jobengine cancel --queue images --type resize --all

contract: sql/engine/functions/cancel.sql
"""
_RETRY = """
Puts ended jobs back to wait with all their attempts: by id, or those that failed, were cancelled or
expired and match. Completed, unknown and unsettled jobs are refused (`conflict`). The number is
shown first, and --yes or an answer is needed.

  jobengine retry 019a0000-0000-7000-8000-000000000000
  jobengine retry --status failed --queue images --run-at 2030-01-31T02:00:00Z

contract: sql/engine/functions/retry.sql
"""
_COUNTED = 1_000_000  # nobody who cancels more needs the number
_CANCELLED_MAX = 10_000  # by one call
_FINE = {"ok", "retried", "duplicate"}
_FINISHED = {
    "ok": "recorded: {0.status}",
    "retried": "recorded: it waits for its next attempt",
    "duplicate": "recorded the same way before: {0.status}",
    "settle_failed": "recorded: {0.status}; its parents follow when its settle function works",
    "conflict": "not recorded: this lease ended another way, the job is {0.status}",
    "stale_lease": "not recorded: this is not the lease that counts, see jobengine get",
    "not_found": "not recorded: no such job",
    "busy": "not recorded: it is moving, try again",
}


def add(commands: Any) -> None:
    """Add the commands."""
    _add_finish(commands)
    cancel = command(commands, _cancel, "Stop jobs.", _CANCEL, check=_check_cancel)
    cancel.add_argument("job_ids", nargs="*", type=UUID, metavar="ID")
    add_filters(cancel)
    cancel.add_argument("--reason", help="kept with the jobs")
    cancel.add_argument("--limit", type=whole(1), default=1000, help="at a time (default: 1000)")
    cancel.add_argument("--all", action="store_true", help="until none is left")
    add_yes(cancel)
    retry = command(commands, _retry, "Put ended jobs back to wait.", _RETRY, check=_check_retry)
    retry.add_argument("job_ids", nargs="*", type=UUID, metavar="ID")
    add_filters(retry)
    retry.add_argument("--status", choices=("failed", "cancelled", "expired"))
    retry.add_argument("--limit", type=whole(1), help="only so many, the newest first")
    retry.add_argument("--run-at", type=moment, metavar="TIME", help="not before")
    retry.add_argument("--expires-at", type=moment, metavar="TIME", help="not begun later")
    add_yes(retry)


def _add_finish(commands: Any) -> None:
    finish = command(commands, _finish, "Say what became of a job.", _FINISH)
    finish.add_argument("job_id", type=UUID)
    finish.add_argument("--outcome", choices=get_args(Outcome), required=True)
    finish.add_argument("--output", metavar="JSON", help="JSON, - or @FILE")
    finish.add_argument("--error-code", metavar="CODE")
    finish.add_argument("--error-message", metavar="TEXT")
    finish.add_argument("--delay", type=float, metavar="SECONDS", help="before its next attempt")
    finish.add_argument("--lease-epoch", type=int, metavar="N", help="of a job that is held")


async def _finish(url: str, options: Options) -> int:
    async with JobEngine(url) as engine:
        epoch = options.lease_epoch
        if epoch is None:
            epoch = await _epoch(engine, options.job_id)
        report = Report(
            job_id=options.job_id,
            lease_epoch=epoch,
            outcome=options.outcome,
            output=None if options.output is None else json_value(options.output, "output"),
            error_code=options.error_code,
            error_message=options.error_message,
            delay=options.delay,
        )
        (answer,) = await engine.finish([report])
    return _say_finished(answer, json=options.json)


async def _epoch(engine: JobEngine, job_id: UUID) -> int:
    """Return the epoch of a job that nobody holds and that does not wait."""
    job = await engine.get(job_id)
    if job is None:
        raise EngineError(f"no job {job_id}")
    if job.status == "pending":
        raise EngineError("the job waits and nobody holds it: cancel is what ends it")
    if not job.ended:
        raise EngineError(
            f"the job is held by {job.agent_id}, who will report; to end it in his place, say"
            f" --lease-epoch {job.lease_epoch}"
        )
    return job.lease_epoch


def _say_finished(answer: Finished, *, json: bool) -> int:
    if json:
        say_json(answer)
    else:
        say(_FINISHED[answer.verdict].format(answer))
    return _code([answer.verdict if answer.verdict != "settle_failed" else "ok"])


def _code(verdicts: Iterable[str]) -> int:
    return codes.DONE if _FINE.issuperset(verdicts) else codes.FAILED


async def _cancel(url: str, options: Options) -> int:
    async with JobEngine(url) as engine:
        if options.job_ids:
            by_id = (
                await engine.cancel(ids, reason=options.reason) for ids in _batches(options.job_ids)
            )
            return await _do("cancelled", by_id, len(options.job_ids), json=options.json)
        if options.tenant_id is None:
            options.tenant_id = NO_TENANT
        total = await _live(engine, options)
        total = total if options.all else min(total, options.limit)
        confirm(f"cancel {total:,} jobs of queue {options.queue}", yes=options.yes)
        return await _do("cancelled", _cancel_rounds(engine, options), total, json=options.json)


def _check_cancel(options: Options) -> None:
    _check_means(options, "queue")


def _check_retry(options: Options) -> None:
    _check_means(options, "status")


def _check_means(options: Options, needed: str) -> None:
    """Ids or filters, and with filters the one that is needed."""
    names = ("tenant_id", "queue", "job_type", "status")
    narrowed = any(getattr(options, name, None) for name in names)
    if bool(options.job_ids) == narrowed:
        raise UsageError(f"ids or filters (--{needed} and others), one of the two")
    if narrowed and getattr(options, needed) is None:
        raise UsageError(f"--{needed} is needed with filters")


def _batches(job_ids: Sequence[UUID]) -> Iterator[list[UUID]]:
    remaining = iter(job_ids)
    while batch := list(itertools.islice(remaining, PAGE)):
        yield batch


async def _live(engine: JobEngine, options: Options) -> int:
    """Count what a cancel would stop."""
    wanted = filters(options)
    return sum(
        [
            await engine.count(**wanted, status=status, cap=_COUNTED)
            for status in ("pending", "claimed", "running")
        ]
    )


async def _cancel_rounds(engine: JobEngine, options: Options) -> AsyncIterator[Sequence[Cancelled]]:
    wanted = filters(options)
    left = math.inf if options.all else options.limit
    while left > 0:
        limit = int(min(left, options.limit, _CANCELLED_MAX))
        stopped = await engine.cancel(**wanted, reason=options.reason, limit=limit)
        yield stopped
        if len(stopped) < limit:
            return
        left -= limit


async def _retry(url: str, options: Options) -> int:
    async with JobEngine(url) as engine:
        if options.job_ids:
            total = len(options.job_ids)
        else:
            total = await engine.count(**filters(options), cap=options.limit or _COUNTED)
            confirm(f"retry {total:,} {options.status} jobs", yes=options.yes)
        return await _do("retried", _retries(engine, options), total, json=options.json)


async def _retries(engine: JobEngine, options: Options) -> AsyncIterator[Sequence[Retried]]:
    async for ids in _ids(engine, options):
        yield await engine.retry(ids, run_at=options.run_at, expires_at=options.expires_at)


async def _ids(engine: JobEngine, options: Options) -> AsyncIterator[list[UUID]]:
    """Yield the ids that are meant, a page at a time; what is retried leaves the later pages."""
    if options.job_ids:
        for batch in _batches(options.job_ids):
            yield batch
        return
    left = options.limit
    size = PAGE if left is None else min(PAGE, left)
    async for page in pages(engine, size=size, **filters(options)):
        ids = [job.job_id for job in page][:left]
        yield ids
        if left is not None and (left := left - len(ids)) <= 0:
            return


async def _do(
    what: str, rounds: AsyncIterator[Sequence[Cancelled | Retried]], total: int, *, json: bool
) -> int:
    """Go through the rounds, show how far they are, and say what became of each job."""
    answers: list[Cancelled | Retried] = []
    progress = Progress(what, total) if total > PAGE else None
    async for found in rounds:
        answers += found
        if progress:
            progress.show(len(answers))
    if progress:
        progress.end()
    _say_answers(answers, what, json=json)
    return _code(answer.verdict for answer in answers)


def _say_answers(answers: Sequence[Cancelled | Retried], what: str, *, json: bool) -> None:
    """Say it job by job where it fits a screen, else in numbers."""
    if json:
        say_lines(answers)
    elif len(answers) <= 20:  # noqa: PLR2004 - a screen
        rows = [(a.job_id, a.verdict, a.status) for a in answers]
        say(table(("JOB", "VERDICT", "STATUS"), rows) if rows else f"none {what}")
    else:
        say(f"{what}: {tally(answer.verdict for answer in answers)}")
