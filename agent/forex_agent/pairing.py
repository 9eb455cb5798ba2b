"""Makes a state folder for a new agent: configuration, and the key that is shown this once."""

from __future__ import annotations

import json
from pathlib import Path

from forex_agent import secret
from forex_agent.client import Client
from forex_agent.settings import FILE

KEY_FILE = "agent.key"


class NotPaired(Exception):
    """The service did not pair the agent; the message says why."""


async def pair(
    state: Path, url: str, token: str, *, name: str, broker_connection_id: str | None = None
) -> str:
    """Pair and return the agent's id; nothing is asked of the service before the folder is there.

    Raises `NotPaired`, `client.Unreachable`, `client.KeyRefused`, OSError.
    """
    _prepare(state)
    body = {"name": name, "broker_connection_id": broker_connection_id}
    async with Client(url, {"Authorization": f"Bearer {token}"}) as client:
        answer = await client.call("POST", "/api/v1/agents/pair", body)
    if not answer.ok:
        raise NotPaired(f"the service answered {answer.status}: {_why(answer.text)}")
    paired = answer.body
    secret.write(state / KEY_FILE, paired["agent_key"])
    _configure(state / FILE, url, paired["agent_id"])
    return str(paired["agent_id"])


def _prepare(state: Path) -> None:
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    if (state / KEY_FILE).exists():
        raise NotPaired(f"{state} has an agent already: choose another folder, or remove it")


def _configure(path: Path, url: str, agent_id: str) -> None:
    """Write who the agent is in front of what the file has."""
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    kept = [
        line for line in before.splitlines() if not line.startswith(("service_url", "agent_id"))
    ]
    # A JSON string is a TOML string.
    lines = [f"service_url = {json.dumps(url)}", f"agent_id = {json.dumps(agent_id)}", *kept]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _why(text: str) -> str:
    try:
        problem = json.loads(text)
        named = "; ".join(f"{one['field']}: {one['rule']}" for one in problem.get("errors", ()))
        return f"{problem['title']} {named}".strip()
    except (ValueError, KeyError, TypeError, AttributeError):
        return text[:200]
