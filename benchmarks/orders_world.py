"""What the orders benchmark measures: the service, its agents with accounts, and what they use."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import httpx
import psycopg

from api import tokens
from api.agent_process import keep_key, start_agent
from api.commands import migrate
from api.embedded import EmbeddedValkey
from benchmarks.cpu import tree_cpu
from benchmarks.database import Database, database
from benchmarks.scenario import Lab
from benchmarks.service import SECRET, service
from jobengine.embedded.lock import FolderLock


@dataclass(frozen=True, slots=True)
class Spent:
    """Processor seconds; None: cannot tell."""

    service: float | None
    agents: float | None
    server: float | None

    def since(self, before: Spent) -> Spent:
        """Return what was spent from then on."""
        return Spent(
            _difference(self.service, before.service),
            _difference(self.agents, before.agents),
            _difference(self.server, before.server),
        )


@dataclass(frozen=True, slots=True)
class World:
    """A service that runs, a user, and accounts of his, each with an agent at work."""

    database: Database
    address: str
    token: str
    accounts: Sequence[UUID]
    service_pid: int
    agent_pids: Sequence[int]

    def spent(self) -> Spent:
        """Return what all processes have spent so far; the agents' in sum."""
        agents = [tree_cpu(pid) for pid in self.agent_pids]
        return Spent(
            tree_cpu(self.service_pid),
            sum(seconds for seconds in agents if seconds is not None),
            tree_cpu(self.database.server.pid),
        )


@contextmanager
def world(lab: Lab, agents: int) -> Iterator[World]:
    """Run all of it as long as the block lasts."""
    with ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="jobengine-bench-"))
        folder = Path(name)
        folder.chmod(0o755)
        valkey = stack.enter_context(EmbeddedValkey(folder))
        target = stack.enter_context(database(lab.server))
        asyncio.run(migrate(target.url))
        token = _user(target.url)
        pid, address = stack.enter_context(service(target.url, valkey.url))
        with httpx.Client(
            base_url=f"{address}/api/v1", headers={"Authorization": f"Bearer {token}"}
        ) as http:
            http.post("/onboarding/complete").raise_for_status()
            manned = [
                _agent(stack, http, address, folder / f"agent-{n}", f"account {n}")
                for n in range(agents)
            ]
        accounts, pids = [account for account, _ in manned], [pid for _, pid in manned]
        yield World(target, address, token, accounts, pid, pids)


def _user(url: str) -> str:
    with psycopg.connect(url) as conn:
        conn.execute("set local role service_role")
        row = conn.execute("select public.user_add('a@example.org')").fetchone()
    assert row
    return tokens.issue(SECRET, row[0], "a@example.org", 24 * 3600)


def _agent(
    stack: ExitStack, http: httpx.Client, address: str, state: Path, name: str
) -> tuple[UUID, int]:
    """Add an account and start its agent; return the account's id and the agent's pid."""
    made = http.post("/broker-connections", json={"name": name}).raise_for_status().json()
    asked = {"name": name, "broker_connection_id": made["id"]}
    paired = http.post("/agents/pair", json=asked).raise_for_status().json()
    keep_key(state, paired["agent_key"])
    lock = FolderLock(state / "lock")
    assert lock.try_acquire()
    stack.callback(lock.release)
    running = start_agent(state, UUID(paired["agent_id"]), address, lock, {"symbols": "EURUSD"})
    stack.callback(running.stop)
    return UUID(made["id"]), running.pid


def _difference(after: float | None, before: float | None) -> float | None:
    return None if after is None or before is None else after - before
