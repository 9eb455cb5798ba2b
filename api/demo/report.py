"""The demo's result, for people and for programs."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from api.demo.evidence import Evidence, Job


@dataclass(frozen=True, slots=True)
class Line:
    """A job on the timeline: milliseconds since the first job was put in."""

    job_type: str
    agent: str
    target: str
    created_ms: float
    claimed_ms: float
    started_ms: float
    ended_ms: float
    status: str
    parent: str
    killed: bool


@dataclass(frozen=True, slots=True)
class Result:
    """What the demo found; `wrong` has the findings of each proof."""

    timeline: list[Line]
    figures: dict[str, Any]
    wrong: Mapping[str, list[str]]

    @property
    def proved(self) -> bool:
        return not any(self.wrong.values())

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "proved": self.proved,
            **self.figures,
            "proofs": {proof: not found for proof, found in self.wrong.items()},
            "wrong": [f"{proof}: {line}" for proof, found in self.wrong.items() for line in found],
            "timeline": [asdict(line) for line in self.timeline],
        }


def summary(evidence: Evidence, wrong: Mapping[str, list[str]], seconds: float) -> Result:
    """Put the result together."""
    jobs = sorted(evidence.jobs.values(), key=lambda job: (job.created_at, job.job_id))
    timeline = [_line(evidence, job, jobs[0].created_at) for job in jobs]
    figures = {
        "users": len({agent.user_id for agent in evidence.agents}),
        "agents": len(evidence.agents),
        "jobs": len(jobs),
        "completed": sum(job.status == "completed" for job in jobs),
        "failed": sum(job.status == "failed" for job in jobs),
        "kills": int(evidence.killed is not None),
        "price_pushes": len(evidence.entries("prices")),
        "seconds": round(seconds, 2),
        "working_seconds": round(max((line.ended_ms for line in timeline), default=0) / 1000, 2),
        "wait_ms": _middle([line.claimed_ms - line.created_ms for line in timeline]),
        "claim_to_end_ms": _middle([line.ended_ms - line.claimed_ms for line in timeline]),
    }
    return Result(timeline, figures, wrong)


def _line(evidence: Evidence, job: Job, zero: float) -> Line:
    names: dict[UUID | None, str] = {agent.agent_id: agent.name for agent in evidence.agents}
    claimed, started, ended = (
        round(1000 * ((at or job.created_at) - zero), 1)
        for at in (job.claimed_at, job.started_at, job.finished_at)
    )
    return Line(
        job_type=job.job_type,
        agent=names.get(job.agent_id, "-"),
        target=job.queue.partition("/")[0],
        created_ms=round(1000 * (job.created_at - zero), 1),
        claimed_ms=claimed,
        started_ms=started,
        ended_ms=ended,
        status=job.status,
        parent=f"{(job.parent_type or '').partition('_')[2]} {job.parent_state or ''}".strip(),
        killed=job.job_id == evidence.killed,
    )


def _middle(values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    return {"p50": round(statistics.median(values), 1), "max": round(max(values), 1)}


def print_result(result: Result) -> None:
    """Print the timeline, the figures, then each proof with its outcome."""
    print("\njob type        agent   target   created  claimed  started    ended ms")
    for line in result.timeline:
        times = (line.created_ms, line.claimed_ms, line.started_ms, line.ended_ms)
        print(
            f"{line.job_type:<15} {line.agent:<7} {line.target:<6} ",
            *(f"{at:8.0f}" for at in times),
            f"  {line.status:<9} {line.parent}{'  <- agent killed here' if line.killed else ''}",
        )
    figures = result.figures
    ends = f"{figures['completed']} completed, {figures['failed']} failed on purpose"
    print(f"""
jobs       {figures["jobs"]}: {ends}
agents     {figures["agents"]} of {figures["users"]} users, {figures["kills"]} killed with SIGKILL
prices     {figures["price_pushes"]} pushes
waited     {_percentiles(figures["wait_ms"])}
worked     {_percentiles(figures["claim_to_end_ms"])}
time       {figures["seconds"]} s, {figures["working_seconds"]} s from the first job to the last end
""")
    for proof, found in result.wrong.items():
        print(f"{'FAILED' if found else 'proved'}  {proof}")
        for finding in found[:10]:
            print(f"        {finding}")


def _percentiles(values: dict[str, float]) -> str:
    return "  ".join(f"{name} {value} ms" for name, value in values.items())
