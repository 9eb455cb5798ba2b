"""What the harness knows about a side: one system in one configuration."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A side's program speaks the protocol of scripts/contract.py; the rest is told here."""

    name: str
    program: str
    flavour: str = ""
    settings: str
    """Where they are not the defaults."""
    source: str
    """Where they are documented."""
    left: str | None = None
    """A query that has rows while a job is not ended; in Redis, keys that are then not empty."""
    ends_counted: bool = False
    """Whether the end of a drain is told by `ended`, and `left` by nothing."""
    ended: str | None = None
    """A query that counts the jobs which completed, as the database knows; None: they are gone."""
    redis: bool = False
    ours: bool = False
    python: bool = True
    drain: int
    """Jobs that take about 3 s on 2 cores."""
    bulk: int = 100_000
    backlog: int = 0
    """Jobs of the great backlog, which take minutes to put in; 0: not measured."""
    caller: bool = True
    """False: a second configuration of workers, whose enqueue is that of the first."""
