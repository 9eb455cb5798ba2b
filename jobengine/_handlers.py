"""Runs a handler and says in a report what came of it."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import threading
import traceback
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias, TypeVar

from jobengine._rows import maker
from jobengine.records import Cancel, Job, Outcome, Reject, Report, Snooze

Handler: TypeAlias = Callable[[Job], Any]
BatchHandler: TypeAlias = Callable[[list[Job]], Any]
AsyncHandler: TypeAlias = Callable[[Job], Awaitable[Any]]
AsyncBatchHandler: TypeAlias = Callable[[list[Job]], Awaitable[Any]]
W = TypeVar("W")

_made: Callable[..., Report] = maker(Report)  # one per job
_MESSAGE_MAX = 10000
_CODE_MAX = 200
# Values that are no output.
_SPECIAL = (Reject, Snooze, Cancel, BaseException)


class InvalidAnswer(Exception):
    """The answer for a batch does not fit its jobs; its name is the `error_code` of each."""


class Threads:
    """Threads for the handlers that are not async."""

    def __init__(self, size: int) -> None:
        """Nothing is started before the first job."""
        self._executor = ThreadPoolExecutor(size, thread_name_prefix="jobengine-handler")
        self._lock = threading.Lock()
        self._busy = 0

    @property
    def busy(self) -> int:
        """How many handlers run: nothing can stop one from outside."""
        return self._busy

    async def run(self, handler: Callable[[W], Any], work: W) -> Any:
        """Run the handler with the context of the caller."""
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(
            self._executor, self._run, context, handler, work
        )

    def close(self) -> None:
        """Start nothing more; who runs, runs on."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _run(self, context: contextvars.Context, handler: Callable[[W], Any], work: W) -> Any:
        self._count(1)
        try:
            return context.run(handler, work)
        except StopIteration as error:  # no future takes it: its waiter would wait for ever
            raise RuntimeError("the handler raised StopIteration") from error
        finally:
            self._count(-1)

    def _count(self, step: int) -> None:
        with self._lock:
            self._busy += step


def as_async(handler: Callable[[W], Any], threads: Threads) -> Callable[[W], Awaitable[Any]]:
    """Return the handler itself if it is async, else one that runs it in one of the threads."""
    if inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
        getattr(handler, "__call__", None)  # noqa: B004 - an object with an async __call__
    ):
        return handler
    return functools.partial(threads.run, handler)


async def run_handler(handler: AsyncHandler | None, job: Job) -> Report:
    """Run the handler; only what has to end its runner comes out as an exception."""
    if handler is None:
        return _report(job, "failed", code="no_handler", message=f"no handler for {job.job_type}")
    try:
        return _of_value(job, await handler(job))
    except BaseException as error:
        if _ends_the_runner(error):
            raise
        return _of_error(job, error)


async def run_batch_handler(handler: AsyncBatchHandler, jobs: list[Job]) -> list[Report]:
    """Run the handler for all the jobs; one report each, in their order."""

    async def call() -> Sequence[Any]:
        return answered(await handler(list(jobs)), len(jobs))

    values = await values_of(call, len(jobs))
    return [_of_item(job, value) for job, value in zip(jobs, values, strict=True)]


async def values_of(call: Callable[[], Awaitable[Sequence[Any]]], count: int) -> Sequence[Any]:
    """Return the call's value per job; what it raises instead is the value for each job."""
    try:
        return _fitting(await call(), count)
    except BaseException as error:
        if _ends_the_runner(error):
            raise
        return [error] * count


def answered(answer: Any, count: int) -> Sequence[Any]:
    """Return a batch handler's answer as one value per job; None is None for each."""
    return [None] * count if answer is None else _fitting(answer, count)


def _fitting(answer: Any, count: int) -> Sequence[Any]:
    if not isinstance(answer, list | tuple):
        raise InvalidAnswer(f"a list of {count} items is due, one per job, not {type(answer)}")
    if len(answer) != count:
        raise InvalidAnswer(f"a list of {count} items is due, one per job, not {len(answer)}")
    return answer


def _ends_the_runner(error: BaseException) -> bool:
    """Tell a cancellation of the runner from one that the handler met in a task of its own."""
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0
    return isinstance(error, KeyboardInterrupt | GeneratorExit)


def _of_item(job: Job, value: Any) -> Report:
    """Report one item of a batch; one that makes no sense (`Reject(7)`) harms no other."""
    try:
        return _of_value(job, value)
    except Exception as error:  # noqa: BLE001 - whatever a handler put there
        return _of_error(job, error)


def _of_value(job: Job, value: Any) -> Report:
    if not isinstance(value, _SPECIAL):
        return _report(job, "completed", output=value)
    match value:
        case Reject(message=message, code=code):
            return _report(job, "rejected", code=code[:_CODE_MAX], message=_sendable(message))
        case Snooze(seconds=seconds):
            return _report(job, "snooze", delay=seconds)
        case Cancel(reason=reason):
            return _report(job, "cancelled", message=_sendable(reason))
        case error:
            return _of_error(job, error)


def _of_error(job: Job, error: BaseException) -> Report:
    return _report(
        job,
        "failed",
        code=type(error).__name__[:_CODE_MAX],
        message=_sendable("".join(traceback.format_exception(error))),
    )


def _report(
    job: Job,
    outcome: Outcome,
    *,
    output: Any = None,
    code: str | None = None,
    message: str | None = None,
    delay: float | None = None,
) -> Report:
    return _made(job.job_id, job.lease_epoch, outcome, output, code, message, delay)


def _sendable(text: str) -> str:
    """Return the text as PostgreSQL can store it; the end of a traceback says most."""
    return text.replace("\x00", "\\0").encode(errors="replace").decode()[-_MESSAGE_MAX:]
