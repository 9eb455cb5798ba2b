"""Every order in which a few sessions can take their steps, one after the other.

Like PostgreSQL's isolationtester, but it finds the orders by itself: at each step it chooses among
the sessions that do not wait for a lock, and comes back to choose every other one. A session has
two steps, its call and its commit: under READ COMMITTED, BEGIN alone reads nothing and locks
nothing, so a step of its own for it would only repeat each order.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import psycopg
from psycopg.rows import DictRow

from tests.races.sessions import (
    BEGIN,
    COMMIT,
    DEADLINE_SECONDS,
    Call,
    Rows,
    Running,
    Session,
    blockers,
)


class Choices:
    """Answers every question in every possible way, one way per run."""

    def __init__(self) -> None:
        self._path: list[tuple[int, int]] = []  # each answer given, and out of how many
        self._asked = 0

    def runs(self) -> Iterator[None]:
        """Yield before each run, until every run that there can be has been made."""
        while True:
            self._asked = 0
            yield
            while self._path and self._path[-1][0] + 1 == self._path[-1][1]:
                self._path.pop()
            if not self._path:
                return
            answer, answers = self._path[-1]
            self._path[-1] = (answer + 1, answers)

    def choose(self, answers: int) -> int:
        """Return a number from 0 to below `answers`."""
        if self._asked == len(self._path):
            self._path.append((0, answers))
        answer, known = self._path[self._asked]
        assert known == answers, "the same choices led elsewhere: the run is not deterministic"
        self._asked += 1
        return answer


@dataclass
class History:
    """The steps in the order in which they were begun, and what each session's call answered."""

    steps: list[str] = field(default_factory=list)
    answers: dict[int, Rows] = field(default_factory=dict)
    errors: dict[int, str] = field(default_factory=dict)


@dataclass
class Interleaver:
    """Makes one call per session, each in its own transaction, in one order of the steps."""

    sessions: Sequence[Session]
    watcher: psycopg.Connection[DictRow]

    def run(
        self,
        calls: Sequence[Call],
        choose: Callable[[int], int],
        after_commit: Callable[[], None],
    ) -> History:
        """Take all steps; `choose` says which of the sessions that do not wait goes on."""
        history = History()
        left = {number: ["call", "commit"] for number in range(len(calls))}
        running: dict[int, Running] = {}
        while any(left.values()):
            free = [number for number in left if left[number] and number not in running]
            if not free:  # a deadlock: PostgreSQL ends one of them
                self._take_ended(running, history, within=DEADLINE_SECONDS)
                continue
            number = free[choose(len(free))]
            step = left[number].pop(0)
            history.steps.append(f"{step} {number}")
            steps = (BEGIN, calls[number]) if step == "call" else (COMMIT,)
            running[number] = self.sessions[number].send(*steps)
            self._settle(running, history)
            if step == "commit":
                after_commit()
        return history

    def run_one_by_one(self, calls: Sequence[Call], order: Sequence[int]) -> History:
        """Make the calls in this order, each committed before the next one begins."""
        answers = {number: self.sessions[number].run(calls[number]) for number in order}
        return History([f"call {number}" for number in order], answers)

    def _settle(self, running: dict[int, Running], history: History) -> None:
        """Return when each session has ended its step or waits for a lock.

        A waiting session may be let go by one that is still busy, so that only a state in which
        all wait, seen twice in a row, is known to stay.
        """
        deadline = time.monotonic() + DEADLINE_SECONDS
        quiet = 0
        while running and quiet < 2:
            assert time.monotonic() < deadline, f"neither goes on nor waits: {history}"
            if self._take_ended(running, history, within=0.001):
                quiet = 0
                continue
            waits_for = blockers(self.watcher, [call.pid for call in running.values()])
            quiet = quiet + 1 if all(waits_for.values()) else 0

    def _take_ended(self, running: dict[int, Running], history: History, *, within: float) -> bool:
        ended = [number for number, call in running.items() if call.done(within=within)]
        for number in ended:
            try:
                history.answers.setdefault(number, running.pop(number).rows())
            except psycopg.Error as error:
                history.errors[number] = str(error)
        return bool(ended)
