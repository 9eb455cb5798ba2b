"""Where runs take place: a service that is kept alive, and an account of its own for each run."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import httpx
import psycopg
from forex_agent import pairing

from api import tokens
from tests.faults.trades.keeper import Keeper
from tests.faults.trades.run import Account, Deaths, Result, run

SECRET = "the secret of these runs, 32 bytes and more"
PATIENCE = 60.0
LOOK_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Place:
    """A service that runs, and the folder for what happens."""

    service: Keeper
    url: str
    database_url: str
    folder: Path

    def run(self, seed: str, deaths: Deaths) -> Result:
        """Do one run with a user, an account and an agent of its own."""
        self._answering()
        account = self._account(seed)
        return run(
            seed,
            service=self.service,
            url=self.url,
            database_url=self.database_url,
            account=account,
            deaths=deaths,
        )

    def _answering(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                if httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            assert not self.service.broken, self.service.printed()
            assert time.monotonic() < deadline, self.service.printed()
            time.sleep(LOOK_SECONDS)

    def _account(self, seed: str) -> Account:
        user_id, token = self._user()
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=self.url, headers=headers) as http:
            http.post("/api/v1/onboarding/complete", json={}).raise_for_status()
            made = http.post("/api/v1/broker-connections", json={"name": "run"})
        state = self.folder / f"agent-{seed.replace('/', '-')}"
        paired = pairing.pair(
            state, self.url, token, name="run", broker_connection_id=made.json()["id"]
        )
        asyncio.run(paired)
        return Account(user_id=user_id, headers=headers, state=state)

    def _user(self) -> tuple[UUID, str]:
        email = f"{secrets.token_hex(6)}@example.org"
        with psycopg.connect(self.database_url) as conn:
            conn.execute("set local role service_role")
            row = conn.execute("select public.user_add(%s)", (email,)).fetchone()
        assert row is not None
        return row[0], tokens.issue(SECRET, row[0], email, 24 * 3600)


@contextmanager
def place(database_url: str, redis_url: str, folder: Path) -> Iterator[Place]:
    """Run the service as long as the block lasts, at one port through all its lives."""
    port = _free_port()
    environment = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "SUPABASE_JWT_SECRET": SECRET,
        "AGENT_KEY_BCRYPT_COST": "4",
        "PORT": str(port),
    }
    service = Keeper("service_process", ["serve"], environment, folder / "service.log")
    with service:
        yield Place(service, f"http://127.0.0.1:{port}", database_url, folder)


def _free_port() -> int:
    """Return a port that nobody gets by chance while the service is between two lives.

    Systems give out ports from 32768 or 49152 on to those who do not ask for one.
    """
    while True:
        port = 16_384 + secrets.randbelow(16_384)
        with socket.socket() as found, contextlib.suppress(OSError):
            found.bind(("127.0.0.1", port))
            return port
