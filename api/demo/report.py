"""The demo's result, for people and for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from api.demo.evidence import Evidence, Job
from api.demo.latency import Latency, table
from api.demo.orders import Placed
from api.demo.ways import HEAD, Way, way_line, ways


@dataclass(frozen=True, slots=True)
class Line:
    """A job, an order or an event; milliseconds since the first, None where it never came to it."""

    at_ms: float
    agent: str
    what: str
    claimed_ms: float | None = None
    sent_ms: float | None = None
    ended_ms: float | None = None
    status: str = ""
    job_type: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What the demo found; `wrong` has the findings of each proof."""

    timeline: Sequence[Line]
    ways: Sequence[Way]
    latencies: Sequence[Latency]
    figures: Mapping[str, Any]
    wrong: Mapping[str, list[str]]

    @property
    def proved(self) -> bool:
        """Whether every proof holds."""
        return not any(self.wrong.values())

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "proved": self.proved,
            **self.figures,
            "latencies_ms": [asdict(one) for one in self.latencies],
            "proofs": {proof: not found for proof, found in self.wrong.items()},
            "wrong": [f"{proof}: {line}" for proof, found in self.wrong.items() for line in found],
            "ways": [asdict(way) for way in self.ways],
            "timeline": [asdict(line) for line in self.timeline],
        }


def summary(evidence: Evidence, wrong: Mapping[str, list[str]], seconds: float) -> Result:
    """Put the result together."""
    lines = sorted(_lines(evidence), key=lambda line: line.at_ms)
    orders = Counter(placed.status for placed in evidence.placed)
    figures = {
        "users": len({agent.user_id for agent in evidence.agents}),
        "agents": len(evidence.agents),
        "jobs": len(evidence.jobs),
        "orders": dict(orders),
        "repeated": sum(placed.replayed for placed in evidence.placed),
        "alerts": dict(Counter(way.became for way in ways(evidence))),
        "deals": sum(len(account.book.deals) for account in evidence.accounts),
        "stops": sum(deal.reason == "sl" for _, deal in evidence.deals()),
        "kills": dict(evidence.kills),
        "clients": len(evidence.watchers),
        "ticks": sum(len(watcher.ticks) for watcher in evidence.watchers),
        "seconds": round(seconds, 2),
        "working_seconds": round(max(line.ended_ms or line.at_ms for line in lines) / 1000, 2),
    }
    return Result(lines, ways(evidence), table(evidence), figures, wrong)


def _lines(evidence: Evidence) -> Iterator[Line]:
    zero = evidence.events[0].at
    placed = {one.order_id: one for one in evidence.placed}
    for event in evidence.events:
        yield Line(_ms(event.at, zero), "", event.words)
    for job in evidence.jobs.values():
        yield _line(evidence, job, placed.get(job.job_id), zero)


def _line(evidence: Evidence, job: Job, placed: Placed | None, zero: float) -> Line:
    names = {agent.agent_id: agent.name for agent in evidence.agents}
    claimed, sent, ended = (
        _ms(at, job.created_at) if at else None
        for at in (job.claimed_at, job.started_at, job.finished_at)
    )
    return Line(
        at_ms=_ms(job.created_at, zero),
        agent=names[job.agent_id] if job.agent_id else "",
        what=placed.order.words if placed else job.job_type,
        claimed_ms=claimed,
        sent_ms=sent,
        ended_ms=ended,
        status=f"{job.order_status or job.status}{_price(job)}{_tries(placed)}",
        job_type=job.job_type,
    )


def _ms(at: float, since: float) -> float:
    return round(1000 * (at - since), 1)


def _price(job: Job) -> str:
    return f" at {job.fill_price:.10g}" if job.fill_price else ""


def _tries(placed: Placed | None) -> str:
    again = placed.tries - 1 if placed else 0
    return f", asked {again + 1} times" if again else ""


def print_result(result: Result) -> None:
    """Print the timeline, the alerts, the latencies, the figures, then each proof's outcome."""
    print("\n at ms  agent   what                 claimed     sent    ended ms after it")
    for line in result.timeline:
        print(_shown(line))
    print(f"\n{HEAD}")
    for way in result.ways:
        print(way_line(way))
    print(f"\n{'milliseconds':<28} {'count':>6} {'p50':>8} {'p95':>8} {'max':>8}")
    for one in result.latencies:
        print(f"{one.step:<28} {one.count:>6} {one.p50:>8.1f} {one.p95:>8.1f} {one.max:>8.1f}")
    print(_figures(result.figures))
    for proof, found in result.wrong.items():
        print(f"{'FAILED' if found else 'proved'}  {proof}")
        for finding in found[:10]:
            print(f"        {finding}")


def _shown(line: Line) -> str:
    if not line.job_type:
        return f"{line.at_ms:6.0f}  ---- {line.what}"
    times = "".join(
        f" {'':>8}" if at is None else f" {at:>8.1f}"
        for at in (line.claimed_ms, line.sent_ms, line.ended_ms)
    )
    return f"{line.at_ms:6.0f}  {line.agent:<7} {line.what:<19}{times}   {line.status}"


def _figures(figures: Mapping[str, Any]) -> str:
    orders, alerts = (
        ", ".join(f"{count} {status}" for status, count in sorted(figures[kind].items()))
        for kind in ("orders", "alerts")
    )
    kills = ", ".join(f"{name} amid {count} orders" for name, count in figures["kills"].items())
    return f"""
orders     {orders}; {figures["repeated"]} answers to repeated requests
alerts     {alerts}
books      {figures["deals"]} deals, {figures["stops"]} of them stop-losses
jobs       {figures["jobs"]}, by {figures["agents"]} agents of {figures["users"]} users
prices     {figures["ticks"]} to {figures["clients"]} WebSocket clients
killed     {kills}
time       {figures["seconds"]} s, {figures["working_seconds"]} s from the first job to the last end
"""
