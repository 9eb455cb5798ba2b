"""Enqueues any number of jobs, all or none, in calls of the size that is fastest."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import TypeAlias

import psycopg

from jobengine import _db, calls
from jobengine._arguments import enqueue_arguments, enqueue_batches
from jobengine._cancelling import cancelled
from jobengine._db import AnyConnection, Connection, Lined
from jobengine._rows import maker
from jobengine.errors import InvalidArgument
from jobengine.records import Enqueued, NewJob

_Batch: TypeAlias = tuple[int, Sequence[NewJob]]
_made: Callable[..., Enqueued] = maker(Enqueued)


async def enqueue_all(conn: AnyConnection, jobs: Iterable[NewJob]) -> Sequence[Enqueued]:
    """Put the jobs in and answer in their order, numbered from 1.

    The jobs of a batch are taken from `jobs` when those before it are on their way.
    """
    batches = enqueue_batches(jobs)
    first, second = next(batches, None), next(batches, None)
    if first is None:
        return []
    if second is None:
        return await _enqueue(conn, *first)
    batches = itertools.chain([first, second], batches)
    async with _db.transaction(conn):
        if isinstance(conn, psycopg.Connection):
            return [answer for batch in batches for answer in await _enqueue(conn, *batch)]
        return await _overlapped(conn, batches)


async def _overlapped(conn: Connection, batches: Iterable[_Batch]) -> Sequence[Enqueued]:
    """Make a batch, and read the answers of another, while the server works on one."""
    answers: list[Enqueued] = []
    sent: deque[asyncio.Task[Sequence[Enqueued]]] = deque()
    try:
        for before, jobs in batches:
            try:
                arguments = enqueue_arguments(jobs, before)
            except InvalidArgument:
                await asyncio.gather(*sent)  # an item before it is named first
                raise
            sent.append(asyncio.create_task(_sent(Lined(conn), before, arguments)))
            await asyncio.sleep(0)  # off it goes, or into the line
            if len(sent) > 1:
                answers.extend(await _answered(sent))
        answers.extend(await _answered(sent))
    except asyncio.CancelledError:
        await cancelled(*reversed(sent))  # the last first: nothing of the line is to be sent
        raise
    finally:
        await asyncio.gather(*sent, return_exceptions=True)
    return answers


async def _answered(sent: deque[asyncio.Task[Sequence[Enqueued]]]) -> Sequence[Enqueued]:
    """Take out the first, once it is answered."""
    answers = await asyncio.shield(sent[0])  # a cancellation is to reach the whole line
    sent.popleft()
    return answers


async def _enqueue(
    conn: AnyConnection | Lined, before: int, jobs: Sequence[NewJob]
) -> Sequence[Enqueued]:
    return await _sent(conn, before, enqueue_arguments(jobs, before))


async def _sent(
    conn: AnyConnection | Lined, before: int, arguments: dict[str, str | None]
) -> Sequence[Enqueued]:
    try:
        answers = await calls.enqueue(conn, **arguments)
    except InvalidArgument as error:  # of the SQL function, which counts from 1
        item = None if error.item is None else before + error.item
        raise InvalidArgument(error.field, error.rule, item) from error
    answers.sort(key=attrgetter("item"))
    if not before:
        return answers
    return [_made(before + a.item, a.job_id, a.verdict) for a in answers]
