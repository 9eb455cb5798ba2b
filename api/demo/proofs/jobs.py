"""Jobs: all done, each once, by whom they were meant for, and told to their parents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from api.demo.evidence import Evidence, Job
from api.demo.plan import JOB_TYPES

ORDERS = {"trade", "close_position"}
BEGUN = ["requested", "claimed", "sent"]
LAST_EVENTS = {
    "filled": {"filled"},
    "partially_filled": {"partially_filled", "filled"},  # a report of deals may come first
    "closed": {"closed"},
    "rejected": {"rejected"},
}
PARENT_STATE = {
    "compile": "compiled",
    "deploy": "deployed",
    "run": "running",
    "stop": "stopped",
    "trade": "executed",
    "close_position": "executed",
}
SETTLED = {"compile", "deploy", "run", "stop", *ORDERS}
ROUTES = ("/jobs/next", "/result", "/prices", "/deals", "/orders", "/agents/pair", "/webhooks/tv/")


def all_types(evidence: Evidence) -> Iterator[str]:
    done = {job.job_type for job in evidence.jobs.values() if job.status == "completed"}
    for job_type in sorted(JOB_TYPES - done):
        yield f"no {job_type} was completed"


def ended_once(evidence: Evidence) -> Iterator[str]:
    """Every job that was put in has ended; an order's events lead from the request to its end."""
    for job_id in sorted(evidence.created - evidence.jobs.keys()):
        yield f"{job_id} was taken and is not in the database"
    for job in evidence.jobs.values():
        if not job.over or job.status == "unknown":
            yield f"{job.job_id}: {job.job_type} is {job.status}"
        elif job.job_type in ORDERS and not _whole(job):
            yield f"{job.job_id}: {job.order_status}, by its events {', '.join(job.events)}"


def _whole(job: Job) -> bool:
    """Whether the events lead from the request to the end; it may be claimed once per lease."""
    *begun, last = job.events or [""]
    if job.order_status == "expired":
        return job.events[:1] == BEGUN[:1] and last == "expired"
    claimed = begun.count("claimed")
    return (
        begun == [BEGUN[0], *["claimed"] * claimed, BEGUN[-1]]
        and 1 <= claimed <= job.lease_epoch
        and last in LAST_EVENTS.get(job.order_status or "", set())
    )


def kept_apart(evidence: Evidence) -> Iterator[str]:
    """The agent that had a job was its user's, and the job meant for it, its account or anybody."""
    agents = {agent.agent_id: agent for agent in evidence.agents}
    for job in evidence.jobs.values():
        if job.status == "expired":
            continue
        agent = agents.get(job.agent_id) if job.agent_id else None
        if agent is None or job.user_id != agent.user_id or job.queue not in agent.queues:
            yield f"{job.job_id} of {job.queue} was in the hands of {agent and agent.name}"


def settled_equals_ended(evidence: Evidence) -> Iterator[str]:
    """When a job had ended, its version, deployment or signal said what its agent had said."""
    for job in evidence.jobs.values():
        expected = _parent(job) if job.parent_type else (None, None)
        if (found := (job.parent_state, job.parent_error)) != expected:
            yield f"{job.job_id}: {job.job_type}'s {job.parent_type} is {found}, not {expected}"
        if job.settle_error or (job.job_type in SETTLED and job.settled_status != job.status):
            yield f"{job.job_id}: settled as {job.settled_status} ({job.settle_error})"


def _parent(job: Job) -> tuple[str, str | None]:
    """Return state and error that follow from the result."""
    output: dict[str, Any] = job.output_data or {}
    if job.status == "completed":
        return PARENT_STATE[job.job_type], None
    return "failed", output.get("compilation_error") or job.error_message


def logs_keep_secrets(evidence: Evidence) -> Iterator[str]:
    """The logs have the requests, and of no key, token or webhook more than its beginning."""
    for route in ROUTES:
        if route not in evidence.logs:
            yield f"the log does not have {route}: is it the service's?"
    for number, secret in enumerate(evidence.secrets):
        if secret in evidence.logs:
            yield f"the logs hold secret number {number}"
