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

from tests.races.sessions import BEGIN, COMMIT, DEADLINE_SECONDS, Call, Rows, Running, Session
from tests.races.sessions import blockers


class Choices:
    """Answers every question in every possible way, one way per run."""

    def __init__(self) -> None:
        self._path: list[tuple[int, int]] = []  # the answer given and the number of answers
        self._asked = 0

    def runs(self) -> Iterator[None]:
        """Yield once per run, until each run there can be has been made."""
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
        assert known == answers, "the same choices led to another state: not deterministic"
        self._asked += 1
        return answer


@dataclass
class History:
    """What happened in one order: the steps as they were begun, and what each call answered."""

    steps: list[str] = field(default_factory=list)
    answers: dict[int, Rows] = field(default_factory=dict)
    errors: dict[int, str] = field(default_factory=dict)


@dataclass
class Interleaver:
    """Runs one call and one commit per session, in one order."""

    sessions: Sequence[Session]
    watcher: psycopg.Connection[DictRow]
    after_commit: Callable[[], None]

    def run(self, calls: Sequence[Call], choose: Callable[[int], int]) -> History:
        """Take all steps; `choose` says which of the sessions that can go on does."""
        history = History()
        left = {number: ["call", "commit"] for number in range(len(calls))}
        running: dict[int, Running] = {}
        while any(left.values()):
            free = [number for number in left if left[number] and number not in running]
            if not free:
                self._finish(running, history)  # a deadlock: PostgreSQL ends one of them
                continue
            number = free[choose(len(free))]
            step = left[number].pop(0)
            history.steps.append(f"{step} {number}")
            session = self.sessions[number]
            running[number] = (
                session.send(BEGIN, calls[number]) if step == "call" else session.send(COMMIT)
            )
            self._settle(running, history)
            if step == "commit":
                self.after_commit()
        return history

    def run_alone(self, calls: Sequence[Call], order: Sequence[int]) -> History:
        """Make the calls one after the other, each in a transaction of its own."""
        history = History()
        for number in order:
            history.answers[number] = self.sessions[number].run(calls[number])
        return history

    def _settle(self, running: dict[int, Running], history: History) -> None:
        """Return when each session has ended its step or waits for a lock, and nothing moves."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        quiet = 0
        while quiet < 2:
            quiet = 0 if self._take_ended(running, history) else quiet + 1
            if not running:
                return
            pids = [waiting.pid for waiting in running.values()]
            if not all(blockers(self.watcher, pids).values()):
                quiet = 0
            assert time.monotonic() < deadline, f"{history} neither goes on nor waits: {running}"

    def _take_ended(self, running: dict[int, Running], history: History) -> bool:
        ended = [number for number, call in running.items() if call.done(within=0.001)]
        for number in ended:
            self._answer(number, running.pop(number), history)
        return bool(ended)

    def _finish(self, running: dict[int, Running], history: History) -> None:
        while not self._take_ended(running, history):
            pass

    def _answer(self, number: int, call: Running, history: History) -> None:
        try:
            rows = call.rows()
        except psycopg.Error as error:
            history.errors[number] = str(error)
        else:
            history.answers.setdefault(number, rows)
