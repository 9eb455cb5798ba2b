"""What the doctor's tests share: a database on its own durable server, and following remedies."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from jobengine import JobEngine
from jobengine.doctor import Finding, examine
from jobengine.embedded import EmbeddedPostgres
from tests.acceptance.command_line import CommandLine
from tests.faults.embedded_owner import cluster_at

# The server that most tests share gives durability up, on purpose.
NOT_DURABLE = {"fsync_off", "full_page_writes_off"}


@contextmanager
def hospital(folder: Path, **settings: str) -> Iterator[EmbeddedPostgres]:
    """A durable server of its own with the engine installed."""
    with cluster_at(folder / "pg"), EmbeddedPostgres(folder / "pg", settings=settings) as server:
        asyncio.run(install(server.url))
        yield server


async def install(url: str) -> None:
    async with JobEngine(url) as engine:
        await engine.install()


def findings(url: str, **arguments: Any) -> list[Finding]:
    """What the doctor finds, apart from what is so on purpose."""
    found = asyncio.run(_findings(url, arguments))
    return [finding for finding in found if finding.code not in NOT_DURABLE]


async def _findings(url: str, arguments: dict[str, Any]) -> Sequence[Finding]:
    return await examine(url, **arguments)


def codes(url: str, **arguments: Any) -> list[str]:
    return [finding.code for finding in findings(url, **arguments)]


def follow(finding: Finding, url: str, folder: Path) -> None:
    """Paste a remedy: commands into a shell, everything else into psql."""
    jobengine = CommandLine(url, folder)
    with psycopg.connect(url, autocommit=True) as conn:
        for line in finding.remedy.splitlines():
            if line.startswith("jobengine "):
                said = jobengine(*shlex.split(line)[1:])
                assert said.code == 0, said
            elif not line.startswith("--"):
                conn.execute(line.encode())
