"""The actors of a run: processes that are hired, killed, stopped past their lease and retired."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

# An actor finds the code that the runner runs, and no other that may be installed.
ROOT = Path(__file__).parents[2]
PATIENCE = 60.0  # for an actor that is told to go home


@dataclass(slots=True)
class Actor:
    """A place in the crew; who takes the place of a killed one has a name of its own."""

    role: str
    place: str
    hired: int = 0
    process: subprocess.Popen[bytes] | None = None
    paused: bool = False

    @property
    def name(self) -> str:
        return f"{self.place}-{self.hired}"

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)


@dataclass(slots=True)
class Crew:
    """All actors; `problems` names those that ended without being asked to."""

    url: str
    folder: Path
    seed: int
    actors: list[Actor] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def hire_all(self, sizes: dict[str, int]) -> None:
        """Fill every place."""
        for role, size in sizes.items():
            for number in range(1, size + 1):
                actor = Actor(role, f"{role}{number}")
                self.actors.append(actor)
                self.hire(actor)

    def hire(self, actor: Actor) -> None:
        """Start a process in this place."""
        actor.hired += 1
        actor.paused = False
        module = ["-m", "tests.chaos.actor", actor.role, self.url, actor.name]
        with self.errors(actor).open("ab") as errors:
            actor.process = subprocess.Popen(
                [sys.executable, *module, str(self.folder), str(self.seed)],
                stdin=subprocess.PIPE,
                stdout=errors,
                stderr=errors,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )

    def errors(self, actor: Actor) -> Path:
        """Return where an actor's warnings go."""
        return self.folder / f"{actor.name}.err"

    def of(self, *roles: str) -> list[Actor]:
        return [actor for actor in self.actors if actor.role in roles]

    def kill(self, actor: Actor) -> None:
        """SIGKILL, and hire another."""
        self.look_after([actor])
        _end(actor)
        self.hire(actor)

    def pause(self, actor: Actor) -> None:
        actor.send(signal.SIGSTOP)
        actor.paused = True

    def resume(self, actor: Actor) -> None:
        actor.send(signal.SIGCONT)
        actor.paused = False

    def look_after(self, actors: Iterable[Actor]) -> None:
        """Note who ended on his own, and replace him."""
        for actor in actors:
            if actor.process is not None and (code := actor.process.poll()) is not None:
                self._note(actor, f"ended with {code}")
                _end(actor)
                self.hire(actor)

    def retire(self, *roles: str) -> None:
        """Let these finish what they hold; whoever does not end well is a problem."""
        leaving = self.of(*roles)
        self.look_after(leaving)
        for actor in leaving:
            self.resume(actor)
            actor.send(signal.SIGTERM)
        deadline = time.monotonic() + PATIENCE
        for actor in leaving:
            assert actor.process is not None
            try:
                code = actor.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._note(actor, f"did not go home within {PATIENCE:g} s")
            else:
                # Told before it could listen, it goes home without a word.
                if code not in (0, -signal.SIGTERM):
                    self._note(actor, f"ended with {code}")
            _end(actor)
            self.actors.remove(actor)

    def disband(self) -> None:
        """Kill whoever is left."""
        for actor in self.actors:
            _end(actor)

    def _note(self, actor: Actor, what: str) -> None:
        last = self.errors(actor).read_text(errors="replace").strip().splitlines()[-1:]
        self.problems.append(f"no_lost_actor: {actor.name} {what}: {''.join(last)}")


def _end(actor: Actor) -> None:
    if actor.process is not None:
        actor.process.kill()
        actor.process.wait()
        if actor.process.stdin is not None:
            actor.process.stdin.close()
