"""Middleware: code around every call of a handler, for logging, tracing and the like.

    async def traced(jobs: Sequence[Job], call: CallNext) -> Sequence[Any]:
        with tracer.span(jobs[0].job_type):
            return await call()

    Worker(engine, middleware=[traced])

One protocol for all handlers, async or in threads; one that takes a single job is a batch of one.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeAlias

from jobengine._handlers import AsyncBatchHandler, AsyncHandler, answered, values_of
from jobengine.records import Job

CallNext: TypeAlias = Callable[[], Awaitable[Sequence[Any]]]


class Middleware(Protocol):
    """What `Worker(middleware=[…])` takes: an async callable of the jobs and what comes next.

    `await call()` gives one value per job, in their order: what the handler returned for it, or the
    exception that it raised. The middleware returns such a list, this one or another. What it
    raises fails the attempts of all its jobs. The cancellation of a handler passes through it and
    is to be let pass.

    Context variables that it sets are seen by the handler, also in a thread. Set them back at the
    end: the next job may run in the same context.
    """

    async def __call__(self, jobs: Sequence[Job], call: CallNext, /) -> Sequence[Any]:
        """Call `call` once, usually."""
        ...


def around(middleware: Sequence[Middleware], handler: AsyncHandler) -> AsyncHandler:
    """Return a handler of one job with the middleware around it, the first outermost."""

    async def run(job: Job) -> Any:
        async def innermost() -> Sequence[Any]:
            return [await handler(job)]

        (value,) = await _through(middleware, [job], innermost)
        return value

    return run


def around_batch(middleware: Sequence[Middleware], handler: AsyncBatchHandler) -> AsyncBatchHandler:
    """Return a batch handler with the middleware around it, the first outermost."""

    async def run(jobs: list[Job]) -> Sequence[Any]:
        async def innermost() -> Sequence[Any]:
            return answered(await handler(list(jobs)), len(jobs))

        return await _through(middleware, jobs, innermost)

    return run


async def _through(
    middleware: Sequence[Middleware], jobs: Sequence[Job], innermost: CallNext
) -> Sequence[Any]:
    call = functools.partial(values_of, innermost, len(jobs))
    for layer in reversed(middleware):
        call = functools.partial(values_of, functools.partial(layer, jobs, call), len(jobs))
    return await call()
