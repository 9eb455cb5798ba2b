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

from api import commands
from api.demo.agent.client import Client, Unreachable
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
    url: str
    secret: str = field(repr=False)
    folder: Path
    log: Path


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
        settings = _settings(database_url, redis_url, secret)
        url = stack.enter_context(_service(settings, folder, lock))
        yield Platform(database_url, redis_url, url, secret, folder, folder / "service.log")


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


@contextmanager
def _service(settings: Mapping[str, str], folder: Path, lock: FolderLock) -> Iterator[str]:
    """Run `python -m api serve`, which ends with this process however that ends; yield its URL."""
    log = folder / "service.log"
    spec = ServerSpec(
        name="the service",
        command=(sys.executable, "-m", "api", "serve"),
        home=folder.resolve(),
        log=log,
        steps=STEPS,
        environment=settings,
    )
    began = time.monotonic()
    server = ChildServer(spec, lock)
    server.start(ready=lambda _: _ready(log), timeout=START_SECONDS)
    url = _address(log)
    seconds = time.monotonic() - began
    commands.say(f"the service (process {server.pid}) is ready at {url} after {seconds:.1f} s")
    try:
        yield url
    finally:
        server.stop()


def _ready(log: Path) -> bool:
    """Tell whether the service says where it listens, and is ready there."""
    url = _address(log)
    try:
        return bool(url) and Client(url, {}).get("/readyz").status == HTTPStatus.OK
    except Unreachable:
        return False


def _address(log: Path) -> str:
    found = LISTENING.search(log.read_text(errors="replace"))
    return found[1] if found else ""


def wait_for(fact: Callable[[], bool], seconds: float, what: str) -> None:
    """Look again and again until the fact is there; `Refused` names what was waited for."""
    deadline = time.monotonic() + seconds
    while not fact():
        if time.monotonic() > deadline:
            raise commands.Refused(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)
