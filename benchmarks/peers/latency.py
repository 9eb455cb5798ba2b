"""How long after its enqueue a job starts, in a worker that has little to do."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.peers.bench import Bench, Workload
from benchmarks.peers.child import SideFailed, producer, team
from benchmarks.peers.side import Side
from benchmarks.report import Column, Sample

_RATE, _JOBS, _WARM = 20.0, 200, 20


def latency(bench: Bench, side: Side) -> Sample:
    """20 jobs a second; those of the first second only warm up."""
    jobs, warm = (20, 5) if bench.quick else (_JOBS, _WARM)
    with (
        bench.stores.store(side) as store,
        team(bench.environment, side, store.url, 1) as workers,
        producer(bench.environment, side, store.url) as child,
    ):
        workers.go(record=True)
        times = child.ask(do="pace", jobs=warm + jobs, rate=_RATE)["times"]
        workers.until(warm + jobs)
        _, _, seen = workers.report()
    if missing := {number for number, _, _ in times[warm:]} - seen.keys():
        raise SideFailed(f"{side.name}: {len(missing)} jobs never began, others twice")
    known = [(seen[number], called, put) for number, called, put in times[warm:]]
    return {
        **_quantiles("call", [start - called for start, called, _ in known]),
        **_quantiles("commit", [start - put for start, _, put in known]),
    }


def _quantiles(since: str, seconds: Sequence[float]) -> Sample:
    return {f"{since}_p{q}_ms": quantile(seconds, q / 100) * 1000 for q in (50, 95, 99)}


def quantile(values: Sequence[float], part: float) -> float:
    """Return the least value that `part` of all do not exceed."""
    ordered = sorted(values)
    # A hair less than a whole number must not round up to the next.
    return ordered[max(0, -int(-(len(ordered) * part - 1e-9) // 1) - 1)]


LATENCY = Workload(
    "latency",
    "How long after its enqueue does a job start, at 20 a second and with one worker process? From"
    " the call of enqueue, and from its return (which may come after the start).",
    (
        Column("call_p50_ms", "call to start p50 ms", digits=2),
        Column("call_p95_ms", "p95", digits=2),
        Column("call_p99_ms", "p99", digits=2),
        Column("commit_p50_ms", "return to start p50 ms", digits=2),
        Column("commit_p95_ms", "p95", digits=2),
        Column("commit_p99_ms", "p99", digits=2),
    ),
    latency,
    lambda side: side.caller,
)
