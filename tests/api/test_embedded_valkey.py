"""The embedded Valkey: a real server that ends with its owner and keeps its memory in bounds."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from api.embedded import EmbeddedValkey
from jobengine.embedded import EmbeddedError
from tests.api.world import server_folder, until

OWNER = """
import sys, time
from pathlib import Path
from api.embedded import EmbeddedValkey
server = EmbeddedValkey(Path(sys.argv[1]))
server.start()
print(server.url, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with server_folder() as made:
        yield made


def connect(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, retry=None)


def test_it_keeps_subscribers_in_bounds_and_nothing_on_disk(folder: Path) -> None:
    with EmbeddedValkey(folder) as server, connect(server.url) as client:
        assert client.ping()
        limits = client.config_get("client-output-buffer-limit")["client-output-buffer-limit"]
        assert "pubsub 8388608 2097152 10" in limits
        assert client.config_get("min-string-size-avoid-copy-reply") == {
            "min-string-size-avoid-copy-reply": "1000000000"
        }
        assert client.config_get("save") == {"save": ""}


def test_it_is_killed_and_comes_back_at_the_same_url(folder: Path) -> None:
    with EmbeddedValkey(folder) as server:
        url = server.url
        server.kill()
        with pytest.raises(redis.RedisError):
            connect(url).ping()
        server.restart()
        assert server.url == url
        assert connect(url).ping()
    with pytest.raises(redis.RedisError):
        connect(url).ping()


def test_a_folder_has_one_server(folder: Path) -> None:
    with EmbeddedValkey(folder), pytest.raises(EmbeddedError, match="in use by process"):
        EmbeddedValkey(folder).start()


def test_it_ends_with_its_owner_however_that_ends(folder: Path) -> None:
    command = [sys.executable, "-c", OWNER, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout
        url = owner.stdout.readline().decode().strip()
        assert connect(url).ping()
        owner.kill()
        owner.wait()
        sockets = Path(url.removeprefix("unix://").partition("?")[0]).parent
        until(lambda: not sockets.exists())
    with EmbeddedValkey(folder) as server:
        assert connect(server.url).ping()
