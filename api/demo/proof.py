"""The proofs: each looks for what would be wrong, and holds where it finds nothing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias
from uuid import UUID

from api.demo.evidence import Evidence, Job
from api.demo.plan import JOB_TYPES

Proof: TypeAlias = Callable[[Evidence], Iterator[str]]

LAST_EVENT = {
    ("trade", "completed"): "filled",
    ("close_position", "completed"): "closed",
    ("trade", "failed"): "rejected",
    ("close_position", "failed"): "rejected",
}
PARENT_STATE = {
    ("compile", "completed"): "compiled",
    ("deploy", "completed"): "deployed",
    ("run", "completed"): "running",
    ("stop", "completed"): "stopped",
    ("trade", "completed"): "executed",
}
SETTLED = {"compile", "deploy", "run", "stop", "trade", "close_position"}
ROUTES = ("/jobs/next", "/result", "/prices", "/agents/pair")


def all_types(evidence: Evidence) -> Iterator[str]:
    done = {job.job_type for job in evidence.jobs.values() if job.status == "completed"}
    for job_type in sorted(JOB_TYPES - done):
        yield f"no {job_type} was completed"


def claimed_once(evidence: Evidence) -> Iterator[str]:
    """Every lease is in one journal, once, and there are as many as the database counts."""
    claims: defaultdict[UUID, list[tuple[UUID, int]]] = defaultdict(list)
    for agent_id, entry in evidence.entries("claimed"):
        claims[UUID(entry["job"]["job_id"])].append((agent_id, entry["job"]["lease_epoch"]))
    for job_id in sorted(evidence.created | claims.keys()):
        job, taken = evidence.jobs.get(job_id), claims[job_id]
        epochs = [epoch for _, epoch in taken]
        if {agent_id for agent_id, _ in taken} != {job.agent_id if job else None}:
            yield f"{job_id}: taken by {len({*taken})} agents, or by another than the database says"
        elif job and sorted(epochs) != list(range(1, job.lease_epoch + 1)):
            yield f"{job_id}: leases {epochs} in the journals, {job.lease_epoch} in the database"


def ended_once(evidence: Evidence) -> Iterator[str]:
    """Every job that was put in has ended, was acknowledged once, and its order noted once."""
    heard = Counter(UUID(entry["job_id"]) for _, entry in evidence.entries("acknowledged"))
    for job_id in sorted(evidence.created | evidence.jobs.keys() | heard.keys()):
        job = evidence.jobs.get(job_id)
        if job is None or job_id not in evidence.created:
            yield f"{job_id}: put in and not in the database, or the other way round"
        elif job.status not in {"completed", "failed"} or heard[job_id] != 1:
            yield f"{job_id}: {job.status}, acknowledged {heard[job_id]} times"
        elif job.events != _events(job):
            yield f"{job_id}: trade events {job.events}"


def _events(job: Job) -> list[str]:
    last = LAST_EVENT.get((job.job_type, job.status))
    return ["requested", last] if last else []


def as_reported(evidence: Evidence) -> Iterator[str]:
    """A job's end is what its agent said, word for word."""
    reports = evidence.reports()
    for job_id, job in evidence.jobs.items():
        report = reports.get(job_id, {})
        said = tuple(report.get(name) for name in ("status", "output_data", "error_message"))
        if said != (job.status, job.output_data, job.error_message):
            yield f"{job_id}: the agent said {said}, the database {job.status}"


def kept_apart(evidence: Evidence) -> Iterator[str]:
    """What an agent was given was its own user's, and meant for it, its account or anybody."""
    agents = {agent.agent_id: agent for agent in evidence.agents}
    for agent_id, entry in evidence.entries("claimed"):
        agent, job = agents[agent_id], evidence.jobs.get(UUID(entry["job"]["job_id"]))
        if job is None or job.user_id != agent.user_id:
            yield f"{agent.name} was given a stranger's job {entry['job']['job_id']}"
        elif job.queue not in agent.queues:
            yield f"{agent.name} was given {job.job_id} of {job.queue}"


