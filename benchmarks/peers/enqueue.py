"""How fast jobs are put in: one by one by concurrent callers, and many at once."""

from __future__ import annotations

from benchmarks.peers.bench import SPENT, Bench, Workload, per_job
from benchmarks.peers.child import SideFailed, producer
from benchmarks.peers.side import Side
from benchmarks.report import Column, Sample

_SECONDS, _WARM_SECONDS, _WARM_JOBS = 2.5, 0.3, 1000


def call(bench: Bench, side: Side, callers: int) -> Sample:
    """Callers of one process enqueue one by one, without a pause."""
    warm = {"do": "call", "callers": callers, "seconds": bench.seconds(_WARM_SECONDS)}
    return _measure(bench, side, warm, {**warm, "seconds": bench.seconds(_SECONDS)})


def many(bench: Bench, side: Side) -> Sample:
    """One caller puts in many, the fastest way that the package has."""
    warm = {"do": "many", "first": 0, "jobs": bench.jobs(_WARM_JOBS)}
    jobs = bench.jobs(side.bulk)
    return _measure(bench, side, warm, {**warm, "first": warm["jobs"], "jobs": jobs})


def _measure(bench: Bench, side: Side, warm: dict[str, object], full: dict[str, object]) -> Sample:
    """What the server spends is that of the warming up too, and divided by its jobs too."""
    with bench.stores.store(side) as store:
        with (
            store.measure() as spent,
            producer(bench.environment, side, store.url) as child,
        ):
            warmed, told = child.ask(**warm), child.ask(**full)
        jobs = warmed["jobs"] + told["jobs"]
        if (found := store.left()) not in {jobs, None}:
            raise SideFailed(f"{side.name}: {jobs} jobs were put in, {found} are there")
    return {
        **per_job(jobs, spent, warmed["cpu"] + told["cpu"]),
        "seconds": told["seconds"],
        "jobs_per_second": told["jobs"] / told["seconds"],
    }


def _calling(side: Side) -> bool:
    return side.caller


_COLUMNS = (Column("jobs_per_second", "jobs/s"), *SPENT)
BULK = Workload(
    "bulk",
    "How many jobs a second does one caller put in, who has 100,000 of them (fewer on Redis)?",
    _COLUMNS,
    many,
    _calling,
)


def workload(callers: int) -> Workload:
    return Workload(
        f"enqueue-{callers}",
        f"How many jobs a second do {callers} concurrent caller(s) in one process put in, one at a"
        " time each?",
        _COLUMNS,
        lambda bench, side: call(bench, side, callers),
        _calling,
    )
