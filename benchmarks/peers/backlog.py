"""Whether a great backlog makes each job dearer."""

from __future__ import annotations

from statistics import median

from benchmarks.peers.bench import Bench, Workload
from benchmarks.peers.child import team
from benchmarks.peers.side import Side
from benchmarks.report import Column, Sample

_FEW, _TIMES, _ENOUGH_SECONDS = 10_000, 5, 5.0


def backlog(bench: Bench, side: Side) -> Sample:
    """The rate of handlers' calls among few waiting jobs, and at the head of very many."""
    few = min(_FEW, side.drain) if bench.quick else _FEW
    rates = [_rate(bench, side, few, few)]
    while len(rates) < _TIMES and sum(few / rate for rate in rates) < _ENOUGH_SECONDS:
        rates.append(_rate(bench, side, few, few))
    many = bench.jobs(side.backlog)
    rate = _rate(bench, side, many, few if bench.quick else side.drain)
    return {
        "few_per_second": median(rates),
        "many_per_second": rate,
        "part": rate / median(rates),
        "backlog": many,
    }


def _rate(bench: Bench, side: Side, waiting: int, taken: int) -> float:
    with bench.stores.store(side) as store:
        bench.fill(side, store, waiting)
        with team(bench.environment, side, store.url, 1) as workers:
            workers.go()
            workers.until(taken)
            workers.report()
            return workers.rate()


BACKLOG = Workload(
    "backlog",
    "How many jobs a second does one worker process run while 10,000 wait (the median of up to five"
    " drains), and at the head of 5 million (1 million, where it takes too long to put in more)?",
    (
        Column("few_per_second", "jobs/s of 10,000"),
        Column("many_per_second", "jobs/s of the great backlog"),
        Column("part", "great / 10,000", digits=2, better="more"),
        Column("backlog", "great backlog"),
    ),
    backlog,
    lambda side: side.backlog > 0,
)
