"""Jobs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from api import models
from api.calls._rows import json, many, row
from api.database import Connection, service_rows
from api.records import UserWaiting
from jobengine import Job
from jobengine._arguments import lease_arguments
from jobengine._db import array
from jobengine.records import Held, Started


async def job_get(conn: Connection, *, job_id: UUID) -> models.Job | None:
    found = await many(
        conn,
        models.Job,
        "select * from public.job_get(p_job_id => %(job_id)s)",
        {"job_id": job_id},
    )
    return found[0] if found else None


async def job_list(
    conn: Connection,
    *,
    status: str | None,
    job_type: str | None,
    before: UUID | None,
    limit: int,
) -> list[models.Job]:
    return await many(
        conn,
        models.Job,
        """select * from public.job_list(p_status => %(status)s, p_job_type => %(job_type)s,
            p_before => %(before)s, p_limit => %(limit)s)""",
        {"status": status, "job_type": job_type, "before": before, "limit": limit},
    )


async def job_cancel(conn: Connection, *, job_id: UUID, reason: str | None) -> dict[str, Any]:
    return await row(
        conn,
        "select * from public.job_cancel(p_job_id => %(job_id)s, p_reason => %(reason)s)",
        {"job_id": job_id, "reason": reason},
    )


async def job_create(conn: Connection, *, new: models.NewJob) -> dict[str, Any]:
    return await row(
        conn,
        """select * from public.job_create(p_job_type => %(job_type)s, p_input => %(input)s,
            p_agent_id => %(agent_id)s, p_broker_connection_id => %(broker_connection_id)s,
            p_parent_type => %(parent_type)s, p_parent_id => %(parent_id)s,
            p_dedup_key => %(dedup_key)s, p_live_key => %(live_key)s,
            p_expires_in => %(expires_in)s)""",
        {**new.model_dump(exclude={"input_data"}), "input": json(new.input_data)},
    )


async def agent_claim(conn: Connection, *, requests: str) -> list[Job]:
    return await service_rows(
        conn,
        Job,
        "select * from public.agent_claim(p_requests => %(requests)s)",
        {"requests": requests},
    )


async def users_waiting(conn: Connection, *, user_ids: Collection[UUID]) -> list[UserWaiting]:
    return await service_rows(
        conn,
        UserWaiting,
        "select * from public.users_waiting(p_user_ids => %(user_ids)s)",
        {"user_ids": list(user_ids)},
    )


async def agent_start(
    conn: Connection, *, agent_ids: Sequence[UUID], leases: Sequence[Held], brief: bool = False
) -> list[Started]:
    return await service_rows(
        conn,
        Started,
        """select * from public.agent_start(p_agent_ids => %(agent_ids)s,
            p_job_ids => %(job_ids)s, p_lease_epochs => %(lease_epochs)s)""",
        {"agent_ids": array(agent_ids), **lease_arguments(leases)},
        brief=brief,
    )
