"""The engine's functions as the model names them: one call each, answers in plain Python."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from jobengine.testing.model import Item, JobType, Report, Request

Row = dict[str, Any]


class Engine:
    """The SQL functions on one connection."""

    def __init__(self, conn: psycopg.Connection[DictRow]) -> None:
        self.conn = conn

    def register(self, kind: JobType) -> None:
        self._rows(
            "select jobengine.register_job_type(%s, %s, %s, %s, %s, %s, %s, %s)",
            kind.name,
            kind.priority,
            kind.max_attempts,
            kind.lease_seconds,
            kind.delivery,
            kind.backoff_seconds,
            kind.backoff_max_seconds,
            "" if kind.settle is None else f"public.{kind.settle}",
        )

    def enqueue(self, items: Sequence[Item]) -> list[Row]:
        return self._rows(
            """
            select * from jobengine.enqueue(
                p_job_types => %s::text[], p_inputs => %s::jsonb[], p_tenant_ids => %s::uuid[],
                p_queues => %s::text[], p_priorities => %s::integer[],
                p_delays => %s::double precision[], p_expires_ins => %s::double precision[],
                p_max_attempts => %s::integer[], p_dedup_keys => %s::text[],
                p_live_keys => %s::text[])
            """,
            [item.job_type for item in items],
            [Jsonb(item.input) for item in items],
            [item.tenant for item in items],
            [item.queue for item in items],
            [item.priority for item in items],
            [item.delay for item in items],
            [item.expires_in for item in items],
            [item.max_attempts for item in items],
            _or_null([item.dedup_key for item in items]),
            _or_null([item.live_key for item in items]),
        )

    def claim(self, requests: Sequence[Request]) -> list[Row]:
        asked = [
            {
                "queues": request.queues,
                "agent_id": request.agent,
                "limit": request.limit,
                "tenant_id": request.tenant and str(request.tenant),
                "request_id": request.request_id and str(request.request_id),
                "two_phase": request.two_phase,
            }
            for request in requests
        ]
        return self._rows("select * from jobengine.claim(%s)", Jsonb(asked))

    def start(self, leases: Sequence[tuple[UUID, int]]) -> list[Row]:
        return self._rows("select * from jobengine.start(%s, %s)", *_columns(leases))

    def extend(self, leases: Sequence[tuple[UUID, int]], seconds: float | None) -> list[Row]:
        return self._rows("select * from jobengine.extend(%s, %s, %s)", *_columns(leases), seconds)

    def release(self, leases: Sequence[tuple[UUID, int]]) -> list[Row]:
        return self._rows("select * from jobengine.release(%s, %s)", *_columns(leases))

    def finish(self, reports: Sequence[Report]) -> list[Row]:
        rows = self._rows(
            """
            select * from jobengine.finish(
                %s, %s, %s::text[], %s::jsonb[], %s::text[], %s::text[], %s::double precision[])
            """,
            [report.job_id for report in reports],
            [report.epoch for report in reports],
            [report.outcome for report in reports],
            [None if report.output is None else Jsonb(report.output) for report in reports],
            [report.error_code for report in reports],
            [report.error_message for report in reports],
            [report.delay for report in reports],
        )
        return sorted(rows, key=lambda row: int(row["item"]))

    def cancel(self, ids: Sequence[UUID], reason: str, tenant: UUID | None) -> list[Row]:
        return self._rows(
            "select * from jobengine.cancel(%s::uuid[], %s, %s)", list(ids), reason, tenant
        )

    def cancel_queue(
        self, tenant: UUID, queue: str, job_type: str | None, reason: str
    ) -> list[Row]:
        return self._rows(
            "select * from jobengine.cancel(null, %s, %s, %s, %s)", reason, tenant, queue, job_type
        )

    def retry(
        self,
        ids: Sequence[UUID],
        run_at: datetime | None,
        expires_at: datetime | None,
        tenant: UUID | None,
    ) -> list[Row]:
        return self._rows(
            "select * from jobengine.retry(%s, %s, %s, %s)", list(ids), run_at, expires_at, tenant
        )

    def sweep(self) -> Row:
        return self._rows("select * from jobengine.sweep()")[0]

    def prune(self, keep_seconds: float) -> Row:
        return self._rows("select * from jobengine.prune(%s)", keep_seconds)[0]

    def stats(self, tenant: UUID | None) -> list[Row]:
        return self._rows("select * from jobengine.stats(%s)", tenant)

    def listed(self, tenant: UUID | None, status: str) -> list[UUID]:
        rows = self._rows("select job_id from jobengine.list(%s, %s)", tenant, status)
        return [row["job_id"] for row in rows]

    def unsettled(self) -> list[UUID]:
        rows = self._rows("select job_id from jobengine.list(p_unsettled => true)")
        return [row["job_id"] for row in rows]

    def next_due(self, tenants: Sequence[UUID], queues: Sequence[str]) -> datetime | None:
        rows = self._rows("select jobengine._next_due(%s, %s) as at", list(tenants), list(queues))
        at: datetime | None = rows[0]["at"]
        return at

    def _rows(self, query: str, *arguments: object) -> list[Row]:
        return self.conn.execute(query.encode(), arguments).fetchall()


def _columns(leases: Sequence[tuple[UUID, int]]) -> tuple[list[UUID], list[int]]:
    return [job_id for job_id, _ in leases], [epoch for _, epoch in leases]


def _or_null(keys: list[str | None]) -> list[str | None] | None:
    return keys if any(keys) else None
