"""The service as a process of its own, as users run it."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SECRET = secrets.token_hex(32)


@contextmanager
def process(*command: str, **variables: str) -> Iterator[tuple[int, str]]:
    """Yield pid and address of a server that says where it listens."""
    with tempfile.TemporaryFile("w+b") as log:
        running = subprocess.Popen(
            [sys.executable, *command], env={**os.environ, **variables}, stdout=log, stderr=log
        )
        try:
            yield running.pid, _address(running, log)
        finally:
            running.kill()
            running.wait()


def _address(running: subprocess.Popen[bytes], log: Any) -> str:
    while True:
        text = os.pread(log.fileno(), 65536, 0).decode()
        if found := re.search(r"http://127\.0\.0\.1:\d+", text):
            return found[0]
        if running.poll() is not None:
            raise RuntimeError(text)
        time.sleep(0.02)


def service(database_url: str, redis_url: str, **variables: str) -> Any:
    """Return our service as a process, with these variables besides."""
    return process(
        *("-m", "api", "serve"),
        DATABASE_URL=database_url,
        REDIS_URL=redis_url,
        SUPABASE_JWT_SECRET=SECRET,
        AGENT_KEY_BCRYPT_COST="4",
        PORT="0",
        **variables,
    )
