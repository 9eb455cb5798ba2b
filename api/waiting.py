"""Waiting for what an agent does: the engine's waker tells of a job's end, nobody polls."""

from __future__ import annotations

from uuid import UUID

from api.service import Service
from jobengine import JobInfo, WaitTimeout


async def ended(service: Service, job_id: UUID, seconds: float) -> JobInfo | None:
    """Return the job once it has ended; None where that takes longer."""
    try:
        return await service.engine.wait(job_id, timeout=seconds)
    except WaitTimeout:
        return None


def said(job: JobInfo | None, name: str) -> str | None:
    """Return a text of the agent's report, if it has one of that name."""
    output = job.output if job else None
    value = output.get(name) if isinstance(output, dict) else None
    return value if isinstance(value, str) else None
