"""The service as a process: what a load balancer asks it, and what an operator does to it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from api.embedded import EmbeddedValkey
from api.settings import Settings, SettingsError
from tests.api.world import SECRET, Service, problem, serving

SERVE = (sys.executable, "-m", "api", "serve")
NEEDED = {
    "DATABASE_URL": "postgresql://db",
    "REDIS_URL": "redis://redis",
    "SUPABASE_JWT_SECRET": SECRET,
}


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that refuses: it is bound, so nobody else takes it, and nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def test_service_says_that_it_serves(service: Service) -> None:
    assert service.http.get("/healthz").json() == {"status": "ok"}


def test_service_is_ready_with_engine_platform_and_redis(service: Service) -> None:
    assert service.http.get("/readyz").json() == {"status": "ok", "redis": "ok"}


def test_service_with_the_engine_alone_is_not_ready(
    admin_url: str, database_url: str, valkey: EmbeddedValkey
) -> None:
    with serving(database_url, valkey.url) as service:
        assert problem(service.http.get("/readyz")) == (503, "database_unavailable")


def test_service_without_servers_serves_but_is_not_ready(closed_port: int) -> None:
    nowhere = f"127.0.0.1:{closed_port}"
    with serving(f"postgresql://{nowhere}/none", f"redis://{nowhere}") as service:
        assert service.http.get("/healthz").status_code == 200
        assert problem(service.http.get("/readyz")) == (503, "database_unavailable")
        log = service.stop()
    assert "Application shutdown complete" in log
    assert "Traceback" not in log


@pytest.mark.parametrize(
    "variables,complaint",
    [
        ({"DATABASE_URL": ""}, "DATABASE_URL is not set"),
        ({"REDIS_URL": ""}, "REDIS_URL is not set"),
        ({"SUPABASE_JWT_SECRET": ""}, "SUPABASE_JWT_SECRET is not set"),
        ({"SUPABASE_JWT_SECRET": "short"}, "at least 32 bytes"),
        ({"PORT": "http"}, "A port is a number"),
    ],
)
def test_service_refuses_a_bad_environment(variables: dict[str, str], complaint: str) -> None:
    environment = {**os.environ, **NEEDED, **variables}
    ended = subprocess.run(SERVE, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert complaint in ended.stderr
    assert "Traceback" not in ended.stderr


def test_settings_have_defaults() -> None:
    settings = Settings.from_environment({**NEEDED, "HOST": "", "CORS_ORIGINS": "https://a, "})
    assert settings == Settings(
        database_url="postgresql://db",
        redis_url="redis://redis",
        jwt_secret=SECRET,
        host="127.0.0.1",
        port=8000,
        cors_origins=("https://a",),
    )


@pytest.mark.parametrize("port", ["65536", "-1", "٣", "80a"])
def test_settings_refuse_a_port_that_is_none(port: str) -> None:
    with pytest.raises(SettingsError, match="from 0 to 65535"):
        Settings.from_environment({**NEEDED, "PORT": port})


@pytest.mark.parametrize(
    "name",
    [
        "DATABASE_POOL_SIZE",
        "AGENT_KEY_BCRYPT_COST",
        "STREAM_CLIENTS",
        "PRICE_INSTRUMENTS",
        "PRICE_SCOPE",
    ],
)
def test_settings_refuse_a_number_out_of_range(name: str) -> None:
    with pytest.raises(SettingsError, match=name):
        Settings.from_environment({**NEEDED, name: "0"})
