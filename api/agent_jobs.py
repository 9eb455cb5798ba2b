"""The life of a job between the service and an agent: claim, start, keep, report, give back.

A lease is named by the job and its epoch. An agent that sends no epoch, as the source documents
have it, speaks of the lease that it holds now, or of its own last one where the job has ended.
"""

from __future__ import annotations

import asyncio
import time

from starlette.requests import Request
from starlette.responses import Response

from api import models, parking
from api.endpoint import Call
from api.errors import Problem, check
from api.handed import given, given_all
from api.keys import Agent
from api.longpoll import patience, repeated
from api.places import Waiter
from api.protocol import CLIENT, Client
from api.service import Service
from jobengine import Job, JobInfo, Lease, Outcome, Report

NO_JOBS = models.NoJobs()


async def next_job(call: Call) -> models.AgentJob | models.AgentJobs | models.NoJobs | Response:
    """Hand out what is next, waiting for it as long as the agent likes, 30 seconds at most."""
    query: models.NextQuery = call.query
    state = call.request.scope["state"]
    client: Client = state[CLIENT]
    begun: Waiter | None = state.pop(parking.BEGUN, None)
    until = begun.until if begun else time.monotonic() + patience(query.wait)
    while True:
        waiter = begun or call.service.longpoll.poll(
            call.holder,
            seconds=max(0.0, until - time.monotonic()),
            request_id=query.request_id,
            first=query.first,
            most=query.max or 1,
            begins=not query.ack,
        )
        begun = None
        await _over(call, waiter)
        if client.gone:
            await call.service.longpoll.leave(waiter)  # nothing is lost
            return NO_JOBS
        jobs = waiter.answer.result()
        if not jobs:
            return NO_JOBS
        if not await call.service.keys.still(call.holder):
            await call.service.longpoll.leave(waiter)
            raise Problem("agent_key_revoked")
        if query.ack:
            return given_all(call.service, call.holder, jobs, listed=query.max is not None)
        if found := await _hand_over(call.service, call.holder, jobs[0], client):
            return found


async def _over(call: Call, waiter: Waiter) -> None:
    """Return when the poll has its answer, or its client is gone."""
    if waiter.answer.done():  # it waited at its connection
        return
    gone = asyncio.create_task(_gone(call.request))
    try:
        await asyncio.wait((waiter.answer, gone), return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        await call.service.longpoll.leave(waiter)
        raise
    finally:
        gone.cancel()


async def _gone(request: Request) -> None:
    """Return when the client has closed its connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _hand_over(
    service: Service, agent: Agent, job: Job, client: Client
) -> models.AgentJob | models.NoJobs | None:
    """Begin the job for an agent that will not do so itself, as the last act before the answer.

    None where the lease is over already. What may be repeated was begun by its claim. While nothing
    of the answer is written, the agent cannot have begun: a job whose client leaves by then waits
    again, at no cost. One that an earlier answer began stays begun: the agent may be at it.
    """
    started = None
    if job.started_at is None:
        started = await service.starts.begin(agent.agent_id, job)
        if started.verdict not in {"ok", "duplicate"}:
            return None
    if client.gone:
        if not repeated(job) if started is None else started.verdict == "ok":
            await _put_back(service, job)
        return NO_JOBS
    return given(service, agent, job, started)


async def _put_back(service: Service, job: Job) -> None:
    service.metrics.jobs_given_back += 1
    snooze = Report(job_id=job.job_id, lease_epoch=job.lease_epoch, outcome="snooze", delay=0)
    await service.engine.finish([snooze])


async def start(call: Call) -> models.Started:
    """Begin the work on a job that was claimed with ack=1."""
    lease = await _lease(call)
    started = await call.service.starts.begin(call.holder.agent_id, lease)
    check(started.verdict)
    return models.Started(
        job_id=lease.job_id,
        status="running",
        lease_epoch=lease.lease_epoch,
        lease_expires_at=started.lease_expires_at,
        repeated=started.verdict == "duplicate",
    )


async def extend(call: Call) -> models.Extended:
    """Keep the lease, and hear whether to stop."""
    body: models.Extend = call.body
    lease = await _lease(call)
    (extended,) = await call.service.engine.extend([lease], seconds=body.seconds)
    check(extended.verdict)
    return models.Extended(
        job_id=lease.job_id,
        lease_epoch=lease.lease_epoch,
        lease_expires_at=extended.lease_expires_at,
        cancel_requested=extended.cancel_reason is not None,
        cancel_reason=extended.cancel_reason,
    )


async def result(call: Call) -> models.Acknowledged:
    """Take the agent's report; its parents change in the same transaction."""
    body: models.Result = call.body
    lease = await _lease(call)
    report = Report(
        job_id=lease.job_id,
        lease_epoch=lease.lease_epoch,
        outcome=outcome(body),
        output=body.output_data,
        error_message=body.error_message,
    )
    (finished,) = await call.service.engine.finish([report])
    check(finished.verdict)
    return models.Acknowledged()


async def release(call: Call) -> models.Acknowledged:
    """Take the job back unused, at no cost: the agent stops, or has too much in hand."""
    (released,) = await call.service.engine.release([await _lease(call)])
    check(released.verdict)
    return models.Acknowledged()


def outcome(body: models.Result) -> Outcome:
    """Translate: an agent's `failed` is final, unless it says that it does not know."""
    if body.status == "completed":
        return "completed"
    unknown = (body.output_data or {}).get("outcome") == "unknown"
    return "unknown" if unknown else "rejected"


async def _lease(call: Call) -> Lease:
    """Return the lease that the agent speaks of, after it was seen that the job is its own.

    Another's job is `not_found`; one that the agent lost is `lease_lost`.
    """
    body: models.Held = call.body
    agent, job_id = call.holder, call.path["job_id"]
    # A look costs as much as the start itself: of 26 ms from claimed to filled, two took 7.
    if given := call.service.handed.lease(job_id, body.lease_epoch, agent.agent_id):
        return given
    job = await call.service.engine.get(job_id, tenant_id=agent.user_id)
    if job is None:
        raise Problem("not_found")
    epoch = job.lease_epoch if body.lease_epoch is None else body.lease_epoch
    if job.agent_id == str(agent.agent_id):
        return Lease(job_id, epoch)
    _refuse(job, agent, body.lease_epoch)
    raise Problem("lease_lost")


def _refuse(job: JobInfo, agent: Agent, epoch: int | None) -> None:
    """Raise `not_found`, unless the agent may have held the job before."""
    older = epoch is not None and 0 < epoch < job.lease_epoch
    waits_again = job.agent_id is None and job.lease_epoch > 0
    if job.queue not in agent.queues or not (older or waits_again):
        raise Problem("not_found")
