"""The one thread that calls the terminal, what it has to do in order of importance, and its end.

A call that hangs cannot be ended. It is given up, so that whoever waits can go on; and once it has
hung for some looks in a row, the thread is left to itself and another one, with a connection of its
own, takes its place.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Generic, TypeVar

from forex_agent.clock import elapsed
from forex_agent.terminal import NotSent, Status, Terminal, TerminalError

log = logging.getLogger("forex_agent.hands")

T = TypeVar("T")


class Rank(IntEnum):
    """What goes first."""

    CONNECT = 0
    ORDER = 1
    TRACE = 2
    READ = 3
    PRICES = 4


class Hung(TerminalError):
    """The call began and has not come back; whether it did anything nobody can say."""


@dataclass(order=True, slots=True)
class Call(Generic[T]):
    """Something for the terminal to do; `began` is `elapsed()` when its turn came."""

    rank: Rank
    number: int
    do: Callable[[Terminal], T] = field(compare=False)
    future: Future[T] = field(compare=False, default_factory=Future)
    began: float | None = field(compare=False, default=None)

    def run(self, terminal: Terminal) -> None:
        """Do it, unless nobody waits for it any more."""
        if not self.future.set_running_or_notify_cancel():
            return
        self.began = elapsed()
        try:
            self.future.set_result(self.do(terminal))
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever asked
            self.future.set_exception(error)


class Hands:
    """Calls one terminal; `call` from the event loop, `watch` beside it, `close` at the end."""

    def __init__(
        self,
        make: Callable[[], Terminal],
        *,
        call_seconds: float,
        check_seconds: float,
        dead_checks: int,
    ) -> None:
        """`make` gives a terminal that is not connected yet; the thread that uses it calls it."""
        self._make = make
        self._call_seconds = call_seconds
        self._check_seconds = check_seconds
        self._dead_checks = dead_checks
        self._queue: queue.PriorityQueue[Call[object]] = queue.PriorityQueue()
        self._numbers = itertools.count()
        self._crew: _Crew | None = None
        self.status: Status | None = None
        """How the terminal was when it was last looked at; None where it does not answer."""
        self.changed: Callable[[], object] = lambda: None
        """Called when the terminal came or went, or AutoTrading was switched."""
        self.replaced = 0
        """How often a thread that hung was left to itself."""

    @property
    def waiting(self) -> int:
        """How many calls wait for their turn."""
        return self._queue.qsize()

    def start(self) -> None:
        """Begin, with a connection; one that fails is tried again by `watch`."""
        self._crew = _Crew(self._make, self._queue)
        self._put(_connect, Rank.CONNECT)

    def submit(self, do: Callable[[Terminal], T], rank: Rank) -> Call[T]:
        """Have something done when its turn comes."""
        return self._put(do, rank)

    async def call(self, do: Callable[[Terminal], T], rank: Rank) -> T:
        """Have something asked and return the answer; raises `TerminalError` alone.

        `NotSent` (`timeout`) where its turn never came, `Hung` where it began and does not end. A
        mistake of the driver ends this question, not the agent.
        """
        try:
            return await self.outcome(self.submit(do, rank))
        except TerminalError:
            raise
        except Exception as error:
            log.exception("a question to the terminal failed")
            raise NotSent("rejected", f"the terminal failed: {error!r}") from error

    async def outcome(self, call: Call[T]) -> T:
        """Wait for a call, within its time limit; raises what it raises."""
        waiting = asyncio.wrap_future(call.future)
        began = elapsed()
        while True:
            left = (call.began or began) + self._call_seconds - elapsed()
            if left <= 0:
                break
            await asyncio.wait({waiting}, timeout=left)
            if waiting.done():
                return waiting.result()
        waiting.add_done_callback(_look_away)
        if call.future.cancel():
            raise NotSent("timeout", "the terminal did not get to it in time")
        raise Hung(f"the terminal has not answered for {self._call_seconds:g} s")

    async def watch(self) -> None:
        """Look after the terminal for ever: connect again, and replace a thread that hangs."""
        dead = 0
        before = None
        while True:
            dead = dead + 1 if self._hangs() else 0
            if dead >= self._dead_checks:
                self._replace()
                dead = 0
            elif not dead:
                await self._look()
            else:
                self.status = None
            now = self.status and (self.status.connected, self.status.trade_allowed)
            if now != before:
                before = now
                self.changed()
            await asyncio.sleep(self._check_seconds)

    def close(self, patience: float) -> None:
        """Let go of the terminal; a thread that hangs is left behind."""
        if self._crew is not None:
            self._put(lambda terminal: terminal.close(), Rank.CONNECT)
            self._crew.leave(self._put)
            self._crew.thread.join(patience)

    def _put(self, do: Callable[[Terminal], T], rank: Rank) -> Call[T]:
        call = Call(rank, next(self._numbers), do)
        self._queue.put(call)  # type: ignore[arg-type]  # a Call[T] is a Call[object]: it is only run
        return call

    def _hangs(self) -> bool:
        began = self._crew.busy_since if self._crew else None
        return began is not None and elapsed() - began > self._call_seconds

    def _replace(self) -> None:
        log.error("the terminal hangs: another connection takes its place")
        if self._crew is not None:
            self._crew.left = True
        self.replaced += 1
        self.start()

    async def _look(self) -> None:
        try:
            self.status = await self.call(lambda terminal: terminal.status(), Rank.READ)
            if not self.status.connected:
                await self.call(_connect, Rank.READ)
                log.info("the terminal is connected")
        except TerminalError as error:
            log.warning("the terminal is away: %s", error)


class _Crew:
    """A thread with a terminal of its own."""

    def __init__(
        self, make: Callable[[], Terminal], calls: queue.PriorityQueue[Call[object]]
    ) -> None:
        self._make = make
        self._calls = calls
        self.busy_since: float | None = elapsed()
        self.left = False
        # A daemon: a call that hangs must not keep the process alive.
        self.thread = threading.Thread(target=self._work, name="terminal", daemon=True)
        self.thread.start()

    def leave(self, put: Callable[[Callable[[Terminal], None], Rank], object]) -> None:
        """End after what is at work now."""

        def end(_: Terminal) -> None:
            self.left = True

        put(end, Rank.CONNECT)

    def _work(self) -> None:
        try:
            terminal = self._make()
        except Exception:
            log.exception("there is no terminal")  # the thread counts as hung: it is replaced
            return
        while not self.left:  # only a call can take long enough for another to take over
            self.busy_since = None
            call = self._calls.get()
            self.busy_since = elapsed()
            call.run(terminal)


def _connect(terminal: Terminal) -> None:
    try:
        terminal.connect()
    except TerminalError as error:
        log.warning("the terminal cannot be connected: %s", error)


def _look_away(future: asyncio.Future[T]) -> None:
    """Take note of the late outcome of a call that nobody waits for: it would be logged."""
    if not future.cancelled():
        future.exception()
