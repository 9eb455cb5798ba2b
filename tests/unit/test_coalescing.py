"""Calls that share statements: who is answered what, whoever fails, goes away or waits."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobengine._coalescing import Blame, Coalescer
from tests.acceptance.world import in_loop, until, within

NAMES: ContextVar[str] = ContextVar("NAMES", default="nobody's")


class BadItemError(Exception):
    """Tells the place of the item that is to blame."""


class SomebodysError(Exception):
    """Is somebody's doing."""


class AwayError(Exception):
    """Is nobody's doing."""


def blame(error: Exception) -> Blame:
    if isinstance(error, BadItemError):
        return int(error.args[0])
    return "somebody" if isinstance(error, SomebodysError) else "everybody"


@dataclass
class Server:
    """Doubles numbers once it is let; `bad` and `odd` ones fail; it does all or none."""

    bad: frozenset[int] = frozenset()
    odd: frozenset[int] = frozenset()
    away: bool = False
    statements: list[tuple[list[int], bool]] = field(default_factory=list)
    done: list[int] = field(default_factory=list)
    cancelled: list[list[int]] = field(default_factory=list)
    gates: list[asyncio.Event] = field(default_factory=list)
    open: bool = False

    async def send(self, items: Sequence[int], *, shared: bool) -> Sequence[int]:
        gate = asyncio.Event()
        self.statements.append((list(items), shared))
        self.gates.append(gate)
        try:
            if not self.open:
                await gate.wait()
        except asyncio.CancelledError:
            self.cancelled.append(list(items))
            raise
        if self.away:
            raise AwayError
        for place, item in enumerate(items):
            if item in self.bad:
                raise BadItemError(place)
        if self.odd.intersection(items):
            raise SomebodysError
        self.done.extend(items)
        return [2 * item for item in items]

    def answer(self, items: Sequence[int]) -> object:
        """Return what a call with these items is to get."""
        if self.bad.intersection(items):
            return BadItemError
        return SomebodysError if self.odd.intersection(items) else [2 * n for n in items]

    def let(self) -> None:
        """Let everything that comes, and is there, be done."""
        self.open = True
        for gate in self.gates:
            gate.set()


def coalescer(server: Server, **options: Any) -> Coalescer[int, int]:
    return Coalescer(server.send, blame=blame, weigh=lambda item: item, **options)


async def asked(
    shared: Coalescer[int, int], *calls: Sequence[int]
) -> list[asyncio.Task[Sequence[int]]]:
    """Ask, each call in a task, and return when all have been sent or queue."""

    async def ask(items: Sequence[int]) -> Sequence[int]:
        return await shared(items)

    tasks = [asyncio.create_task(ask(items)) for items in calls]
    await asyncio.sleep(0)
    return tasks


async def answers(tasks: Sequence[asyncio.Task[Sequence[int]]]) -> list[object]:
    """Return what the callers got; an error as its class."""
    got = await within(asyncio.gather(*tasks, return_exceptions=True))
    return [type(one) if isinstance(one, BaseException) else one for one in got]


@in_loop
async def test_a_caller_who_is_alone_sends_at_once_in_its_own_task() -> None:
    server = Server(open=True)
    shared = coalescer(server)
    begun = shared([1, 2])
    with pytest.raises(StopIteration) as ended:
        begun.send(None)  # without a task switch
    assert ended.value.value == [2, 4]
    assert server.statements == [([1, 2], False)]


@in_loop
async def test_who_comes_meanwhile_shares_the_next() -> None:
    server = Server()
    tasks = await asked(coalescer(server), [1], [2], [3, 4], [5])
    assert server.statements == [([1], False)]
    server.let()
    assert await answers(tasks) == [[2], [4], [6, 8], [10]]
    assert server.statements[1:] == [([2, 3, 4, 5], True)]


@in_loop
async def test_one_who_queues_alone_shares_with_nobody() -> None:
    server = Server()
    tasks = await asked(coalescer(server), [1], [2])
    server.let()
    assert await answers(tasks) == [[2], [4]]
    assert server.statements == [([1], False), ([2], False)]


@in_loop
async def test_after_a_shared_statement_who_comes_together_goes_together() -> None:
    """And who comes alone then is alone again."""
    server = Server()
    shared = coalescer(server)
    tasks = await asked(shared, [1], [2], [3])
    server.let()
    await answers(tasks)
    assert await answers(await asked(shared, [4], [5], [6])) == [[8], [10], [12]]
    assert server.statements[1:] == [([2, 3], True), ([4, 5, 6], True)]
    assert await answers(await asked(shared, [7])) == [[14]]
    with pytest.raises(StopIteration):
        shared([8]).send(None)  # without a task switch
    assert server.statements[3:] == [([7], False), ([8], False)]