def settled_equals_ended(evidence: Evidence) -> Iterator[str]:
    """When a job had ended, its version, deployment or signal said what its agent had said."""
    reports = evidence.reports()
    for job_id, job in evidence.jobs.items():
        report = reports.get(job_id, {})
        expected = _parent(job, report) if job.parent_type else (None, None, None)
        if (found := (job.parent_state, job.parent_error, job.parent_price)) != expected:
            yield f"{job_id}: {job.job_type}'s {job.parent_type} is {found}, not {expected}"
        if job.settle_error or (job.job_type in SETTLED and job.settled_status != job.status):
            yield f"{job_id}: settled as {job.settled_status} ({job.settle_error})"


def _parent(job: Job, report: dict[str, Any]) -> tuple[str, str | None, float | None]:
    """Return state, error and price that follow from the report."""
    output = report.get("output_data") or {}
    if report.get("status") == "completed":
        price = output["fill_price"] if job.job_type == "trade" else None
        return PARENT_STATE[job.job_type, "completed"], None, price
    return "failed", output.get("compilation_error") or report.get("error_message"), None


def prices_stored(evidence: Evidence) -> Iterator[str]:
    """An agent's own keys hold its last push; a shared key the last push of one of them."""
    shared: defaultdict[str, list[Any]] = defaultdict(list)
    for agent in evidence.agents:
        pushes = [e["prices"] for e in evidence.journals[agent.agent_id] if e["event"] == "prices"]
        for symbol in agent.symbols:
            pushed = pushes[-1][symbol] if pushes else None
            shared[symbol].append(pushed)
            own = _price(evidence, f"prices:{agent.agent_id}:{symbol}")
            if pushed is None or own != pushed:
                yield f"{agent.name}'s {symbol} is {own}, pushed was {pushed}"
    for symbol, pushed in shared.items():
        if _price(evidence, f"prices:{symbol}") not in pushed:
            yield f"prices:{symbol} is nobody's last push"


def _price(evidence: Evidence, key: str) -> dict[str, float] | None:
    stored = evidence.prices.get(key)
    return {name: stored[name] for name in ("bid", "ask")} if stored else None


def log_keeps_secrets(evidence: Evidence) -> Iterator[str]:
    """The log has the requests, and of no key or token more than its beginning."""
    for route in ROUTES:
        if route not in evidence.log:
            yield f"the log does not have {route}: is it the service's?"
    for number, secret in enumerate(evidence.secrets):
        if secret in evidence.log:
            yield f"the log holds secret number {number}"


def killed_and_back(evidence: Evidence) -> Iterator[str]:
    """The killed agent began the job twice, in two processes, under one lease, and ended it."""
    job = evidence.jobs.get(evidence.killed) if evidence.killed else None
    if job is None or job.agent_id is None:
        yield "no agent was killed in the middle of a job"
        return
    events = [
        entry["event"]
        for entry in evidence.journals[job.agent_id]
        if entry["event"] == "started" or entry.get("job_id") == str(job.job_id)
    ]
    if events != ["started", "begun", "started", "begun", "done", "acknowledged"]:
        yield f"{job.job_id}: {', '.join(events)}"


PROOFS: dict[str, Proof] = {
    "all nine types of jobs were done": all_types,
    "every job was claimed by one agent, once per lease": claimed_once,
    "every job ended exactly once": ended_once,
    "every end is what the agent reported": as_reported,
    "no agent saw a job of another user or account": kept_apart,
    "versions, deployments and signals say what the results said": settled_equals_ended,
    "the killed agent came back and finished its job": killed_and_back,
    "prices are in the store under both keys": prices_stored,
    "the service's log holds no key and no token": log_keeps_secrets,
}


def prove(evidence: Evidence) -> dict[str, list[str]]:
    """Return what is wrong, by proof."""
    return {name: list(proof(evidence)) for name, proof in PROOFS.items()}
