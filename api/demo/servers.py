"""The demo's servers: database, price store, and the service in a process of its own."""

from __future__ import annotations

import asyncio
import re
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from api import commands
from jobengine.embedded.lifeline import Steps
from jobengine.embedded.lock import FolderLock
from jobengine.embedded.supervisor import ChildServer, ServerSpec

CHECKOUT = Path(__file__).resolve().parents[2]
START_SECONDS = 60.0
STEPS: Steps = ((signal.SIGTERM, 15.0), (signal.SIGKILL, 5.0))
LISTENING = re.compile(r"running on (http://[^ /]+:\d+)")


@dataclass(frozen=True, slots=True)
class Platform:
    """What runs, and where its traces are; `folder` is this run's own."""

    database_url: str
    redis_url: str
    service: Service
    secret: str = field(repr=False)
    folder: Path
    lock: FolderLock

    @property
    def url(self) -> str:
        """Where the service is."""
        return self.service.url


@contextmanager
def platform(environment: Mapping[str, str]) -> Iterator[Platform]:
    """Run all of it until the block ends; raises `Refused` where another demo has the folder.

    Servers that the environment names are used, others started below the data folder, in `demo`.
    What the run before left in `demo/run` is removed first, and what this one leaves stays.
    """
    data = commands.data_folder(environment) / "demo"
    data.mkdir(parents=True, exist_ok=True)
    lock = FolderLock(data / "demo.lock")
    if not lock.try_acquire():
        raise commands.Refused(f"{data} is in use by {lock.holder()}")
    own = {**environment, "JOBENGINE_DATA_DIR": str(data)}
    with ExitStack() as stack:
        stack.callback(lock.release)
        folder = _emptied(data / "run")
        commands.say("starting PostgreSQL and Valkey, unless they are given")
        database_url = stack.enter_context(commands.database(own))
        redis_url = stack.enter_context(commands.redis_server(own))
        commands.say("installing engine and platform")
        asyncio.run(commands.migrate(database_url))
        secret = secrets.token_urlsafe(48)
        service = Service(_settings(database_url, redis_url, secret), folder, lock)
        stack.callback(service.stop)
        service.start()
        yield Platform(database_url, redis_url, service, secret, folder, lock)


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    return folder


def _settings(database_url: str, redis_url: str, secret: str) -> dict[str, str]:
    """Return the service's variables; the demo issues the tokens itself, so nobody else does."""
    return {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "SUPABASE_JWT_SECRET": secret,
        "SUPABASE_JWKS_URL": "",
        "SUPABASE_JWT_ISSUER": "",
        "HOST": "127.0.0.1",
        "PORT": "0",
        "PYTHONPATH": str(CHECKOUT),
    }


class Service:
    """`python -m api serve`, which ends with this process however that ends."""

    def __init__(self, settings: Mapping[str, str], folder: Path, lock: FolderLock) -> None:
        """Nothing is started before `start`."""
        self._settings = dict(settings)
        self._folder = folder
        self._lock = lock
        self._server: ChildServer | None = None
        self.log = folder / "service.log"
        self.url = ""
        self.kills = 0

    def start(self) -> None:
        """Start it; returns when it is ready, always at the same address."""
        began = time.monotonic()
        self._server = ChildServer(self._spec(), self._lock)
        self._server.start(ready=lambda _: self._ready(), timeout=START_SECONDS)
        pid, seconds = self._server.pid, time.monotonic() - began
        commands.say(f"the service (process {pid}) is ready at {self.url} after {seconds:.1f} s")

    def kill(self) -> None:
        """SIGKILL it: whoever is connected loses the connection."""
        assert self._server is not None
        self._server.kill()
        self.kills += 1
        self.stop()
        self._settings["PORT"] = str(urlsplit(self.url).port)

    def stop(self) -> None:
        """End it in order, if it runs."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    def _spec(self) -> ServerSpec:
        return ServerSpec(
            name="the service",
            command=(sys.executable, "-m", "api", "serve"),
            home=self._folder.resolve(),
            log=self.log,
            steps=STEPS,
            environment=self._settings,
        )

    def _ready(self) -> bool:
        """Tell whether it says where it listens, and is ready there."""
        found = LISTENING.search(self.log.read_text(errors="replace"))
        if found is None:
            return False
        self.url = found[1]
        try:
            return httpx.get(f"{self.url}/readyz", trust_env=False).status_code == HTTPStatus.OK
        except httpx.HTTPError:
            return False


def wait_for(fact: Callable[[], bool], seconds: float, what: str) -> None:
    """Look again and again until the fact is there; `Refused` names what was waited for."""
    deadline = time.monotonic() + seconds
    while not fact():
        if time.monotonic() > deadline:
            raise commands.Refused(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)
