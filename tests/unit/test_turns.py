"""Whose turn it is: batches out of a claim, limits, and what is taken back."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterable

import pytest

from jobengine._book import Batch, Book, HeldJob
from jobengine._cancelling import cancelled
from jobengine._turns import Turns, Work
from tests.acceptance.world import in_loop
from tests.unit.test_book import job


@pytest.fixture(autouse=True)
def _bursts_end_by_their_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not by the clock, which goes on while this process waits for a processor."""
    monkeypatch.setattr("jobengine._turns._BURST_SECONDS", 3600.0)


def held(types: str) -> list[HeldJob]:
    """One job per letter, which is its type."""
    return Book().add([dataclasses.replace(job(60), job_type=letter) for letter in types])


def names(works: Iterable[Work]) -> list[str]:
    return [
        work.job_type if isinstance(work, HeldJob) else f"[{work.job_type * len(work.members)}]"
        for work in works
    ]


def todo(turns: Turns) -> list[Work]:
    """Take what may run now."""
    works = list(turns.todo)
    turns.todo.clear()
    return works


def test_single_jobs_run_in_the_order_of_the_claim() -> None:
    turns = Turns(10)
    turns.take(held("abcab"))
    assert names(todo(turns)) == ["a", "b", "c", "a", "b"]
    assert turns.free == 5


def test_a_batch_stands_where_its_first_job_stood() -> None:
    turns = Turns(20)
    turns.plan("b", size=2, most=None)
    turns.plan("c", size=3, most=None)
    turns.take(held("abacbbcbb"))
    assert names(todo(turns)) == ["a", "[bb]", "a", "[cc]", "[bb]", "[b]"]
    turns.take(held("b"))
    assert names(todo(turns)) == ["[b]"]  # nobody waits for a batch to fill
    assert turns.free == 10


def test_who_is_beyond_the_limit_follows_in_turn() -> None:
    turns = Turns(10)
    turns.plan("a", size=None, most=2)
    turns.take(held("aaaab"))
    first, second, other = todo(turns)
    assert names([first, second, other]) == ["a", "a", "b"]
    turns.done(other)
    assert todo(turns) == []
    turns.done(first)
    turns.done(second)
    third, fourth = todo(turns)
    assert turns.free == 8
    turns.done(third)
    turns.done(fourth)
    assert (turns.free, todo(turns)) == (10, [])
    turns.take(held("aaa"))
    assert names(todo(turns)) == ["a", "a"]


def test_a_batch_gives_back_a_slot_per_job() -> None:
    turns = Turns(10)
    turns.plan("a", size=3, most=1)
    turns.take(held("aaaaa"))
    (first,) = todo(turns)
    assert (turns.free, turns.freed.is_set()) == (5, False)
    turns.done(first)
    (second,) = todo(turns)
    assert names([first, second]) == ["[aaa]", "[aa]"]
    assert (turns.free, turns.freed.is_set()) == (8, True)


def test_who_waits_can_be_dropped_who_runs_cannot() -> None:
    turns = Turns(10)
    turns.plan("a", size=None, most=1)
    turns.plan("b", size=2, most=1)
    jobs = held("aaabbbbc")
    turns.take(jobs)
    running = todo(turns)
    assert names(running) == ["a", "[bb]", "c"]
    assert [turns.drop(one) for one in jobs] == [False, True, True, False, False, True, True, False]
    assert [turns.drop(one) for one in jobs] == [False] * 8
    assert turns.free == 6
    for work in running:
        turns.done(work)
    assert (turns.free, todo(turns)) == (10, [])


def test_a_batch_that_loses_a_job_while_it_waits_runs_without_it() -> None:
    turns = Turns(10)
    turns.plan("a", size=2, most=1)
    jobs = held("aaaa")
    turns.take(jobs)
    (first,) = todo(turns)
    assert turns.drop(jobs[2])
    turns.done(first)
    (second,) = todo(turns)
    assert isinstance(second, Batch)
    assert second.members == jobs[3:]
    turns.done(second)
    assert turns.free == 10


def test_a_drain_takes_all_that_has_not_begun() -> None:
    turns = Turns(10)
    turns.plan("a", size=None, most=1)
    turns.plan("b", size=2, most=1)
    jobs = held("aaabbbc")
    turns.take(jobs)
    running = turns.todo.popleft()
    assert running is jobs[0]
    assert {id(one) for one in turns.drain()} == {id(one) for one in jobs[1:]}
    assert turns.free == 9
    turns.done(running)
    assert (turns.free, todo(turns), turns.drain()) == (10, [], [])


async def run(turns: Turns, took: list[Work], until: asyncio.Event) -> None:
    """Run like a runner whose handlers wait for the event."""
    while True:
        work = await turns.next()
        took.append(work)
        if not until.is_set():
            await until.wait()
        turns.done(work)


@in_loop
async def test_while_a_handler_waits_other_runners_take_the_rest() -> None:
    turns, until = Turns(10), asyncio.Event()
    took: list[Work] = []
    runners = [asyncio.create_task(run(turns, took, until)) for _ in range(4)]
    await asyncio.sleep(0)
    jobs = held("aaa")
    turns.take(jobs)
    for _ in jobs:  # one wakes the next
        await asyncio.sleep(0)
    assert took == jobs
    until.set()
    turns.take(more := held("aaa"))
    await asyncio.wait_for(_empty(turns), 10)
    assert (took, turns.free) == (jobs + more, 10)
    await cancelled(*runners)


@in_loop
async def test_the_loops_run_after_half_of_the_slots_where_no_handler_waits() -> None:
    turns, until = Turns(4), asyncio.Event()
    took: list[Work] = []
    until.set()
    turns.take(held("aaaa"))
    runners = [asyncio.create_task(run(turns, took, until)) for _ in range(3)]
    await asyncio.sleep(0)
    assert (len(took), turns.free) == (2, 2)
    await asyncio.wait_for(_empty(turns), 10)
    assert (len(took), turns.free) == (4, 4)
    await cancelled(*runners)


async def _empty(turns: Turns) -> None:
    while turns.free < turns.slots:
        turns.freed.clear()
        await turns.freed.wait()
