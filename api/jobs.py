"""The user's jobs."""

from __future__ import annotations

from starlette.responses import Response

from api import calls, models
from api.agents import next_page
from api.database import as_user
from api.endpoint import Call, respond
from api.errors import Problem, check


async def create(call: Call) -> models.Created:
    """Put a job in for one of the user's agents."""
    async with as_user(call.service.pool, call.caller.claims) as conn:
        created = await calls.job_create(conn, new=call.body)
    check(created["verdict"])
    return models.Created.model_validate(created)


async def get(call: Call) -> models.Job:
    """Tell where a job stands."""
    async with as_user(call.service.pool, call.caller.claims) as conn:
        found = await calls.job_get(conn, job_id=call.path["job_id"])
    if found is None:
        raise Problem("not_found")
    return found


async def page(call: Call) -> Response:
    """Return a page of jobs, newest first."""
    query: models.JobPage = call.query
    async with as_user(call.service.pool, call.caller.claims) as conn:
        found = await calls.job_list(
            conn,
            status=query.status,
            job_type=query.job_type,
            before=query.before,
            limit=query.limit,
        )
    headers = {}
    if len(found) == query.limit:
        filters = {"status": query.status, "job_type": query.job_type, "limit": query.limit}
        headers = next_page("/api/v1/jobs", {"before": found[-1].id, **filters})
    return respond(found, headers=headers)


async def cancel(call: Call) -> models.Cancelled:
    """Stop a job: at once while nobody works on it, else its agent is asked to."""
    async with as_user(call.service.pool, call.caller.claims) as conn:
        cancelled = await calls.job_cancel(
            conn, job_id=call.path["job_id"], reason=call.body.reason
        )
    check(cancelled["verdict"])
    return models.Cancelled.model_validate(cancelled)
