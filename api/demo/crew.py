"""The agents' processes: started, one killed in the middle of a job, all ended with the demo."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Self
from uuid import UUID

from api import commands
from api.demo.servers import CHECKOUT, Platform
from api.demo.world import Agent, World

END_SECONDS = 20.0


class Crew:
    """One process per agent; they end when this one does, however that happens."""

    def __init__(self, platform: Platform, world: World, seed: int) -> None:
        """Nothing is started before `with`."""
        self._platform = platform
        self._world = world
        self._seed = seed
        self._processes: dict[UUID, subprocess.Popen[str]] = {}
        self.kills = 0

    def __enter__(self) -> Self:
        for agent in self._world.agents:
            self.start(agent)
        return self

    def __exit__(self, *_: object) -> None:
        """Let the agents finish what they hold, and end those who cannot."""
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(timeout=END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            finally:
                _close(process)

    def journal(self, agent: Agent) -> Path:
        return self._platform.folder / f"{agent.name}.journal"

    def start(self, agent: Agent) -> None:
        """Start the agent's process; what it must know comes by a pipe, as it holds the key."""
        told = {
            "url": self._platform.url,
            "agent_id": str(agent.agent_id),
            "agent_key": self._world.keys[agent.agent_id],
            "journal": str(self.journal(agent)),
            "seed": f"{self._seed}/{agent.name}",
            "symbols": agent.symbols,
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "api.demo.agent"],
            stdin=subprocess.PIPE,
            env={"PYTHONPATH": str(CHECKOUT)},  # no database, no secret
            text=True,
            start_new_session=True,  # Ctrl-C is the parent's; it ends the agents in order
        )
        self._processes[agent.agent_id] = process
        assert process.stdin is not None
        process.stdin.write(f"{json.dumps(told)}\n")
        process.stdin.flush()

    def check(self) -> None:
        """Raise `Refused` where an agent ended that nobody killed."""
        for agent in self._world.agents:
            code = self._processes[agent.agent_id].poll()
            if code is not None:
                raise commands.Refused(f"the agent {agent.name} ended with {code}")

    def kill(self, agent: Agent, still: Callable[[], bool]) -> bool:
        """SIGKILL the agent; False where the fact that calls for it is over.

        It is stopped first, so that nothing changes between the look and the kill.
        """
        process = self._processes[agent.agent_id]
        process.send_signal(signal.SIGSTOP)
        if not still():
            process.send_signal(signal.SIGCONT)
            return False
        process.kill()
        process.wait()
        _close(process)
        self.kills += 1
        return True


def _close(process: subprocess.Popen[str]) -> None:
    if process.stdin is not None:
        process.stdin.close()
