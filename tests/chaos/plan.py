"""One seed decides who works and which fault comes when; the same seed gives the same plan."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

# How often each fault comes, by profile; what each does is a method of `Nemesis`.
PROFILES: Mapping[str, Mapping[str, int]] = {
    "all": {
        "kill": 12,
        "kill_all": 2,
        "kill_producer": 2,
        "pause": 14,
        "terminate": 12,
        "crash": 3,
        "immediate": 3,
        "postmaster": 3,
        "fast": 3,
        "stall": 5,
        "reset": 8,
        "trickle": 4,
        "refuse": 4,
        "listener": 5,
        "hold_parents": 4,
        "hold_leases": 4,
    },
    "zombie": {"pause": 1},
}
GAP_SECONDS = (0.15, 0.65)  # between two faults
LOSSES = 0.01  # of the answers to these, after the commit
LOSABLE = ("enqueue", "commit", "claim", "start", "extend", "finish", "release", "cancel", "retry")
CREW = {"worker": 2, "agent": 3, "producer": 1, "steward": 1}


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens `at` so many seconds; two numbers from 0 to 1 choose the victim and how long.

    The clock of the plan stands still while a fault is made: a restart delays what follows it.
    """

    at: float
    kind: str
    who: float
    length: float


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a seed decides; PostgreSQL and the processes are not deterministic."""

    seed: int
    seconds: float
    profile: str
    faults: tuple[Fault, ...]

    def loses(self, operation: str, number: int) -> bool:
        """Say whether the answer to this call of the operation is lost."""
        if operation not in LOSABLE:
            return False
        return _random(self.seed, operation, number).random() < LOSSES


def make(seed: int, seconds: float, profile: str = "all") -> Plan:
    """Return the plan of a seed; a longer one begins with the same faults."""
    chance = _random(seed, profile)
    weights = PROFILES[profile]
    faults, at = [], chance.uniform(*GAP_SECONDS)
    while at < seconds:
        (kind,) = chance.choices(list(weights), list(weights.values()))
        faults.append(Fault(round(at, 3), kind, chance.random(), chance.random()))
        at += chance.uniform(*GAP_SECONDS)
    return Plan(seed, seconds, profile, tuple(faults))


def _random(*parts: object) -> random.Random:
    return random.Random("/".join(map(str, parts)))  # noqa: S311 - repeatable, not secret
