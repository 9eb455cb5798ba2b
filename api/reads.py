"""What a terminal says when it is asked: positions, the account.

All who ask an agent the same at the same time share one job (`read_create.sql`).
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import ValidationError

from api import calls, models
from api.database import as_user
from api.endpoint import Call, adapter
from api.errors import Problem, field_errors
from api.records import Reading
from api.waiting import ended, over, said
from jobengine import JobInfo

WAIT_SECONDS = 5.0


async def positions(call: Call) -> list[models.Position]:
    """Return the open positions of the account."""
    query: models.Account = call.query
    asked = await ask(call, "get_positions", {}, query.broker_connection_id)
    found: models.Positions = await answer(call, asked, models.Positions, WAIT_SECONDS)
    return found.positions


async def account(call: Call) -> models.Balance:
    """Return what the account holds."""
    query: models.Account = call.query
    asked = await ask(call, "get_account", {}, query.broker_connection_id)
    found: models.Balance = await answer(call, asked, models.Balance, WAIT_SECONDS)
    return found


async def ask(
    call: Call, job_type: str, question: dict[str, Any], broker_connection_id: UUID | None
) -> Reading:
    """Put the question to the account's agent, or join those who asked it just now."""
    async with as_user(call.service.pool, call.caller.claims) as conn:
        return await calls.read_create(
            conn,
            job_type=job_type,
            question=question,
            broker_connection_id=broker_connection_id,
        )


async def answer(call: Call, asked: Reading, model: Any, seconds: float) -> Any:
    """Return what the agent says; `agent_timeout`, or `agent_failed` where it says nonsense."""
    job, left, new = None, seconds, not asked.joined
    while job is None and left > 0:
        left = await over(call.service, asked.job_id, left, new=new)
        job, new = await ended(call.service, asked.job_id, 0.0), False
    if job is not None and job.status == "failed":
        raise _failed(job)
    if job is None or job.status != "completed":
        raise Problem("agent_timeout")
    return understood(model, job.output)


def understood(model: Any, output: Any) -> Any:
    """Read an agent's report by the model; `agent_failed` names what is nonsense in it."""
    try:
        return adapter(model).validate_python(output)
    except ValidationError as error:
        raise Problem("agent_failed", errors=field_errors(error, "output_data")) from error


def _failed(job: JobInfo) -> Problem:
    code = said(job, "error_code") or job.error_code or "failed"
    message = job.error_message or code
    return Problem(
        "agent_failed",
        errors=[{"field": job.job_type, "rule": message}],
        more={"error_code": code, "message": message},
    )
