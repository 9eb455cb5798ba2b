"""Runs a handler and says in a report what came of it."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import traceback
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from typing import Any, TypeAlias

from jobengine.records import Cancel, Job, Outcome, Reject, Report, Snooze

Handler: TypeAlias = Callable[[Job], Any]
AsyncHandler: TypeAlias = Callable[[Job], Awaitable[Any]]

_MESSAGE_MAX = 10000
_CODE_MAX = 200


def as_async(handler: Handler, threads: Executor) -> AsyncHandler:
    """Return the handler itself if it is async, else one that runs it in one of the threads."""
    if inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
        getattr(handler, "__call__", None)  # noqa: B004 - an object with an async __call__
    ):
        return handler

    async def in_thread(job: Job) -> Any:
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(threads, context.run, handler, job)

    return in_thread


async def run_handler(handler: AsyncHandler | None, job: Job) -> Report:
    """Run the handler; only cancellation comes out as an exception."""
    if handler is None:
        return _report(job, "failed", code="no_handler", message=f"no handler for {job.job_type}")
    try:
        return _of_result(job, await handler(job))
    except Exception as error:  # noqa: BLE001 - whatever a handler raises is the job's failure
        return _report(
            job,
            "failed",
            code=type(error).__name__[:_CODE_MAX],
            message=_sendable("".join(traceback.format_exception(error))),
        )


def _of_result(job: Job, result: Any) -> Report:
    match result:
        case Reject(message=message, code=code):
            return _report(job, "rejected", code=code[:_CODE_MAX], message=_sendable(message))
        case Snooze(seconds=seconds):
            return _report(job, "snooze", delay=seconds)
        case Cancel(reason=reason):
            return _report(job, "cancelled", message=_sendable(reason))
        case output:
            return _report(job, "completed", output=output)


def _report(
    job: Job,
    outcome: Outcome,
    *,
    output: Any = None,
    code: str | None = None,
    message: str | None = None,
    delay: float | None = None,
) -> Report:
    return Report(
        job_id=job.job_id,
        lease_epoch=job.lease_epoch,
        outcome=outcome,
        output=output,
        error_code=code,
        error_message=message,
        delay=delay,
    )


def _sendable(text: str) -> str:
    """Return the text as PostgreSQL can store it; the end of a traceback says most."""
    return text.replace("\x00", "\\0").encode(errors="replace").decode()[-_MESSAGE_MAX:]
