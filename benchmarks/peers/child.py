"""A side's program as a process of its own, which says and is told lines of JSON."""

from __future__ import annotations

import json
import queue
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Self

from benchmarks.peers.environment import Environment
from benchmarks.peers.side import Side

PATIENCE = 120.0  # seconds without a word, or without a job
_TAIL = 2000


class SideFailed(Exception):
    """A side's program ended, or stood still; the others are measured all the same."""


@dataclass(frozen=True, slots=True)
class Tick:
    """How far a worker process is; seconds of the machine's monotonic clock."""

    calls: int = 0
    first: float = 0.0
    last: float = 0.0


class Child:
    """It ends with the block, and with this process, whose end it sees on its stdin."""

    def __init__(self, environment: Environment, side: Side, role: str, url: str) -> None:
        """Start it; `role` is one of those in scripts/contract.py."""
        self.side = side
        self.tick = Tick()
        self.first_tick: Tick | None = None
        self.versions: dict[str, str] = {}
        self.answers: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._errors = tempfile.TemporaryFile("w+b")  # noqa: SIM115 - as long as the process
        flavour = [side.flavour] if side.flavour else []
        self._process = subprocess.Popen(
            [*environment.command(side), role, url, *flavour],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment.variables,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for file in (self._process.stdin, self._process.stdout, self._errors):
            if file is not None:
                _close(file)

    def tell(self, **message: Any) -> None:
        """Send a line."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self.failed("it ended") from None

    def answer(self, patience: float = PATIENCE) -> dict[str, Any]:
        """Return the next line that is not about the progress of work."""
        try:
            answer = self.answers.get(timeout=patience)
        except queue.Empty:
            raise self.failed(f"no answer within {patience:.0f} s") from None
        if answer is None:
            raise self.failed("it ended")
        return answer

    def ask(self, **message: Any) -> dict[str, Any]:
        """Send a line and return its answer."""
        self.tell(**message)
        return self.answer()

    def orphan(self) -> None:
        """Leave it to itself, as a harness that dies does."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def wait(self) -> None:
        """Wait until it has ended by itself, well."""
        if (code := self._process.wait(PATIENCE)) != 0:
            raise self.failed(f"exit code {code}")

    def ended(self) -> bool:
        return self._process.poll() is not None

    def failed(self, why: str) -> SideFailed:
        """Return the error with the end of what the process wrote on stderr."""
        self._errors.seek(0)
        said = self._errors.read()[-_TAIL:].decode(errors="replace").strip()
        return SideFailed(f"{self.side.name}: {why}" + (f": {said}" if said else ""))

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message = json.loads(line)
            if "calls" in message:
                self.tick = Tick(**message)
                self.first_tick = self.first_tick or self.tick
            else:
                self.answers.put(message)
        self.answers.put(None)


def _close(file: Any) -> None:
    with suppress(BrokenPipeError):  # a line that nobody was left to read
        file.close()


class Team:
    """Worker processes of one side, which begin together."""

    def __init__(self, members: list[Child]) -> None:
        """All of them are ready."""
        self._members = members

    def go(self, *, record: bool = False) -> None:
        """Begin; `record`: note when each job was seen."""
        for child in self._members:
            child.tell(record=record)

    @property
    def calls(self) -> int:
        return sum(child.tick.calls for child in self._members)

    def until(self, jobs: int) -> None:
        """Wait for so many calls of the handlers."""
        before, deadline = -1, 0.0
        while (calls := self.calls) < jobs:
            now = time.monotonic()
            if calls > before:
                before, deadline = calls, now + PATIENCE
            self.look(late=now > deadline, told=f"{calls} of {jobs} jobs were run")
            time.sleep(0.002)

    def look(self, *, late: bool, told: str) -> None:
        """Refuse to wait for the dead."""
        for child in self._members:
            if late or child.ended():
                raise child.failed(told)

    def rate(self) -> float:
        """Calls a second of one process between its first and its last word.

        From first to last call would not do: of several batches one would cost nothing.
        """
        (child,) = self._members
        first, last = child.first_tick, child.tick
        if first is None or last.last <= first.last:
            raise child.failed("it ran too few jobs to tell a rate")
        return (last.calls - first.calls) / (last.last - first.last)

    def report(self) -> tuple[Tick, float, Mapping[int, float]]:
        """All together: calls, first and last of them; CPU seconds; when each job was seen."""
        for child in self._members:
            child.tell(report=True)
        told = [child.answer() for child in self._members]
        ticks = [child.tick for child in self._members if child.tick.calls]
        total = Tick(
            sum(tick.calls for tick in ticks),
            min((tick.first for tick in ticks), default=0.0),
            max((tick.last for tick in ticks), default=0.0),
        )
        seen = {int(number): at for answer in told for number, at in answer["seen"]}
        return total, sum(answer["cpu"] for answer in told), seen


@contextmanager
def team(environment: Environment, side: Side, url: str, processes: int) -> Iterator[Team]:
    """Yield worker processes that are connected and wait for the word."""
    with ExitStack() as stack:
        members = [
            stack.enter_context(Child(environment, side, "work", url)) for _ in range(processes)
        ]
        for child in members:
            child.answer()
        yield Team(members)


@contextmanager
def producer(environment: Environment, side: Side, url: str) -> Iterator[Child]:
    """Yield a process that enqueues."""
    with Child(environment, side, "produce", url) as child:
        child.versions = child.answer()["ready"]
        yield child
