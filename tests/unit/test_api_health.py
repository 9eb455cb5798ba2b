"""The service as a process: what a load balancer asks it, and what an operator does to it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from api.settings import Settings, SettingsError

SERVE = (sys.executable, "-m", "api", "serve")


@dataclass(frozen=True)
class Answer:
    """What came back over HTTP."""

    status: int
    media_type: str
    body: dict[str, Any]


@dataclass(frozen=True)
class Service:
    """A running service."""

    process: subprocess.Popen[str]
    address: str

    def get(self, path: str) -> Answer:
        try:
            response = urllib.request.urlopen(self.address + path, timeout=60)  # noqa: S310
        except urllib.error.HTTPError as error:
            response = error
        with response:
            body = json.loads(response.read())
            return Answer(response.status, response.headers["content-type"], body)


@contextmanager
def serving(database_url: str) -> Iterator[Service]:
    """Run the service on a port of its own choice until the block ends."""
    environment = {**os.environ, "DATABASE_URL": database_url, "PORT": "0"}
    with subprocess.Popen(SERVE, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield Service(process, announced_address(process))
        finally:
            process.kill()


def announced_address(process: subprocess.Popen[str]) -> str:
    """Read what the server logs until it says where it listens."""
    assert process.stderr
    for line in process.stderr:
        if found := re.search(r"http://127\.0\.0\.1:\d+", line):
            return found.group()
    pytest.fail("the service ended without having served")


@pytest.fixture(scope="module")
def service(database_url: str) -> Iterator[Service]:
    with serving(database_url) as running:
        yield running


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that refuses: it is bound, so nobody else takes it, and nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def test_service_says_that_it_serves(service: Service) -> None:
    assert service.get("/healthz") == Answer(200, "application/json", {"status": "ok"})


def test_service_is_ready_with_an_installed_engine(service: Service) -> None:
    assert service.get("/readyz") == Answer(200, "application/json", {"status": "ok"})


def test_service_without_an_engine_is_not_ready(empty_database_url: str) -> None:
    with serving(empty_database_url) as service:
        answer = service.get("/readyz")
    assert (answer.status, answer.media_type) == (503, "application/problem+json")
    assert answer.body == {
        "type": "about:blank",
        "title": "The database does not carry the engine.",
        "status": 503,
        "detail": "database_unavailable",
    }


def test_service_without_a_database_serves_but_is_not_ready(closed_port: int) -> None:
    with serving(f"postgresql://127.0.0.1:{closed_port}/none") as service:
        assert service.get("/healthz").status == 200
        answer = service.get("/readyz")
    assert (answer.status, answer.media_type) == (503, "application/problem+json")
    assert answer.body["detail"] == "database_unavailable"


def test_unknown_path_is_a_problem_too(service: Service) -> None:
    answer = service.get("/nothing")
    assert (answer.status, answer.media_type) == (404, "application/problem+json")
    assert answer.body["detail"] == "not_found"


def test_service_ends_in_order_on_sigterm(closed_port: int) -> None:
    with serving(f"postgresql://127.0.0.1:{closed_port}/none") as service:
        service.process.send_signal(signal.SIGTERM)
        _, rest = service.process.communicate(timeout=60)
    assert "Application shutdown complete" in rest
    assert "Traceback" not in rest


@pytest.mark.parametrize(
    "variables,complaint",
    [
        ({"DATABASE_URL": ""}, "DATABASE_URL is not set"),
        ({"DATABASE_URL": "postgresql://", "PORT": "http"}, "A port is a number"),
    ],
)
def test_service_refuses_a_bad_environment(variables: dict[str, str], complaint: str) -> None:
    environment = {**os.environ, **variables}
    ended = subprocess.run(SERVE, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert complaint in ended.stderr
    assert "Traceback" not in ended.stderr


def test_settings_have_defaults() -> None:
    settings = Settings.from_environment({"DATABASE_URL": "postgresql://db", "HOST": ""})
    assert settings == Settings("postgresql://db", host="127.0.0.1", port=8000)


@pytest.mark.parametrize("port", ["65536", "-1", "٣", "80a"])
def test_settings_refuse_a_port_that_is_none(port: str) -> None:
    with pytest.raises(SettingsError, match="from 0 to 65535"):
        Settings.from_environment({"DATABASE_URL": "postgresql://db", "PORT": port})
