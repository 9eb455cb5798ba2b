"""What a scenario is, and what it gets to work with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from benchmarks.report import Result
from benchmarks.server import Server

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Lab:
    """One server for all scenarios, and how large they are to be.

    `quick` only shows that everything works; `daily` is the suite `quick` of two minutes; neither
    is the full size. `duration`, in seconds, is what the caller wants one measurement to take.
    """

    server: Server
    runs: int
    quick: bool
    daily: bool = False
    duration: float | None = None

    def sized(self, *, full: T, daily: T, quick: T) -> T:
        """Return what suits the size of this run: a number of jobs, a list of cases."""
        return quick if self.quick else daily if self.daily else full

    def seconds(self, *, full: float, daily: float, quick: float) -> float:
        """Return how long one measurement takes, unless the caller said so himself."""
        return self.duration or self.sized(full=full, daily=daily, quick=quick)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A question, and how it is answered."""

    name: str
    question: str
    run: Callable[[Lab], Result]