@in_loop
async def test_after_a_shared_statement_nobody_is_sent_who_goes_in_its_turn() -> None:
    server = Server()
    shared = coalescer(server)
    tasks = await asked(shared, [1], [2], [3])
    server.let()
    await answers(tasks)
    gone, stays = await asked(shared, [4], [5])
    gone.cancel()
    assert await answers([gone, stays]) == [asyncio.CancelledError, [10]]
    assert server.statements[2:] == [([5], False)]


@in_loop
async def test_two_statements_at_once_where_told_so() -> None:
    server = Server()
    tasks = await asked(coalescer(server, at_once=2), [1], [2], [3], [4])
    assert server.statements == [([1], False), ([2], False)]
    server.let()
    assert await answers(tasks) == [[2], [4], [6], [8]]
    assert server.statements[2:] == [([3, 4], True)]


@pytest.mark.parametrize("options", [{"max_items": 3}, {"max_weight": 9}])
@in_loop
async def test_a_statement_takes_so_many_items_but_any_single_call(
    *, options: dict[str, int]
) -> None:
    server = Server()
    tasks = await asked(coalescer(server, **options), [1], [2, 3], [4], [5, 6, 7, 8], [1])
    server.let()
    assert await answers(tasks) == [[2], [4, 6], [8], [10, 12, 14, 16], [2]]
    assert [items for items, _ in server.statements[1:]] == [[2, 3, 4], [5, 6, 7, 8], [1]]


@in_loop
async def test_a_culprit_fails_alone() -> None:
    server = Server(bad=frozenset({4}))
    tasks = await asked(coalescer(server), [1], [2], [3, 4], [5])
    server.let()
    assert await answers(tasks) == [[2], [4], BadItemError, [10]]
    assert sorted(server.done) == [1, 2, 5]
    assert ([3, 4], False) in server.statements  # it gets the error of its own items
    assert tasks[2].exception().args == (1,)  # type: ignore[union-attr]


@in_loop
async def test_where_nobody_can_tell_all_go_alone_side_by_side() -> None:
    server = Server(odd=frozenset({3}))
    tasks = await asked(coalescer(server), [1], [2], [3], [4])
    server.gates[0].set()
    await tasks[0]
    await asyncio.sleep(0)
    server.gates[1].set()
    await until(lambda: len(server.statements) == 5)
    assert sorted(server.statements[2:]) == [([2], False), ([3], False), ([4], False)]
    server.let()
    assert await answers(tasks) == [[2], [4], SomebodysError, [8]]


@in_loop
async def test_many_culprits_cost_a_few_shared_statements_and_one_each() -> None:
    server = Server(bad=frozenset(range(2, 12)))
    tasks = await asked(coalescer(server), [1], *([n] for n in range(2, 22)))
    server.let()
    assert await answers(tasks) == [[2], *([BadItemError] * 10), *([2 * n] for n in range(12, 22))]
    assert sum(shared for _, shared in server.statements) == 3
    assert sorted(server.done) == [1, *range(12, 22)]


@in_loop
async def test_everybody_hears_of_what_is_nobodys_doing() -> None:
    server = Server(away=True)
    tasks = await asked(coalescer(server), [1], [2], [3])
    server.let()
    assert await answers(tasks) == [AwayError] * 3
    assert len(server.statements) == 2  # what was sent may have happened: not once more


@in_loop
async def test_one_who_goes_while_it_queues_did_nothing() -> None:
    server = Server()
    tasks = await asked(coalescer(server), [1], [2], [3])
    tasks[1].cancel()
    server.let()
    assert await answers(tasks) == [[2], asyncio.CancelledError, [6]]
    assert server.done == [1, 3]


@in_loop
async def test_one_who_goes_cancels_nobody_elses_statement() -> None:
    server = Server()
    tasks = await asked(coalescer(server), [1], [2], [3])
    server.gates[0].set()
    await tasks[0]
    await asyncio.sleep(0)
    assert server.statements[1:] == [([2, 3], True)]
    tasks[1].cancel()
    await asyncio.wait([tasks[1]])
    server.let()
    assert await answers(tasks) == [[2], asyncio.CancelledError, [6]]
    assert server.done == [1, 2, 3]
    assert not server.cancelled


@pytest.mark.parametrize("answered", [False, True])
@in_loop
async def test_what_is_answered_to_one_who_has_gone_is_not_lost(*, answered: bool) -> None:
    server = Server()
    unwanted: list[tuple[list[int], list[int]]] = []
    shared = coalescer(server, unwanted=lambda *what: unwanted.append(what))
    tasks = await asked(shared, [1], [2], [3, 4])
    server.gates[0].set()
    await tasks[0]
    await asyncio.sleep(0)
    server.gates[1].set()
    if answered:
        await asyncio.sleep(0)
    assert (len(server.done) == 4) is answered
    tasks[2].cancel()
    assert await answers(tasks) == [[2], [4], asyncio.CancelledError]
    assert unwanted == [([3, 4], [6, 8])]


