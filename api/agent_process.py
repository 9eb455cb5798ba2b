"""A simulated agent as a child: `python -m forex_agent run`, which ends with this process.

It is the agent that users run. It is told by the environment who it is and where the service is;
its key is in a file for its owner only, and it gets no URL of a database and no secret.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from uuid import UUID

from forex_agent import secret
from forex_agent.simulated import BrokenLine, Replay

from api import commands
from api.settings import SettingsError
from jobengine.embedded.lifeline import Steps
from jobengine.embedded.lock import FolderLock
from jobengine.embedded.supervisor import ChildServer, ServerSpec

AGENT = Path(__file__).resolve().parents[1] / "agent"
KEY_FILE = "agent.key"
STEPS: Steps = ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0))
UNKNOWN_TO_IT = ("DATABASE_URL", "REDIS_URL", "SUPABASE_JWT_SECRET", "PGPASSWORD")


def keep_key(state: Path, key: str) -> None:
    """Make the agent's state folder, with its key in it."""
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    secret.write(state / KEY_FILE, key)


def kept_key(state: Path) -> str | None:
    """Return the key of the state folder, if there is one that nobody else can read."""
    try:
        return secret.read(state / KEY_FILE)
    except secret.Exposed:
        return None


def market_data(environment: Mapping[str, str]) -> Path | None:
    """Return the folder of recorded prices that `MARKET_DATA_DIR` names, if it does."""
    told = environment.get("MARKET_DATA_DIR")
    if told and not Path(told).is_dir():
        raise SettingsError(f"MARKET_DATA_DIR is a folder of recorded prices, not {told!r}.")
    return Path(told).resolve() if told else None


def recorded_symbols(data: Path) -> list[str]:
    """Return what the folder has prices of; `Refused` names a line that cannot be read."""
    try:
        return sorted(Replay(data).specs)
    except (BrokenLine, OSError, ValueError) as error:
        raise commands.Refused(f"MARKET_DATA_DIR: {error}") from error


def start_agent(
    state: Path, agent_id: UUID, url: str, lock: FolderLock, settings: Mapping[str, str]
) -> ChildServer:
    """Start the agent of that state folder; `settings` are those of docs/agent.md, by name."""
    told = {
        "state": str(state),
        "service_url": url,
        "agent_id": str(agent_id),
        "key_file": KEY_FILE,
        "terminal": "simulated",
        **settings,
    }
    spec = ServerSpec(
        name=f"the agent in {state.name}",
        command=(sys.executable, "-m", "forex_agent", "run"),
        home=state.resolve(),
        log=state / "agent.log",
        steps=STEPS,
        environment={
            **dict.fromkeys(UNKNOWN_TO_IT, ""),
            **{f"FOREX_AGENT_{name.upper()}": value for name, value in told.items()},
            "PYTHONPATH": str(AGENT),
        },
    )
    server = ChildServer(spec, lock)
    server.start(ready=lambda _: True, timeout=1.0)
    return server
