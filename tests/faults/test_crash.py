"""A server that crashes the moment it has answered."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from psycopg import AsyncConnection

from jobengine import JobEngine, Report, schema
from jobengine.embedded import EmbeddedPostgres
from tests.acceptance.world import in_loop, site
from tests.faults.embedded_owner import cluster_at

# A commit that does not wait for its own flush is flushed by the WAL writer, as late as can be.
LAZY = {"wal_writer_delay": "10s"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    data = tmp_path / "postgres"
    with cluster_at(data), EmbeddedPostgres(data, durable=False, settings=LAZY) as owned:
        yield owned


async def crash(server: EmbeddedPostgres) -> None:
    await asyncio.to_thread(server.restart, "immediate")


@in_loop
async def test_no_lost_job_what_was_answered_survives_a_crash(server: EmbeddedPostgres) -> None:
    async with await AsyncConnection.connect(server.url) as conn:
        await schema.apply(conn)
    async with site(server.url) as engine:
        job_id = (await engine.enqueue("work", {"n": 1})).id
    await crash(server)
    lease = await claimed(server)
    assert (lease["job_id"], lease["lease_epoch"]) == (job_id, 1)
    await crash(server)
    async with JobEngine(server.url) as engine:
        [answer] = await engine.finish([Report(**lease, outcome="completed", output=7)])
        assert answer.verdict == "ok"
    await crash(server)
    async with JobEngine(server.url) as engine:
        job = await engine.get(job_id)
    assert job is not None
    assert (job.status, job.output, job.lease_epoch) == ("completed", 7, 1)


async def claimed(server: EmbeddedPostgres) -> dict[str, Any]:
    """Claim the one job there is."""
    async with JobEngine(server.url) as engine:
        [job] = await engine.claim(["default"], agent_id="agent")
    return {"job_id": job.id, "lease_epoch": job.lease_epoch}