@in_loop
async def test_a_statement_that_nobody_waits_for_is_cancelled() -> None:
    server = Server()
    tasks = await asked(coalescer(server), [1], [2], [3])
    server.gates[0].set()
    await tasks[0]
    await asyncio.sleep(0)
    for task in tasks[1:]:
        task.cancel()
    await asyncio.wait(tasks)
    await asyncio.sleep(0)
    assert server.cancelled == [[2, 3]]


@in_loop
async def test_one_who_was_alone_and_goes_leaves_the_others_their_turn() -> None:
    server = Server()
    tasks = await asked(coalescer(server), [1], [2])
    tasks[0].cancel()
    await asyncio.wait([tasks[0]])
    server.let()
    assert await answers(tasks) == [asyncio.CancelledError, [4]]
    assert server.cancelled == [[1]]


@in_loop
async def test_a_statement_that_waits_keeps_nobody_waiting() -> None:
    server = Server()
    shared = coalescer(server)
    tasks = await asked(shared, [1], [2], [3])
    await until(lambda: len(server.gates) == 2)  # though the first is still under way
    server.gates[1].set()
    assert await answers(tasks[1:]) == [[4], [6]]
    assert server.statements == [([1], False), ([2, 3], True)]
    late = await asked(shared, [4], [5])
    await until(lambda: len(server.gates) == 3)
    assert server.statements[2:] == [([4, 5], True)]  # nobody waits for the first any more
    server.let()
    assert await answers([*tasks, *late]) == [[2], [4], [6], [8], [10]]


@in_loop
async def test_what_a_caller_has_set_is_no_business_of_the_others() -> None:
    seen: list[str] = []
    server = Server()

    async def send(items: Sequence[int], *, shared: bool) -> Sequence[int]:
        seen.append(NAMES.get())
        return await server.send(items, shared=shared)

    NAMES.set("mine")
    tasks = await asked(Coalescer(send, blame=blame), [1], [2], [3])
    server.let()
    await answers(tasks)
    assert seen == ["mine", "nobody's"]


@in_loop
async def test_nobody_waits_for_ever_when_the_program_ends() -> None:
    server = Server()
    shared = coalescer(server)
    tasks = await asked(shared, [1], [2], [3])
    server.gates[0].set()
    await tasks[0]
    await asyncio.sleep(0)
    for task in asyncio.all_tasks() - {asyncio.current_task(), *tasks}:
        task.cancel()  # as asyncio.run does with what is left
    assert await answers(tasks) == [[2], asyncio.CancelledError, asyncio.CancelledError]
    server.let()
    assert await within(shared([4])) == [8]


ITEMS = st.integers(min_value=0, max_value=30)
KINDS = st.sampled_from(["ask", "ask", "go", "let one", "turn"])
STEPS = st.lists(st.tuples(KINDS, st.lists(ITEMS, min_size=1, max_size=4)), max_size=40)


@given(
    steps=STEPS,
    bad=st.frozensets(ITEMS, max_size=4),
    odd=st.frozensets(ITEMS, max_size=2),
    at_once=st.integers(min_value=1, max_value=3),
    max_items=st.integers(min_value=1, max_value=8),
)
def test_every_caller_gets_its_own_answers(
    steps: list[tuple[str, list[int]]],
    bad: frozenset[int],
    odd: frozenset[int],
    at_once: int,
    max_items: int,
) -> None:
    @in_loop
    async def play() -> None:
        server = Server(bad=bad, odd=odd)
        shared = coalescer(server, at_once=at_once, max_items=max_items)
        calls: list[tuple[list[int], asyncio.Task[Sequence[int]]]] = []
        gone: set[asyncio.Task[Sequence[int]]] = set()
        for step, what in steps:
            if step == "ask":
                calls.append((what, (await asked(shared, what))[0]))
            elif step == "go" and calls:
                task = calls[what[0] % len(calls)][1]
                if task.cancel():
                    gone.add(task)
            elif step == "let one" and server.gates:
                server.gates[what[0] % len(server.gates)].set()
            await asyncio.sleep(0)
        server.let()
        got = await answers([task for _, task in calls])
        for (items, task), answer in zip(calls, got, strict=True):
            expected = asyncio.CancelledError if task in gone else server.answer(items)
            assert answer == expected
        # Once for everybody who was answered, and otherwise only what those wanted who went.
        answered = Counter(
            n
            for (items, _), a in zip(calls, got, strict=True)
            if isinstance(a, list)
            for n in items
        )
        left = Counter(n for items, task in calls if task in gone for n in items)
        assert answered <= Counter(server.done) <= answered + left

    play()
