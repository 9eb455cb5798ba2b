"""What must hold after a few calls have met, in whatever order they did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from tests.races.calls import Lease
from tests.races.interleavings import History
from tests.races.sessions import Rows
from tests.races.world import State, World

# These give a lease back, after which a newer one is right.
GIVE_BACK = {"fail", "release"}

REFUSALS = {"stale_lease", "conflict", "duplicate", "not_found", "busy"}

Told = dict[str, Any]


@dataclass
class Outcome:
    """One order of a race: who called what, what was answered and what is left of it."""

    names: tuple[str, ...]
    history: History
    said: list[dict[str, Told]]  # per session: what it was told of each job
    states: list[State]  # at first, and after each commit
    final: State  # after one more sweep
    completed_in_parents: int

    def told(self, name: str, job: str) -> list[Told]:
        """Return what the calls of this name were told of the job."""
        pairs = zip(self.names, self.said, strict=True)
        return [said[job] for called, said in pairs if called == name and job in said]

    def refused(self, job: str) -> frozenset[int]:
        """Return the sessions that were told that they did nothing to the job."""
        return frozenset(
            number
            for number, said in enumerate(self.said)
            if said.get(job, {}).get("verdict") in REFUSALS
        )

    def of(self, job: str, sessions: AbstractSet[int]) -> str:
        """Return where the job ended and what these sessions were told of it."""
        return f"{[self.said[number].get(job) for number in sorted(sessions)]} {self.final[job]}"


# What comes of the calls of some of the sessions, made one by one, in each order of them.
OneByOne = Callable[[frozenset[int]], Sequence[Outcome]]


def said(world: World, rows: Rows) -> dict[str, Told]:
    """Return what a call answered about each job; a sweep says nothing about any."""
    names = {job_id: name for name, job_id in world.jobs.items()}
    told = ("verdict", "status", "cancel_reason", "lease_epoch", "attempt")
    return {
        names[row["job_id"]]: {column: row[column] for column in told if column in row}
        for row in rows
        if "job_id" in row
    }


def no_error(outcome: Outcome) -> None:
    """No deadlock, and nothing else that a caller would have to try again."""
    assert outcome.history.errors == {}


def no_lost_job(outcome: Outcome) -> None:
    for state in [*outcome.states, outcome.final]:
        assert {job: row["places"] for job, row in state.items()} == dict.fromkeys(state, 1)


def no_double_claim(outcome: Outcome, leases: list[Lease], world: World) -> None:
    """No lease is handed out twice, and a job's epoch never goes back."""
    names = {job_id: name for name, job_id in world.jobs.items()}
    given = [(names[job_id], epoch) for job_id, epoch in leases]
    for called, answers in zip(outcome.names, outcome.said, strict=True):
        if called == "claim":
            given += [(job, told["lease_epoch"]) for job, told in answers.items()]
    assert len(given) == len(set(given)), f"handed out twice: {sorted(given)}"
    states = [*outcome.states, outcome.final]
    for job in outcome.final:
        epochs = [state[job]["lease_epoch"] for state in states]
        assert epochs == sorted(epochs), f"epochs of {job}: {epochs}"
        assert epochs[-1] >= max((epoch for name, epoch in given if name == job), default=0)


def no_stale_effect(outcome: Outcome, one_by_one: OneByOne) -> None:
    """Whoever was refused has changed nothing: all is as if that call had not been made.

    And a finish has its effect once or never, and an old lease none beside a newer one.
    """
    for job, row in outcome.final.items():
        heard = frozenset(range(len(outcome.names))) - outcome.refused(job)
        _is_one_of(outcome, one_by_one(heard), job, heard)
        finishes = [told["verdict"] for told in outcome.told("finish", job)]
        assert finishes.count("ok") == (row["status"] == "completed"), f"{job}: {finishes}, {row}"
        if not GIVE_BACK & set(outcome.names) and outcome.told("claim", job):
            kept = [
                told["verdict"]
                for name in ("extend", "start", "finish")
                for told in outcome.told(name, job)
            ]
            assert "ok" not in kept, f"{job} was claimed, and its old lease was good for {kept}"


def settled_equals_ended(outcome: Outcome) -> None:
    completed = [row for row in outcome.final.values() if row["status"] == "completed"]
    assert outcome.completed_in_parents == len(completed)
    assert all(row["settle_error"] is None for row in outcome.final.values())


def as_if_one_by_one(outcome: Outcome, one_by_one: OneByOne) -> None:
    """For each job, the answers and the end are those of the calls in some order, one by one.

    For each job, not for all at once: claim and sweep pass by rows that others hold, so that two
    jobs may meet the same calls in different orders. Jobs do not depend on each other, hence
    nobody can tell. `busy` says nothing about the job, so it is no answer to compare.
    """
    everybody = frozenset(range(len(outcome.names)))
    for job in outcome.final:
        answered = {n for n in everybody if outcome.said[n].get(job, {}).get("verdict") != "busy"}
        _is_one_of(outcome, one_by_one(everybody), job, answered)


def _is_one_of(
    outcome: Outcome, others: Sequence[Outcome], job: str, sessions: AbstractSet[int]
) -> None:
    found = outcome.of(job, sessions)
    possible = {other.of(job, sessions) for other in others}
    assert found in possible, f"{job} of {outcome.names}: {found}; possible: {possible}"
