"""Enqueues any number of jobs, all or none, in calls of the size that is fastest."""

from __future__ import annotations

from collections.abc import Sequence

from jobengine import _db, calls
from jobengine._arguments import enqueue_arguments, enqueue_batches
from jobengine._db import AnyConnection
from jobengine.errors import InvalidArgument
from jobengine.records import Enqueued, NewJob


async def enqueue_all(conn: AnyConnection, jobs: Sequence[NewJob]) -> Sequence[Enqueued]:
    """Put the jobs in and answer in their order, numbered from 1."""
    batches = list(enqueue_batches(jobs))
    if len(batches) == 1:
        return await _enqueue(conn, *batches[0])
    async with _db.transaction(conn):
        return [answer for batch in batches for answer in await _enqueue(conn, *batch)]


async def _enqueue(conn: AnyConnection, before: int, jobs: Sequence[NewJob]) -> Sequence[Enqueued]:
    arguments = enqueue_arguments(jobs, before)
    try:
        answers = await calls.enqueue(conn, **arguments)
    except InvalidArgument as error:  # of the SQL function, which counts from 1
        item = None if error.item is None else before + error.item
        raise InvalidArgument(error.field, error.rule, item) from error
    answers.sort(key=lambda answer: answer.item)
    if not before:
        return answers
    return [Enqueued(before + a.item, a.job_id, a.verdict) for a in answers]
