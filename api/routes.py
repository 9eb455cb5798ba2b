"""Every endpoint of the service, in one list."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Len
from pydantic import AfterValidator
from starlette.routing import Route

from api import account, agent_jobs, agents, jobs, models, operations
from api.endpoint import V1, Access, Endpoint, serves
from api.signalling import SIGNALLING
from api.trading import TRADING


def _spread(price: models.Price) -> models.Price:
    if price.ask < price.bid:
        raise ValueError("ask is at least bid")
    return price


Prices = Annotated[
    dict[models.Instrument, Annotated[models.Price, AfterValidator(_spread)]], Len(0, 500)
]

AGENT = f"{V1}/agents/{{agent_id}}"
HELD = f"{AGENT}/jobs/{{job_id}}"
CONNECTION = f"{V1}/broker-connections/{{connection_id}}"

ENDPOINTS = [
    Endpoint(
        method="GET",
        path="/healthz",
        handler=operations.health,
        summary="Does the process serve?",
        access=Access.PUBLIC,
        answer=models.Health,
    ),
    Endpoint(
        method="GET",
        path="/readyz",
        handler=operations.ready,
        summary="Does the database answer, and carry what the service needs?",
        access=Access.PUBLIC,
        answer=models.Ready,
        problems=("database_unavailable",),
    ),
    Endpoint(
        method="GET",
        path="/metrics",
        handler=operations.measured,
        summary="The counters of this process, for Prometheus",
        access=Access.PUBLIC,
        answer="text/plain",
    ),
    Endpoint(
        method="GET",
        path="/openapi.json",
        handler=operations.described,
        summary="This description",
        access=Access.PUBLIC,
        answer="application/json",
    ),
    Endpoint(
        method="POST",
        path=f"{V1}/agents/pair",
        handler=agents.pair,
        summary="Make an agent; its key is shown this once",
        access=Access.USER,
        body=models.Pair,
        answer=models.Paired,
        status=201,
        problems=("onboarding_required", "not_found", "agent_exists", "overloaded"),
    ),
    Endpoint(
        method="GET",
        path=f"{V1}/agents",
        handler=agents.page,
        summary="The user's agents, newest first",
        access=Access.USER,
        query=models.AgentPage,
        answer=list[models.Agent],
    ),
    Endpoint(
        method="POST",
        path=f"{AGENT}/rotate-key",
        handler=agents.rotate_key,
        summary="A new key; the old one works for ten more minutes",
        access=Access.USER,
        answer=models.Paired,
        problems=("not_found", "agent_revoked", "overloaded"),
    ),
    Endpoint(
        method="DELETE",
        path=AGENT,
        handler=agents.revoke,
        summary="Revoke an agent; its pending jobs are cancelled",
        access=Access.USER,
        answer=models.Agent,
        problems=("not_found", "agent_revoked"),
    ),
    Endpoint(
        method="POST",
        path=f"{AGENT}/heartbeat",
        handler=agents.heartbeat,
        summary="The agent lives; the answer says what it has to know",
        access=Access.AGENT,
        body=models.Heartbeat,
        answer=models.HeartbeatAnswer,
    ),
    Endpoint(
        method="GET",
        path=f"{AGENT}/status",
        handler=agents.status,
        summary="Does the agent live? For its owner and for itself",
        access=Access.OWNER_OR_AGENT,
        answer=models.AgentStatus,
        problems=("not_found",),
    ),
    Endpoint(
        method="POST",
        path=f"{AGENT}/prices",
        handler=agents.prices,
        summary="Store and publish prices, 500 instruments at most",
        access=Access.AGENT,
        body=Prices,
        answer=models.Received,
        problems=("prices_unavailable",),
    ),
    Endpoint(
        method="GET",
        path=f"{AGENT}/jobs/next",
        handler=agent_jobs.next_job,
        summary="Claim the next job, or jobs, waiting up to 30 seconds for one",
        access=Access.AGENT,
        query=models.NextQuery,
        answer=models.AgentJob | models.AgentJobs | models.NoJobs,
        head=False,
    ),
    Endpoint(
        method="POST",
        path=f"{HELD}/start",
        handler=agent_jobs.start,
        summary="Begin a job that was claimed with ack=1",
        access=Access.AGENT,
        body=models.Held,
        answer=models.Started,
        problems=("not_found", "lease_lost"),
    ),
    Endpoint(
        method="POST",
        path=f"{HELD}/heartbeat",
        handler=agent_jobs.extend,
        summary="Keep the lease, and hear whether to stop",
        access=Access.AGENT,
        body=models.Extend,
        answer=models.Extended,
        problems=("not_found", "lease_lost"),
    ),
    Endpoint(
        method="POST",
        path=f"{HELD}/result",
        handler=agent_jobs.result,
        summary="Report what became of the job",
        access=Access.AGENT,
        body=models.Result,
        answer=models.Acknowledged,
        problems=("not_found", "lease_lost", "conflict"),
    ),
    Endpoint(
        method="POST",
        path=f"{HELD}/release",
        handler=agent_jobs.release,
        summary="Give the job back unused; an order that was begun is reported instead",
        access=Access.AGENT,
        body=models.Held,
        answer=models.Acknowledged,
        problems=("not_found", "lease_lost", "conflict"),
    ),
    Endpoint(
        method="POST",
        path=f"{V1}/jobs",
        handler=jobs.create,
        summary="Put a job in for an agent, a broker connection or whoever comes first",
        access=Access.USER,
        body=models.NewJob,
        answer=models.Created,
        status=201,
        problems=("onboarding_required", "not_found", "agent_revoked"),
    ),
    Endpoint(
        method="GET",
        path=f"{V1}/jobs",
        handler=jobs.page,
        summary="The user's jobs, newest first",
        access=Access.USER,
        query=models.JobPage,
        answer=list[models.Job],
    ),
    Endpoint(
        method="GET",
        path=f"{V1}/jobs/{{job_id}}",
        handler=jobs.get,
        summary="Where a job stands",
        access=Access.USER,
        answer=models.Job,
        problems=("not_found",),
    ),
    Endpoint(
        method="POST",
        path=f"{V1}/jobs/{{job_id}}/cancel",
        handler=jobs.cancel,
        summary="Stop a job, or ask its agent to",
        access=Access.USER,
        body=models.CancelJob,
        answer=models.Cancelled,
        problems=("not_found", "conflict"),
    ),
    Endpoint(
        method="GET",
        path=f"{V1}/broker-connections",
        handler=account.connections,
        summary="The user's broker connections, the default first",
        access=Access.USER,
        answer=list[models.Connection],
    ),
    Endpoint(
        method="POST",
        path=f"{V1}/broker-connections",
        handler=account.add_connection,
        summary="Add a broker connection; the first is the default",
        access=Access.USER,
        body=models.NewConnection,
        answer=models.Connection,
        status=201,
    ),
    Endpoint(
        method="PATCH",
        path=CONNECTION,
        handler=account.change_connection,
        summary="Change a broker connection",
        access=Access.USER,
        body=models.ConnectionChanges,
        answer=models.Connection,
        problems=("not_found",),
    ),
    Endpoint(
        method="DELETE",
        path=CONNECTION,
        handler=account.remove_connection,
        summary="Remove a broker connection that nothing uses",
        access=Access.USER,
        answer=None,
        status=204,
        problems=("not_found", "broker_connection_in_use"),
    ),
    Endpoint(
        method="GET",
        path=f"{V1}/settings",
        handler=account.settings,
        summary="The user's profile and limits",
        access=Access.USER,
        answer=models.Settings,
    ),
    Endpoint(
        method="PATCH",
        path=f"{V1}/settings",
        handler=account.change_settings,
        summary="Change the user's profile and limits",
        access=Access.USER,
        body=models.SettingsChanges,
        answer=models.Settings,
    ),
    Endpoint(
        method="POST",
        path=f"{V1}/onboarding/complete",
        handler=account.complete_onboarding,
        summary="Accept the disclaimer",
        access=Access.USER,
        body=models.Onboarding,
        answer=models.Settings,
    ),
    *TRADING,
    *SIGNALLING,
]


def routes() -> list[Route]:
    """Return one Starlette route per path; HEAD is served where GET is and changes nothing."""
    by_path: dict[str, dict[str, Endpoint]] = {}
    for endpoint in ENDPOINTS:
        by_path.setdefault(endpoint.path, {})[endpoint.method] = endpoint
    return [_route(path, by_method) for path, by_method in by_path.items()]


def _route(path: str, by_method: dict[str, Endpoint]) -> Route:
    # A name of an instrument may hold a slash; nothing comes after it in a path.
    route = Route(
        path.replace("{instrument}", "{instrument:path}"),
        serves(by_method),
        methods=list(by_method),
    )
    if route.methods and not all(endpoint.head for endpoint in by_method.values()):
        route.methods.discard("HEAD")
    return route
