"""What agents saw and said, and what the tables say in the end: the records, and their files.

Every agent writes its own file, a line before and a line after each call, so that a call whose
answer nobody saw is known too. Times are of one monotonic clock that all processes share:

    {"call": "a/7", "op": "report", "asked": 3.1, "items": [["<job>", 2, "completed"]]}
    {"call": "a/7", "answered": 3.2, "items": [["ok", "completed"]]}

| op | asked | answered | |
|---|---|---|---|
| enqueue | keys | verdict, job | `rolled_back` instead of a verdict: never to be seen |
| claim | | job, epoch, attempt, lease seconds | with the `agent`; a repeat has the same `request` |
| report | job, epoch, outcome, token | verdict, status | a finish, start, extend, release |
| order | job, `cancel` or `retry` | verdict, status | an operator's |

A report without a token has one of its own, the call's name and the item's place.
`tests/invariants.py` judges these records.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

NEVER = float("inf")
LIVE = "live:"  # begins the keys that are unique only while their job lives
ACCEPTED = ("ok", "retried", "settle_failed")


@dataclass(frozen=True, slots=True)
class Enqueued:
    """A job was put in under a key; without a job nobody knows whether it is there."""

    key: str
    job: str | None = None
    rolled_back: bool = False


@dataclass(frozen=True, slots=True)
class Claimed:
    """A lease was given some time between `asked` and `answered`.

    A repeat under the same request is asked when its first try was: that one may have taken the
    lease.
    """

    call: str
    job: str
    epoch: int
    attempt: int
    seconds: float
    asked: float
    answered: float
    request: str | None = None


@dataclass(frozen=True, slots=True)
class Reported:
    """A holder spoke of its lease; without a verdict nobody knows whether it was heard."""

    token: str  # in the job's output or error, where the report had an effect; a repeat has it too
    job: str
    epoch: int
    outcome: str
    asked: float
    verdict: str | None = None
    status: str | None = None
    answered: float = NEVER

    @property
    def accepted(self) -> bool:
        return self.verdict in ACCEPTED

    @property
    def refused(self) -> bool:
        return self.verdict is not None and not self.accepted


@dataclass(frozen=True, slots=True)
class Ordered:
    """An operator cancelled a job or put it back; without a verdict perhaps."""

    what: Literal["cancel", "retry"]
    job: str
    asked: float
    answered: float = NEVER
    verdict: str | None = None
    status: str | None = None

    @property
    def may_have_happened(self) -> bool:
        return self.verdict in (None, "ok")


@dataclass(frozen=True, slots=True)
class Final:
    """Where a job is in the end, by the tables."""

    job: str
    key: str
    places: int = 1  # rows in ready, lease and ended
    status: str | None = "completed"  # None: it has not ended
    epoch: int = 1
    attempt: int = 1
    max_attempts: int = 5
    token: str | None = None  # of the report that ended it
    failures: tuple[str, ...] = ()  # tokens of the failures that holders reported
    settled: Mapping[str, int] = field(default_factory=dict)  # what its parent counts, by status
    unsettled: bool = False  # listed as not settled yet
    delivery: str = "at_least_once"
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class Parent:
    """A row that jobs belong to: how many it was made for, and how they ended by its counters."""

    name: str
    jobs: int
    counted: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Move:
    """A job came to a status, as a trigger of the tables noted it; in the order of the moves."""

    job: str
    status: str
    epoch: int
    request: str | None = None  # of the claim that took the lease


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What triggers and the host's tables tell beside where each job is in the end."""

    parents: Sequence[Parent] = ()
    moves: Sequence[Move] = ()
    steps: frozenset[tuple[str, str]] = frozenset()  # legal pairs of statuses, from `none` on
    kept: Sequence[tuple[str, int]] = ()  # leases, by job and epoch, whose end was put off


@dataclass(slots=True)
class History:
    """What all agents wrote."""

    enqueued: list[Enqueued] = field(default_factory=list)
    claimed: list[Claimed] = field(default_factory=list)
    reported: list[Reported] = field(default_factory=list)
    ordered: list[Ordered] = field(default_factory=list)


def read(folder: Path) -> History:
    """Read the agents' files; a last line that was cut off by a kill is left out."""
    history = History()
    for file in sorted(folder.glob("*.jsonl")):
        calls: dict[str, dict[str, Any]] = {}
        for line in file.read_text().splitlines(keepends=True):
            if line.endswith("\n"):
                record = json.loads(line)
                calls.setdefault(record["call"], {})[
                    "answer" if "answered" in record else "ask"
                ] = record
        _add_all(history, calls)
    return history


def _add_all(history: History, calls: dict[str, dict[str, Any]]) -> None:
    """Add the calls of one agent, in their order."""
    first_asked: dict[str, float] = {}
    for name, call in calls.items():
        ask, answer = call["ask"], call.get("answer")
        if request := ask.get("request"):
            ask["asked"] = first_asked.setdefault(request, ask["asked"])
        _add(history, name, ask, answer or {"items": None, "answered": NEVER})


def _add(history: History, name: str, ask: dict[str, Any], answer: dict[str, Any]) -> None:
    asked, answered, items = ask["asked"], answer["answered"], ask["items"]
    answers: list[Any] = answer["items"] or [[None, None]] * len(items)
    match ask["op"]:
        case "enqueue":
            history.enqueued += [
                Enqueued(key, job, verdict == "rolled_back")
                for key, (verdict, job) in zip(items, answers, strict=True)
            ]
        case "claim":
            history.claimed += [
                Claimed(name, job, epoch, attempt, seconds, asked, answered, ask.get("request"))
                for job, epoch, attempt, seconds in answers
            ]
        case "report":
            history.reported += [
                _reported(f"{name}/{place}", item, asked, answers[place], answered)
                for place, item in enumerate(items)
            ]
        case "order":
            history.ordered += [
                Ordered(what, job, asked, answered, *said)
                for (job, what), said in zip(items, answers, strict=True)
            ]


def _reported(
    name: str, item: list[Any], asked: float, answer: list[Any], answered: float
) -> Reported:
    job, epoch, outcome, *token = item
    verdict, status = answer
    own = token[0] if token else name
    return Reported(own, job, epoch, outcome, asked, verdict, status, answered)
