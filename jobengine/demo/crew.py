"""The demo's worker processes: started, killed in the middle of jobs, and replaced."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Self
from uuid import UUID


class Crew:
    """A number of worker processes that is kept up; all of them end with the parent."""

    def __init__(self, url: str, run: UUID, size: int) -> None:
        """Nothing is started before `with`."""
        # Byte code that the workers wrote would be new files in the tree that they hash.
        self._environment = {**os.environ, "DATABASE_URL": url, "PYTHONDONTWRITEBYTECODE": "1"}
        self._run = run
        self._size = size
        self._hired = 0
        self._workers: dict[str, subprocess.Popen[bytes]] = {}
        self.kills = 0
        self.deaths: list[str] = []

    def __enter__(self) -> Self:
        """Start the workers."""
        self.keep_up()
        return self

    def __exit__(self, *_: object) -> None:
        """Let the workers finish what they hold, and end those who cannot."""
        for worker in self._workers.values():
            worker.terminate()
        for worker in self._workers.values():
            try:
                worker.wait(timeout=20)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()

    def keep_up(self) -> None:
        """Replace workers that are gone; one that was not killed by us is noted as a death."""
        for agent, worker in list(self._workers.items()):
            if worker.poll() is not None:
                self.deaths.append(f"{agent} ended with {worker.returncode}")
                del self._workers[agent]
        while len(self._workers) < self._size:
            self._hired += 1
            agent = f"demo-{self._hired}"
            self._workers[agent] = subprocess.Popen(
                [sys.executable, "-m", "jobengine.demo.worker", str(self._run), agent],
                env=self._environment,
                stdin=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is the parent's; it ends the workers in order
            )

    def kill_one(self, chance: random.Random, holds_jobs: Callable[[str], bool]) -> bool:
        """SIGKILL a worker that holds jobs; False where none does at the moment.

        It is stopped first, so that it cannot finish them between the look and the kill.
        """
        agents = sorted(self._workers)
        chance.shuffle(agents)
        for agent in agents:
            worker = self._workers[agent]
            if worker.poll() is not None:
                continue
            worker.send_signal(signal.SIGSTOP)
            if holds_jobs(agent):
                worker.kill()
                worker.wait()
                del self._workers[agent]
                self.kills += 1
                return True
            worker.send_signal(signal.SIGCONT)
        return False
