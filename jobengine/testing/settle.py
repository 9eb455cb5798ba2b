"""`SettleMachine`: Hypothesis tests a settle function of yours against the engine in a database.

A settle function is told of every end of a job, in batches, sometimes late, sometimes of another
end of a job that it was told of before. Its parents must then be a fold over what it was told. The
machine enqueues, claims, finishes, cancels, retries and lets time pass in an order that Hypothesis
chooses, and compares after every step.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import cycle
from typing import Any, ClassVar, TypeAlias
from uuid import UUID

import psycopg

from jobengine import _db, calls
from jobengine._arguments import finish_arguments
from jobengine.errors import InvalidArgument
from jobengine.records import JobInfo, NewJob, Outcome, Report, Status
from jobengine.sync import _call, enqueue_many
from jobengine.testing.clock import Clock

try:
    from hypothesis import HealthCheck, Phase, settings
    from hypothesis import strategies as st
    from hypothesis.stateful import (
        RuleBasedStateMachine,
        initialize,
        invariant,
        rule,
        run_state_machine_as_test,
    )
except ImportError as error:
    raise ImportError('SettleMachine needs Hypothesis: pip install "jobengine[testing]"') from error

QUEUE = "jobengine-testing"
# The engine can split a batch of so many jobs down to each poisonous one (_settle.sql).
MOST_JOBS = 17
SETTINGS = settings(
    max_examples=50,
    stateful_step_count=20,
    deadline=None,
    # Not `explain`: it doubles the time to say which values do not matter.
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)

_OUTCOMES: tuple[Outcome, ...] = (
    "completed",
    "failed",
    "rejected",
    "snooze",
    "cancelled",
    "unknown",
)
# Reported with no delay, so that a retried job is due at once.
_RETRYING: frozenset[Outcome] = frozenset(("failed", "snooze", "unknown"))
_HELD: frozenset[Status] = frozenset(("claimed", "running", "unknown"))
_RETRYABLE: frozenset[Status] = frozenset(("failed", "cancelled", "expired"))

# A job to enqueue, and whether its settle may fail.
_Drawn: TypeAlias = tuple[NewJob, bool]
_places = st.lists(st.integers(0, MOST_JOBS - 1), min_size=1, max_size=4, unique=True)
_outcomes = st.sampled_from(_OUTCOMES)


def _drawn_by(machine: SettleMachine) -> st.SearchStrategy[_Drawn]:
    good = st.tuples(machine.jobs, st.just(value=False))
    if machine.poison is None:
        return good
    return good | st.tuples(machine.poison, st.just(value=True))


def _limited(drawn: _Drawn, expires_in: float | None, max_attempts: int | None) -> _Drawn:
    job, poisonous = drawn
    job = replace(job, queue=QUEUE, max_attempts=job.max_attempts or max_attempts)
    if job.expires_in is None and job.expires_at is None:
        job = replace(job, expires_in=expires_in)
    return job, poisonous


_new: st.SearchStrategy[_Drawn] = st.builds(
    _limited,
    st.runner().flatmap(_drawn_by),
    expires_in=st.sampled_from([None, None, 30.0]),
    max_attempts=st.sampled_from([1, 2]),
)
_outputs: st.SearchStrategy[list[Any]] = st.runner().flatmap(
    lambda machine: st.lists(machine.outputs, min_size=1, max_size=3)
)


class SettleMachine(RuleBasedStateMachine):
    """A machine to subclass: what jobs there are, and what parents they should lead to.

    `database` is a URL or a plain connection whose role may act as the engine's owner; `jobs` draws
    the jobs to enqueue (few parents, so that jobs meet), `outputs` what a completed one gives.
    `poison` draws jobs for which the settle function raises: they alone may stay unsettled. Every
    example is one transaction, which is rolled back.
    """

    database: ClassVar[str | psycopg.Connection[Any]]
    jobs: ClassVar[st.SearchStrategy[NewJob]]
    outputs: ClassVar[st.SearchStrategy[Any]] = st.none()
    poison: ClassVar[st.SearchStrategy[NewJob] | None] = None

    def prepare(self, connection: psycopg.Connection[Any]) -> None:
        """Make what an example needs, such as empty parents; rolled back after it."""

    def expected(self, told: Sequence[JobInfo]) -> object:
        """Return what the parents should be: a fold over the jobs of which they were told.

        Each job is as it was last told, in the order of the ids: ended, or `pending` where it was
        put back by a retry.
        """
        raise NotImplementedError

    def actual(self, connection: psycopg.Connection[Any]) -> object:
        """Return what the parents are, in the shape of `expected`."""
        raise NotImplementedError

    @classmethod
    def check(
        cls,
        database: str | psycopg.Connection[Any] | None = None,
        *,
        settings: settings = SETTINGS,
    ) -> None:
        """Run the machine; a settle function that goes wrong raises, with the shortest way to it.

        `database` replaces the class's own.
        """
        bound = {} if database is None else {"database": database}
        run_state_machine_as_test(type(cls.__name__, (cls,), bound), settings=settings)

    def __init__(self) -> None:
        """Begin an example."""
        super().__init__()
        self._poisonous: dict[UUID, bool] = {}
        self._found: list[JobInfo] = []
        self._told: dict[UUID, JobInfo] = {}
        with ExitStack() as stack:
            self._connection = _opened(self.database, stack)
            stack.enter_context(self._connection.transaction(force_rollback=True))
            self._connection.execute("select setseed(0)")  # the same steps meet the same jitter
            self._clock = Clock(self._connection)
            self.prepare(self._connection)
            self._open = stack.pop_all()

    def teardown(self) -> None:
        """End the example; nothing of it stays."""
        self._open.close()

    @invariant()
    def parents_follow(self) -> None:
        """Compare the parents with the fold of what they were told."""
        self._look()
        expected = self.expected([self._told[job_id] for job_id in sorted(self._told)])
        found = self.actual(self._connection)
        assert found == expected, f"settled_equals_ended: expected {expected}, found {found}"

    @initialize(new=st.lists(_new, min_size=2, max_size=6))
    def begin(self, new: list[_Drawn]) -> None:
        """Put the first jobs in."""
        self._enqueue(new)

    @rule(new=st.lists(_new, min_size=1, max_size=4))
    def enqueue(self, new: list[_Drawn]) -> None:
        """Put jobs in, as long as a batch of all of them can be split."""
        self._enqueue(new[: MOST_JOBS - len(self._poisonous)])

    @rule(limit=st.sampled_from([1, 2, MOST_JOBS]), two_phase=st.sampled_from(["never", "always"]))
    def claim(self, limit: int, two_phase: str) -> None:
        """Take jobs, begun or (in two phases) not yet begun."""
        request = {
            "queues": [QUEUE],
            "agent_id": "SettleMachine",
            "limit": limit,
            "two_phase": two_phase,
        }
        requests = _db.json([request], "requests") or b""
        _call(self._connection, calls.claim, requests=requests.decode())

    @rule(places=_places, outcomes=st.tuples(*[_outcomes] * 4), outputs=_outputs)
    def finish(self, places: list[int], outcomes: tuple[Outcome, ...], outputs: list[Any]) -> None:
        """Report on some jobs in one batch, each with an outcome of its own."""
        self._finish(zip(self._at(places, _HELD), outcomes, cycle(outputs)))

    @rule(outcome=_outcomes, outputs=_outputs)
    def finish_all(self, outcome: Outcome, outputs: list[Any]) -> None:
        """Report on all jobs that are held, or unknown, in one batch."""
        self._finish(zip(self._in(_HELD), cycle([outcome]), cycle(outputs)))

    @rule(places=_places)
    def cancel(self, places: list[int]) -> None:
        """Cancel some jobs, wherever they are."""
        job_ids = [job.job_id for job in self._at(places)]
        _call(self._connection, calls.cancel, job_ids=_db.array(job_ids) or "{}")

    @rule(places=_places)
    def retry(self, places: list[int]) -> None:
        """Put ended jobs back to wait."""
        if job_ids := [job.job_id for job in self._at(places, _RETRYABLE)]:
            _call(self._connection, calls.retry, job_ids=_db.array(job_ids))

    @rule(seconds=st.sampled_from([1, 60, 1_000_000]))
    def pass_time(self, seconds: float) -> None:
        """Let time pass, then sweep: leases run out, jobs expire, settles are tried again."""
        self._clock.advance(seconds)
        _call(self._connection, calls.sweep)

    def _enqueue(self, new: list[_Drawn]) -> None:
        self._clock.advance(0.000001)  # so that later jobs have later ids
        for answer in enqueue_many(self._connection, [job for job, _ in new]):
            if answer.verdict == "ok":
                self._poisonous[answer.job_id] = new[answer.item - 1][1]

    def _finish(self, said: Iterable[tuple[JobInfo, Outcome, Any]]) -> None:
        if reports := [_report(*each) for each in said]:
            _call(self._connection, calls.finish, **finish_arguments(reports))

    def _in(self, statuses: frozenset[Status]) -> list[JobInfo]:
        return [job for job in self._found if job.status in statuses]

    def _at(self, places: list[int], statuses: frozenset[Status] | None = None) -> list[JobInfo]:
        """Return the jobs in these places, counted round, each once."""
        jobs = self._found if statuses is None else self._in(statuses)
        return (
            [jobs[place] for place in dict.fromkeys(p % len(jobs) for p in places)] if jobs else []
        )

    def _look(self) -> None:
        """Note where the jobs are and what their parents have been told."""
        job_ids = _db.array(self._poisonous) or "{}"
        self._found = _call(self._connection, calls.get, job_ids=job_ids)
        for job in self._found:
            if job.finished_at is not None and job.settled_status == job.status:
                self._told[job.job_id] = job
            elif job.finished_at is None and job.job_id in self._told:
                # Only a retry leads back, and only after the parents have been told.
                self._told[job.job_id] = replace(job, status="pending")
            elif job.finished_at is not None and not self._poisonous[job.job_id]:
                raise AssertionError(_unsettled(job))


def _opened(database: str | psycopg.Connection[Any], stack: ExitStack) -> psycopg.Connection[Any]:
    if isinstance(database, str):
        return stack.enter_context(psycopg.connect(database))
    if not isinstance(database, psycopg.Connection):
        raise InvalidArgument("database", "a URL or a psycopg.Connection")
    return database


def _report(job: JobInfo, outcome: Outcome, output: Any) -> Report:
    return Report(
        job_id=job.job_id,
        lease_epoch=job.lease_epoch,
        outcome=outcome,
        output=output if outcome == "completed" else None,
        error_code=None if outcome == "completed" else "planned",
        delay=0.0 if outcome in _RETRYING else None,
    )


def _unsettled(job: JobInfo) -> str:
    why = job.settle_error or "its job type has no settle function"
    return f"a {job.job_type} that ended {job.status} was not settled: {why}"
