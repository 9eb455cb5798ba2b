"""What concurrent calls of one `JobEngine` share: the statements of its small calls.

A shared statement waits for no lock for long (`_db.Brief`): a call whose job, key or parent is held
by a transaction of somebody's, which perhaps waits for another of these calls, goes alone then.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

import psycopg

from jobengine import _db, calls, errors
from jobengine._arguments import Elements, lease_elements, together
from jobengine._coalescing import Blame, Coalescer
from jobengine.claimer import Connect
from jobengine.errors import EngineError, EngineUnavailable, NotInstalled
from jobengine.records import Enqueued, Extended, Finished, Job, Released, Started

# A call with more items than that has a statement of its own: it gains nothing by sharing one.
FEW = 100
_REQUESTS = 100
_CLAIMED_AT_ONCE = 1000
# Arguments of a call that no item may lack: where all do, the SQL function says so.
_LEASES: dict[str, None] = {"job_ids": None, "lease_epochs": None}
# Records are frozen; these are new, and nobody else has seen them. `replace` makes another one,
# which takes ten times as long.
_set = object.__setattr__


class Numbered(Protocol):
    """An answer that says which item it answers, from 1."""

    @property
    def item(self) -> int: ...


N = TypeVar("N", bound=Numbered)


@dataclass(frozen=True, slots=True)
class Request:
    """A request of `claim`, as JSON, how many jobs it may bring, and whether it has an id."""

    text: bytes
    limit: int
    repeatable: bool


class Sharing:
    """One coalescer per kind of call; each takes what has been checked and answers per item."""

    def __init__(self, connect: Connect) -> None:
        """Nothing is connected before the first call."""
        self._connect = connect
        self._tasks: set[asyncio.Task[None]] = set()
        self.enqueue: Coalescer[Elements, Enqueued] = self._of(calls.enqueue, job_types=None)
        self.start: Coalescer[Elements, Started] = self._of(calls.start, **_LEASES)
        self.extend: Coalescer[Elements, Extended] = self._of(calls.extend, **_LEASES)
        self.finish: Coalescer[Elements, Finished] = self._of(
            calls.finish, **_LEASES, outcomes=None
        )
        self.release: Coalescer[Elements, Released] = self._of(calls.release, **_LEASES)
        self.claim: Coalescer[Request, Sequence[Job]] = Coalescer(
            self._claim,
            blame=blame,
            max_items=_REQUESTS,
            weigh=_most,
            max_weight=_CLAIMED_AT_ONCE,
            unwanted=self._give_back,
        )

    def _of(
        self, call: Callable[..., Awaitable[list[N]]], **needed: None
    ) -> Coalescer[Elements, N]:
        return Coalescer(partial(self._send, call, needed), blame=blame, weigh=_length)

    async def _send(
        self,
        call: Callable[..., Awaitable[list[N]]],
        needed: dict[str, None],
        items: Sequence[Elements],
        *,
        shared: bool,
    ) -> Sequence[N]:
        arguments = {**needed, **together(items)}
        async with self._connect() as conn:
            answers = await call(_db.Brief(conn) if shared else conn, **arguments)
        answers.sort(key=_item)
        return answers

    async def _claim(self, requests: Sequence[Request], *, shared: bool) -> Sequence[Sequence[Job]]:
        text = b"[" + b",".join([request.text for request in requests]) + b"]"
        async with self._connect() as conn:
            jobs = await calls.claim(_db.Brief(conn) if shared else conn, requests=text.decode())
        if not shared:
            return [jobs]
        answers: list[list[Job]] = [[] for _ in requests]
        for job in jobs:
            answers[job.request - 1].append(job)
            _set(job, "request", 1)
        return answers

    def _give_back(self, requests: Sequence[Request], answers: Sequence[Sequence[Job]]) -> None:
        """Release what was claimed for a caller who has gone, unless it may ask for it again."""
        jobs = [
            job
            for request, brought in zip(requests, answers, strict=True)
            if not request.repeatable
            for job in brought
        ]
        if jobs:
            task = asyncio.create_task(self._released(jobs))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _released(self, jobs: Sequence[Job]) -> None:
        with contextlib.suppress(EngineError):  # else the leases run out
            await self.release(lease_elements(jobs))


def blame(error: Exception) -> Blame:
    """Say whose doing it is that a shared statement failed.

    The server has done nothing when it names an item, or otherwise refuses a statement. What never
    came to the server, or whose answer never came, is nobody's doing. A statement that took longer
    than the program allows may have waited for what one of them wanted.
    """
    cause = error.__cause__
    if not isinstance(cause, psycopg.Error) or cause.sqlstate is None:
        return "everybody"
    if isinstance(cause, psycopg.errors.QueryCanceled):
        return "somebody"
    if isinstance(error, EngineUnavailable | NotInstalled):
        return "everybody"
    item = errors.item_of(cause)
    return "somebody" if item is None else item - 1


def own(answers: Sequence[N]) -> Sequence[N]:
    """Return a caller's answers of a shared statement, counted from 1."""
    if answers[0].item != 1:
        for item, answer in enumerate(answers, 1):
            _set(answer, "item", item)
    return answers


def _item(answer: Numbered) -> int:
    return answer.item


def _most(request: Request) -> int:
    """Return how many jobs it may bring; a limit that the server will refuse counts little."""
    return request.limit if type(request.limit) is int and request.limit > 0 else 1


def _length(item: Elements) -> int:
    return sum(map(len, item.values()))
