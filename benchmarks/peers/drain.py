"""How fast worker processes empty a queue."""

from __future__ import annotations

from benchmarks.database import Usage
from benchmarks.peers.bench import SPENT, Bench, Workload, per_job
from benchmarks.peers.child import SideFailed, Tick, team
from benchmarks.peers.side import Side
from benchmarks.peers.stores import Store
from benchmarks.report import Column, Sample


def drain(bench: Bench, side: Side, processes: int) -> Sample:
    """Count jobs that have ended in the store, from the first call of a handler on."""
    jobs = bench.jobs(side.drain)
    with bench.stores.store(side) as store:
        bench.fill(side, store, jobs)
        with (
            store.measure() as spent,
            team(bench.environment, side, store.url, processes) as workers,
        ):
            workers.go()
            workers.until(jobs)
            end = store.done(jobs)
            total, cpu, _ = workers.report()
        _check(side, store, total, jobs)
    return _sample(jobs, end - total.first, total, spent, cpu)


def _check(side: Side, store: Store, total: Tick, jobs: int) -> None:
    ended, left = store.ended(), store.left()
    if left or ended not in {jobs, None}:
        raise SideFailed(f"{side.name}: of {jobs} jobs {ended} completed, {left} are left")
    if total.calls < jobs:
        raise SideFailed(f"{side.name}: {total.calls} handlers were called for {jobs} jobs")


def _sample(jobs: int, seconds: float, total: Tick, spent: Usage | None, cpu: float) -> Sample:
    return {
        **per_job(jobs, spent, cpu),
        "calls": total.calls,
        "seconds": seconds,
        "jobs_per_second": jobs / seconds,
        "last_call_to_end_seconds": seconds - (total.last - total.first),
    }


def workload(processes: int) -> Workload:
    return Workload(
        f"drain-{processes}",
        f"How many jobs a second do {processes} worker process(es) bring to their end? From the"
        " first call of a handler until the store has no job left that has not ended.",
        (Column("jobs_per_second", "jobs/s"), *SPENT),
        lambda bench, side: drain(bench, side, processes),
    )
