"""A service in its own process, on real servers, and the people and agents who call it."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psycopg
from psycopg.rows import dict_row

from api import tokens

SECRET = "the secret of these tests, 32 bytes and more"
PATIENCE = 60.0
Json = Any
# Where a test is not about them: a machine that stands still for seconds is no agent that is away,
# and no Redis that hangs.
PATIENT: Mapping[str, float] = {
    "api.reads.WAIT_SECONDS": 30.0,
    "api.candles.WAIT_SECONDS": 30.0,
    "api.operations.READY_SECONDS": 30.0,
    "api.redis_store.TIMEOUT": 30.0,
    "api.redis_store.QUIET_SECONDS": 30.0,
    "api.stream.reader.TIMEOUT": 30.0,
    "api.stream.reader.QUIET_SECONDS": 30.0,
}
# Less than the five seconds after which uvicorn closes an idle connection: a request must not meet
# its closing.
KEPT_SECONDS = 1.0


class Service:
    """`python -m api serve`, with other limits where some are given, and what it prints."""

    def __init__(
        self,
        database_url: str,
        redis_url: str,
        limits: Mapping[str, float] | None = None,
        /,
        **variables: str,
    ) -> None:
        self.database_url = database_url
        self._module = "tests.api.patient" if limits else "api"
        self._environment = {
            **os.environ,
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "SUPABASE_JWT_SECRET": SECRET,
            "AGENT_KEY_BCRYPT_COST": "4",
            "AGENT_KEY_FAILURES": "1000",
            "PORT": "0",
            "LIMITS": json.dumps(limits or {}),
            **variables,
        }
        self.log = tempfile.TemporaryFile("w+b")  # noqa: SIM115 - as long as the process
        self.process = self._start()
        self.address = self._address()
        kept = httpx.Limits(keepalive_expiry=KEPT_SECONDS)
        self.http = httpx.Client(base_url=self.address, timeout=PATIENCE, limits=kept)

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", self._module, "serve"]
        return subprocess.Popen(command, env=self._environment, stdout=self.log, stderr=self.log)

    def _address(self) -> str:
        """Wait until it says where it listens."""
        pause = threading.Event()
        while not (found := re.search(r"http://127\.0\.0\.1:\d+", self.printed())):
            assert self.process.poll() is None, self.printed()
            pause.wait(0.02)
        return found[0]

    def printed(self) -> str:
        """Return what the process has printed so far."""
        position = self.log.seek(0, os.SEEK_CUR)
        self.log.seek(0)
        text = self.log.read().decode()
        self.log.seek(position)
        return text

    def stop(self) -> str:
        """End it as an operator does; return what it printed."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE)
        return self.printed()

    def close(self) -> None:
        self.http.close()
        self.process.kill()
        self.process.wait(PATIENCE)
        self.log.close()

    def user(self, *, onboarded: bool = True) -> User:
        """Return a new user."""
        email = f"{secrets.token_hex(6)}@example.org"
        with psycopg.connect(self.database_url) as conn:
            conn.execute("set local role service_role")
            row = conn.execute("select public.user_add(%s)", (email,)).fetchone()
        assert row
        user = User(self, row[0], tokens.issue(SECRET, row[0], email, 3600))
        if onboarded:
            assert user.post("/api/v1/onboarding/complete").status_code == 200
        return user

    def rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        """Ask the database itself."""
        with psycopg.connect(self.database_url, autocommit=True, row_factory=dict_row) as conn:
            return conn.execute(query.encode(), values).fetchall()


@contextmanager
def serving(
    database_url: str,
    redis_url: str,
    limits: Mapping[str, float] | None = None,
    /,
    **variables: str,
) -> Iterator[Service]:
    service = Service(database_url, redis_url, limits, **variables)
    try:
        yield service
    finally:
        service.close()


@dataclass
class Caller:
    """Somebody who calls with a header of his own."""

    service: Service

    @property
    def headers(self) -> Mapping[str, str]:
        raise NotImplementedError

    def get(self, path: str, **query: str | float) -> httpx.Response:
        return self.service.http.get(path, headers=self.headers, params=query or None)

    def post(self, path: str, body: Json = None) -> httpx.Response:
        return self.service.http.post(path, headers=self.headers, json=body)

    def patch(self, path: str, body: Json) -> httpx.Response:
        return self.service.http.patch(path, headers=self.headers, json=body)

    def delete(self, path: str) -> httpx.Response:
        return self.service.http.delete(path, headers=self.headers)


@dataclass
class User(Caller):
    """A user with a token."""

    user_id: UUID
    token: str

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def pair(self, name: str | None = None, **more: Json) -> Agent:
        """Return a new agent."""
        body = {"name": name or secrets.token_hex(6), **more}
        paired = self.post("/api/v1/agents/pair", body)
        assert paired.status_code == 201, paired.text
        found = paired.json()
        return Agent(self.service, UUID(found["agent_id"]), found["agent_key"])

    def enqueue(self, job_type: str = "get_positions", **body: Json) -> UUID:
        """Put a job in and return its id."""
        created = self.post("/api/v1/jobs", {"job_type": job_type, **body})
        assert created.status_code == 201, created.text
        return UUID(created.json()["job_id"])

    def job(self, job_id: UUID) -> Json:
        return self.get(f"/api/v1/jobs/{job_id}").json()


@dataclass
class Agent(Caller):
    """An agent with its key."""

    agent_id: UUID
    key: str
    path: str = field(init=False)

    def __post_init__(self) -> None:
        self.path = f"/api/v1/agents/{self.agent_id}"

    @property
    def headers(self) -> Mapping[str, str]:
        return {"X-Agent-Key": self.key}

    def next(self, **query: str | float) -> Json:
        """Ask for a job."""
        answer = self.get(f"{self.path}/jobs/next", **query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def result(self, job_id: object, **body: Json) -> httpx.Response:
        return self.post(f"{self.path}/jobs/{job_id}/result", {"status": "completed", **body})


def until(fact: Callable[[], bool]) -> None:
    """Return once it is so; fail where it never will be."""
    deadline = time.monotonic() + PATIENCE
    pause = threading.Event()
    while not fact():
        assert time.monotonic() < deadline, "what was waited for did not come"
        pause.wait(0.01)  # whoever is to bring it about needs the processor


def problem(answer: httpx.Response) -> tuple[int, str]:
    """Return status and short code of a refusal, after a look at its shape."""
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["code"] == body["detail"]
    assert body["status"] == answer.status_code
    assert body["request_id"] == answer.headers["x-request-id"]
    return answer.status_code, body["detail"]


@contextmanager
def server_folder() -> Iterator[Path]:
    """A folder that other users reach too: as root the servers run as one of them."""
    with tempfile.TemporaryDirectory(prefix="api-tests-", ignore_cleanup_errors=True) as made:
        Path(made).chmod(0o755)
        yield Path(made)
