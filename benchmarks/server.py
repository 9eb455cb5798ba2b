"""The server that is measured: a private one with stated settings, or the one of DATABASE_URL."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from benchmarks.progress import say
from jobengine.embedded import EmbeddedPostgres

# Durable: every commit waits for the disk. Everything else is PostgreSQL's default, autovacuum too.
SETTINGS = {"shared_buffers": "1GB", "max_wal_size": "4GB", "synchronous_commit": "on"}
SHOWN = (
    *SETTINGS,
    *("fsync", "full_page_writes", "wal_level", "wal_compression", "autovacuum", "jit"),
)


@dataclass(frozen=True, slots=True)
class Server:
    """`url` for the application, `admin_url` for a superuser; `pid` where it is ours."""

    url: str
    admin_url: str
    pid: int | None

    def describe(self) -> dict[str, str]:
        """Version and settings, as the server itself tells them."""
        with psycopg.connect(self.admin_url, autocommit=True) as admin:
            rows = admin.execute(
                "select name, current_setting(name) from pg_settings where name = any (%s)",
                [["server_version", *SHOWN]],
            ).fetchall()
        found: dict[str, str] = dict(rows)
        return {name: found[name] for name in ("server_version", *SHOWN) if name in found}


@contextmanager
def serve() -> Iterator[Server]:
    """Start a server in a temporary folder, unless DATABASE_URL names one (of a superuser)."""
    if url := os.environ.get("DATABASE_URL"):
        _refuse_ordinary(url)
        yield Server(url=url, admin_url=url, pid=None)
        return
    with tempfile.TemporaryDirectory(prefix="jobengine-bench-") as folder:
        # Root hands the server to another user, who must get there; the folder goes away with us.
        Path(folder).chmod(0o711)
        postgres = EmbeddedPostgres(Path(folder) / "postgres", settings=SETTINGS, progress=say)
        with postgres:
            yield Server(url=postgres.url, admin_url=postgres.admin_url, pid=postgres.pid)


def _refuse_ordinary(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        row = conn.execute("select rolsuper from pg_roles where rolname = current_user").fetchone()
    if not (row and row[0]):
        raise SystemExit("DATABASE_URL must name a superuser: a measurement begins with CHECKPOINT")
