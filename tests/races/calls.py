"""The engine's functions as calls to send to a session."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from psycopg import sql
from psycopg.types.json import Jsonb

from tests.races.sessions import Call

Lease = tuple[UUID, int]


def call(function: str, **arguments: Any) -> Call:
    """Call a function of the engine by its name, with its `p_` arguments by theirs."""
    named = sql.SQL(", ").join(
        sql.SQL("{} => {}").format(sql.Identifier(f"p_{name}"), sql.Placeholder(name))
        for name in arguments
    )
    query = sql.SQL("select * from jobengine.{}({})").format(sql.Identifier(function), named)
    return Call(query, arguments)


def enqueue(*, count: int = 1, job_type: str = "work", **arguments: Any) -> Call:
    """Enqueue jobs; further arguments are one value for all of them."""
    columns = {name: [value] * count for name, value in arguments.items()}
    return call("enqueue", job_types=[job_type] * count, **columns)


def keyed(key: str, value: str, **arguments: Any) -> Call:
    """Enqueue one job with a key: `dedup_keys` or `live_keys`."""
    return enqueue(**({key: value} | arguments))


def claim(*, limit: int = 1, agent_id: str = "agent", **request: Any) -> Call:
    named = {name: str(v) if isinstance(v, UUID) else v for name, v in request.items()}
    asked = {"queues": ["default"], "agent_id": agent_id, "limit": limit} | named
    return call("claim", requests=Jsonb([asked]))


def claim_each(count: int, **request: Any) -> Call:
    """Claim one job for each of so many agents."""
    asked = {"queues": ["default"], "limit": 1} | request
    asked = {name: str(v) if isinstance(v, UUID) else v for name, v in asked.items()}
    return call("claim", requests=Jsonb([{**asked, "agent_id": f"new {n}"} for n in range(count)]))


def start(*leases: Lease) -> Call:
    return call("start", **_columns(leases))


def extend(*leases: Lease, seconds: float | None = None) -> Call:
    return call("extend", **_columns(leases), seconds=seconds)


def release(*leases: Lease) -> Call:
    return call("release", **_columns(leases))


def finish(*leases: Lease, outcome: str = "completed", **arguments: Any) -> Call:
    """Finish leases alike; further arguments are one value for all of them."""
    columns = {name: [value] * len(leases) for name, value in arguments.items()}
    return call("finish", **_columns(leases), outcomes=[outcome] * len(leases), **columns)


def cancel(*job_ids: UUID) -> Call:
    return call("cancel", job_ids=list(job_ids), reason="asked")


def retry(*job_ids: UUID) -> Call:
    return call("retry", job_ids=list(job_ids))


def get(*job_ids: UUID) -> Call:
    return call("get", job_ids=list(job_ids))


def sweep() -> Call:
    return call("sweep")


def prune(keep_seconds: float = 0) -> Call:
    return call("prune", keep_seconds=keep_seconds)


def _columns(leases: tuple[Lease, ...]) -> dict[str, Any]:
    return {
        "job_ids": [job_id for job_id, _ in leases],
        "lease_epochs": [lease_epoch for _, lease_epoch in leases],
    }
