"""Concurrent small calls share statements: who arrives while one is under way shares the next.

There is no waiting window: the statement that is under way is the window. A caller who finds none
sends its own at once, in its own task. Whoever comes meanwhile waits in a queue; when the statement
has ended, all that wait go together, in a task that is nobody's: to cancel a caller cancels no
statement, unless none of its callers is left.

Who shared a statement is answered together, and comes again together: after such a statement the
first to come waits for the others of its turn of the event loop. Without that it goes ahead alone,
and all the others wait for it: every other statement was one call's (`bench -- http_result`).

A shared statement that fails in a way that is one caller's doing is repeated without that caller,
whose items go alone, so that it gets its own error. Where nobody can tell whose doing it is, every
caller's items go alone, side by side. So `send` must do all of its items or none when it fails in
such a way, and its items must be checked before they are given.

A statement may wait, for a lock that somebody holds: after `PATIENCE` seconds in which none was
begun, nobody waits for it any more: those who queue, and whoever comes, go beside it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextvars import Context
from functools import partial
from typing import Any, Generic, Literal, Protocol, TypeAlias, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Item_contra = TypeVar("Item_contra", contravariant=True)
Answer_co = TypeVar("Answer_co", covariant=True)

# The place (from 0) of the item that is to blame; or everybody gets the error; or nobody can tell.
Blame: TypeAlias = int | Literal["everybody", "somebody"]

PATIENCE = 0.05
# So many culprits are taken out of a statement one by one; with more, all go alone.
_CULPRITS = 3


class Send(Protocol[Item_contra, Answer_co]):
    """Does the items in one statement and answers in their order; `shared`: of several callers."""

    async def __call__(
        self, items: Sequence[Item_contra], /, *, shared: bool
    ) -> Sequence[Answer_co]: ...


class Coalescer(Generic[Item, Answer]):
    """Calls that share statements; a call is one or more items, done together.

    `blame` says whose doing an error of a shared statement is; `weigh` how much an item counts
    towards `max_weight`. Neither is asked for a caller that is alone. `unwanted` is given the items
    and answers of a caller who went while its statement, which it shared, was under way.
    """

    def __init__(
        self,
        send: Send[Item, Answer],
        *,
        blame: Callable[[Exception], Blame],
        at_once: int = 1,
        max_items: int = 1000,
        weigh: Callable[[Item], int] | None = None,
        max_weight: int = 1024 * 1024,
        unwanted: Callable[[Sequence[Item], Sequence[Answer]], None] = lambda *_: None,
    ) -> None:
        """At most `at_once` statements are under way, unless they keep others waiting for long."""
        self._send = send
        self._blame = blame
        self._at_once = at_once
        self._max_items = max_items
        self._weigh = weigh
        self._max_weight = max_weight
        self._unwanted = unwanted
        self._under_way: set[int] = set()  # by number
        self._queue: deque[_Call[Item, Answer]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._crowded = False  # the last statement that waited for its turn was a shared one
        self._begun = 0
        self._given_up = 0  # up to this number they keep nobody waiting
        self._watching = False

    async def __call__(self, items: Sequence[Item]) -> Sequence[Answer]:
        """Return one answer per item, in their order, or raise the error of these items.

        A caller that is cancelled while it queues did nothing; afterwards its items may have been
        done, as with any call that is cancelled.
        """
        if self._free and not self._crowded:
            number = self._number()
            try:
                return await self._send(items, shared=False)
            finally:
                self._ended(number)
        call: _Call[Item, Answer] = _Call(items, self._weight(items))
        self._queue.append(call)
        self._watch()
        if self._free and len(self._queue) == 1:
            asyncio.get_running_loop().call_soon(self._turn_is_over)
        try:
            return await call.answers
        except asyncio.CancelledError:
            call.leave()
            if (answers := call.answered) is not None:
                self._unwanted(items, answers)
            raise

    def _weight(self, items: Sequence[Item]) -> int:
        return 0 if self._weigh is None else sum(map(self._weigh, items))

    @property
    def _free(self) -> bool:
        """Whether one more statement may be under way."""
        return sum(number > self._given_up for number in self._under_way) < self._at_once

    def _number(self) -> int:
        """Note that a statement is under way."""
        self._begun += 1
        self._under_way.add(self._begun)
        return self._begun

    def _ended(self, number: int) -> None:
        self._under_way.discard(number)
        if self._queue and self._free:
            self._begin()

    def _turn_is_over(self) -> None:
        while self._queue and self._free:
            self._begin()

    def _begin(self) -> None:
        """Send what queues, as much as one statement takes."""
        if calls := self._next():
            self._crowded = len(calls) > 1
            self._in_a_task(self._statement(calls), calls, partial(self._ended, self._number()))

    def _next(self) -> list[_Call[Item, Answer]]:
        calls: list[_Call[Item, Answer]] = []
        items = weight = 0
        while self._queue:
            call = self._queue[0]
            items += len(call.items)
            weight += call.weight
            if calls and (items > self._max_items or weight > self._max_weight):
                break
            self._queue.popleft()
            if call.answers.done():  # its caller was cancelled
                items -= len(call.items)
                weight -= call.weight
            else:
                calls.append(call)
        return calls

    def _in_a_task(
        self,
        work: Coroutine[Any, Any, None],
        calls: Sequence[_Call[Item, Answer]],
        then: Callable[[], None] = lambda: None,
    ) -> None:
        """Run the work of these calls; none of them waits for ever, however the task ends."""

        def over(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            for call in calls:
                if call.task is task:  # else it has been sent once more
                    call.task = None
                    call.answers.cancel()  # without effect where it has been answered
            then()

        # A context of its own: what one caller has set there is no business of the others.
        task = asyncio.create_task(work, context=Context())
        for call in calls:
            call.task, call.together = task, calls
        self._tasks.add(task)
        task.add_done_callback(over)

    async def _statement(self, calls: Sequence[_Call[Item, Answer]]) -> None:
        """Send the calls together; repeat without those that are to blame for an error."""
        for _ in range(_CULPRITS):
            try:
                answers = await self._sent(calls)
            except Exception as error:  # noqa: BLE001 - whatever it is, the callers get it
                calls = self._after(error, calls)
                if not calls:
                    return
            else:
                self._deliver(calls, answers)
                return
        self._apart(calls)

    def _after(
        self, error: Exception, calls: Sequence[_Call[Item, Answer]]
    ) -> Sequence[_Call[Item, Answer]]:
        """Return the calls that are to be sent together once more."""
        blame = "everybody" if len(calls) == 1 else self._blame(error)
        if blame == "everybody":
            _fail(calls, error)
            return []
        if blame == "somebody" or (culprit := _caller_of(calls, blame)) is None:
            self._apart(calls)
            return []
        self._apart([culprit])
        left = [call for call in calls if call is not culprit]
        for call in left:
            call.together = left
        return left

    async def _sent(self, calls: Sequence[_Call[Item, Answer]]) -> Sequence[Answer]:
        if len(calls) == 1:
            return await self._send(calls[0].items, shared=False)
        return await self._send([item for call in calls for item in call.items], shared=True)

    def _apart(self, calls: Sequence[_Call[Item, Answer]]) -> None:
        """Send every call alone, side by side, as if nothing were shared."""
        for call in calls:
            if not call.answers.done():
                self._in_a_task(self._alone(call), [call])

    async def _alone(self, call: _Call[Item, Answer]) -> None:
        try:
            answers = await self._send(call.items, shared=False)
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets it
            _fail([call], error)
        else:
            self._deliver([call], answers)

    def _deliver(self, calls: Sequence[_Call[Item, Answer]], answers: Sequence[Answer]) -> None:
        end = 0
        for call in calls:
            start, end = end, end + len(call.items)
            if call.answers.done():
                self._unwanted(call.items, answers[start:end])
            else:
                call.answers.set_result(answers[start:end])

    def _watch(self) -> None:
        """See to it that who queues does not wait for a statement that waits."""
        if not self._watching:
            self._watching = True
            asyncio.get_running_loop().call_later(PATIENCE, self._look, self._begun)

    def _look(self, begun: int) -> None:
        self._watching = False
        if self._queue and self._begun == begun:
            self._given_up = begun
            self._begin()
        if self._queue:
            self._watch()


class _Call(Generic[Item, Answer]):
    """What one caller wants, and where it waits for it."""

    __slots__ = ("answers", "items", "task", "together", "weight")

    def __init__(self, items: Sequence[Item], weight: int) -> None:
        self.items = items
        self.weight = weight
        self.answers: asyncio.Future[Sequence[Answer]] = asyncio.get_running_loop().create_future()
        self.task: asyncio.Task[None] | None = None
        self.together: Sequence[_Call[Item, Answer]] = ()

    @property
    def answered(self) -> Sequence[Answer] | None:
        """The answers, if there are any; an error counts as seen, or asyncio would report it."""
        if self.answers.cancelled() or self.answers.exception() is not None:
            return None
        return self.answers.result()

    def leave(self) -> None:
        """The caller is gone; a statement that nobody waits for any more is cancelled."""
        if self.task is not None and all(call.answers.done() for call in self.together):
            self.task.cancel()


def _fail(calls: Sequence[_Call[Item, Answer]], error: Exception) -> None:
    for call in calls:
        if not call.answers.done():
            call.answers.set_exception(error)


def _caller_of(calls: Sequence[_Call[Item, Answer]], place: int) -> _Call[Item, Answer] | None:
    """Return the call whose item stands at this place of the statement, if there is one."""
    for call in calls:
        if 0 <= place < len(call.items):
            return call
        place -= len(call.items)
    return None
