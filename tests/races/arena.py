"""Runs a race of a few calls in every order and judges each outcome."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import permutations
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from jobengine.testing import Clock
from tests.races import calls, invariants
from tests.races.interleavings import Choices, History, Interleaver
from tests.races.invariants import OneByOne, Outcome
from tests.races.jobs import run
from tests.races.sessions import Call, opened
from tests.races.world import State, World, build

Operation = Callable[[World, int], Call]


def _ordered(things: Sequence[Any], number: int) -> Sequence[Any]:
    """Let every other session name its jobs backwards."""
    return things if number % 2 == 0 else list(reversed(things))


def _of_leases(function: Callable[..., Call], **arguments: Any) -> Operation:
    return lambda world, number: function(*_ordered(world.leases, number), **arguments)


def _of_jobs(function: Callable[..., Call]) -> Operation:
    return lambda world, number: function(*_ordered(list(world.jobs.values()), number))


OPERATIONS: dict[str, Operation] = {
    "claim": lambda _, number: calls.claim(limit=10, agent_id=f"agent {number}"),
    "finish": _of_leases(calls.finish),
    "sweep": lambda _, __: calls.sweep(),
    "cancel": _of_jobs(calls.cancel),
    "extend": _of_leases(calls.extend, seconds=600.0),
    "start": _of_leases(calls.start),
    "fail": _of_leases(calls.finish, outcome="failed"),
    "release": _of_leases(calls.release),
    "retry": _of_jobs(calls.retry),
    "get": _of_jobs(calls.get),
}


@dataclass
class Arena:
    """A world and the sessions that meet in it."""

    world: World
    interleaver: Interleaver

    def race(self, *names: str) -> int:
        """Judge every order of these calls and return how many there are."""

        @cache
        def one_by_one(sessions: frozenset[int]) -> list[Outcome]:
            return [self._one_by_one(names, order) for order in permutations(sorted(sessions))]

        choices = Choices()
        orders = 0
        for _ in choices.runs():
            orders += 1
            outcome = self._one_order(names, choices.choose)
            try:
                self._judge(outcome, one_by_one)
            except AssertionError as broken:
                broken.add_note(f"{names} in the order {outcome.history.steps}")
                raise
        return orders

    def _one_by_one(self, names: tuple[str, ...], order: Sequence[int]) -> Outcome:
        self.world.restore()
        history = self.interleaver.run_one_by_one(self._calls(names), order)
        return self._outcome(names, history, [])

    def _one_order(self, names: tuple[str, ...], choose: Callable[[int], int]) -> Outcome:
        self.world.restore()
        states = [self.world.state()]
        history = self.interleaver.run(
            self._calls(names), choose, lambda: states.append(self.world.state())
        )
        return self._outcome(names, history, states)

    def _calls(self, names: tuple[str, ...]) -> list[Call]:
        return [OPERATIONS[name](self.world, number) for number, name in enumerate(names)]

    def _outcome(self, names: tuple[str, ...], history: History, states: list[State]) -> Outcome:
        # A sweep leaves what others hold to the next one, so one comes after every race.
        run(self.world.owner, calls.sweep())
        said = [
            invariants.said(self.world, history.answers.get(number, []))
            for number in range(len(names))
        ]
        return Outcome(
            names, history, said, states, self.world.state(), self.world.completed_in_parents()
        )

    def _judge(self, outcome: Outcome, one_by_one: OneByOne) -> None:
        invariants.no_error(outcome)
        invariants.no_lost_job(outcome)
        invariants.no_double_claim(outcome, self.world.leases, self.world)
        invariants.settled_equals_ended(outcome)
        invariants.as_if_one_by_one(outcome, one_by_one)
        invariants.no_stale_effect(outcome, one_by_one)


@contextmanager
def arena(database_url: str) -> Iterator[Arena]:
    with ExitStack() as stack:
        owner, watcher = (
            stack.enter_context(
                psycopg.connect(database_url, autocommit=True, row_factory=dict_row)
            )
            for _ in range(2)
        )
        sessions = stack.enter_context(opened(database_url, watcher, 3))
        hasty = Call(sql.SQL("set synchronous_commit = off"), {})  # nothing here outlives a crash
        run(owner, hasty)
        for session in sessions:
            session.run(hasty)
        yield Arena(build(owner, Clock(owner)), Interleaver(sessions, watcher))
