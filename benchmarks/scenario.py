"""What a scenario is, and what it gets to work with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.report import Result
from benchmarks.server import Server


@dataclass(frozen=True, slots=True)
class Lab:
    """One server for all scenarios; `quick` only shows that everything works."""

    server: Server
    runs: int
    quick: bool


@dataclass(frozen=True, slots=True)
class Scenario:
    """A question, and how it is answered."""

    name: str
    question: str
    run: Callable[[Lab], Result]
