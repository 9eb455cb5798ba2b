"""What every workload works with, and what it does before it measures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.database import USAGE_COLUMNS, Usage
from benchmarks.peers.child import SideFailed, producer
from benchmarks.peers.environment import Environment
from benchmarks.peers.side import Side
from benchmarks.peers.stores import Store, Stores
from benchmarks.report import Column, Sample

_FILL = 100_000
SPENT = (*USAGE_COLUMNS, Column("client_cpu_us_per_job", "client CPU µs/job", digits=1))


@dataclass(frozen=True, slots=True)
class Bench:
    """`quick` only shows that everything works."""

    stores: Stores
    environment: Environment
    quick: bool

    def jobs(self, count: int) -> int:
        return max(100, count // 100) if self.quick else count

    def seconds(self, full: float) -> float:
        return min(full, 0.3) if self.quick else full

    def fill(self, side: Side, store: Store, jobs: int) -> None:
        """Put so many jobs in and leave nothing to clean or to write out."""
        with producer(self.environment, side, store.url) as child:
            for first in range(0, jobs, _FILL):
                child.ask(do="many", first=first, jobs=min(_FILL, jobs - first))
        store.settle()
        if (found := store.left()) not in {jobs, None}:
            raise SideFailed(f"{side.name}: {jobs} jobs were put in, {found} are there")


@dataclass(frozen=True, slots=True)
class Workload:
    """A question to all sides that `sides` leaves, one measurement per run."""

    name: str
    question: str
    columns: Sequence[Column]
    measure: Callable[[Bench, Side], Sample]
    sides: Callable[[Side], bool] = lambda _: True


def per_job(jobs: int, spent: Usage | None, client_cpu: float) -> Sample:
    """Return the columns of `SPENT`; those of the server where it is PostgreSQL."""
    server = dict.fromkeys(c.key for c in USAGE_COLUMNS) if spent is None else spent.per_job(jobs)
    return {"jobs": jobs, **server, "client_cpu_us_per_job": client_cpu / jobs * 1e6}
