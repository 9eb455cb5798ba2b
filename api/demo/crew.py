"""The agents' processes: started, one killed in the middle of orders, all ended with the demo."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Self
from uuid import UUID

from api import commands
from api.agent_process import start_agent
from api.demo.servers import Platform
from api.demo.world import Agent, World
from jobengine.embedded.supervisor import ChildServer


class Crew:
    """One process per agent; they end when this one does, however that happens."""

    def __init__(self, platform: Platform, world: World) -> None:
        """Nothing is started before `with`."""
        self._platform = platform
        self._world = world
        self._servers: dict[UUID, ChildServer] = {}

    def __enter__(self) -> Self:
        try:
            for agent in self._world.agents:
                self.start(agent)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Let the agents finish what they hold, and end those who cannot."""
        with ExitStack() as stack:
            for server in self._servers.values():
                stack.callback(server.stop)
                if server.alive():  # all together: each takes its time
                    os.kill(server.pid, signal.SIGTERM)

    def start(self, agent: Agent) -> None:
        """Start the agent's process."""
        settings = {
            "symbols": ",".join(agent.symbols),
            "simulated_seed": str(agent.seed),
            "deals_seconds": "0.5",  # so that the demo's end need not wait for a look at the book
        }
        if agent.data is not None:
            settings["simulated_data"] = str(agent.data)
        self._servers[agent.agent_id] = start_agent(
            agent.state, agent.agent_id, self._platform.url, self._platform.lock, settings
        )

    def check(self) -> None:
        """Raise `Refused` where an agent ended that nobody killed."""
        for server in self._servers.values():
            if server.returncode is not None:
                problem = f"{server.spec.name} ended with {server.returncode}"
                raise commands.Refused(f"{problem}\n{server.log_tail()}")

    def kill(self, agent: Agent, still: Callable[[], bool]) -> bool:
        """SIGKILL the agent; False where the fact that calls for it is over.

        It is stopped first, so that nothing changes between the look and the kill.
        """
        server = self._servers[agent.agent_id]
        os.kill(server.pid, signal.SIGSTOP)
        if not still():
            os.kill(server.pid, signal.SIGCONT)
            return False
        server.kill()
        self._servers.pop(agent.agent_id).stop()
        return True

    def log(self) -> str:
        """Return what the agents have logged."""
        paths: list[Path] = [agent.state / "agent.log" for agent in self._world.agents]
        return "\n".join(path.read_text(errors="replace") for path in paths)
