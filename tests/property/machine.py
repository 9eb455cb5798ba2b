"""A state machine over a `Pair`: Hypothesis chooses the steps, the pair judges them."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

import psycopg
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
)
from psycopg.rows import DictRow

from jobengine import NO_TENANT
from jobengine.testing import Clock
from jobengine.testing.model import RETRYABLE, Item, Job, Report, Request
from tests.property.pair import TYPES, HeldLease, Pair

AGENTS = ("ada", "bob")
TENANTS = (NO_TENANT, UUID(int=1))
QUEUES = ("default", "side")
OUTCOMES = ("completed", "failed", "rejected", "snooze", "cancelled", "unknown")
# A settle batch of 17 jobs can be split to single ones, a larger one cannot: see _settle.sql.
MOST_JOBS = 17


def _maybe(*values: Any) -> st.SearchStrategy[Any]:
    """Mostly None, else one of the values."""
    return st.sampled_from([None] * (len(values) + 1) + list(values))


def _with_key(item: Item, kind: str | None, key: str) -> Item:
    values = {name: getattr(item, name) for name in Item.__dataclass_fields__}
    return Item(**values | {kind: key} if kind else values)


items = st.builds(
    _with_key,
    st.builds(
        Item,
        job_type=st.sampled_from([kind.name for kind in TYPES]),
        input=st.sampled_from([1, 1, 1, 1, 2, 2, 3]).map(lambda parent: {"parent": parent}),
        tenant=_maybe(TENANTS[1]),
        queue=_maybe(QUEUES[1]),
        priority=_maybe(0, 9),
        delay=_maybe(5, 30),
        expires_in=_maybe(8, 40),
        max_attempts=_maybe(1),
    ),
    _maybe("dedup_key", "live_key"),
    st.sampled_from(["a", "b"]),
)

request_ids = _maybe(UUID(int=11))
two_phases = st.sampled_from(["never", "never", "at_most_once", "always"])
requests = st.builds(
    Request,
    agent=st.sampled_from(AGENTS),
    queues=st.sampled_from([QUEUES, QUEUES, QUEUES[::-1], QUEUES[:1]]),
    limit=st.sampled_from([1, 2, 9]),
    tenant=_maybe(*TENANTS),
    request_id=request_ids,
    two_phase=two_phases,
)

tenants = _maybe(*TENANTS)
outcomes = st.sampled_from(OUTCOMES)
delays = _maybe(0, 3)
places = st.integers(0, 9)
# How an agent comes by a lease: whether from those that are held, and which.
Grip = tuple[bool, int]
grips = st.lists(st.tuples(st.booleans(), places), min_size=1, max_size=3)


def _report(lease: HeldLease, outcome: str, delay: float | None) -> Report:
    job_id, epoch = lease
    wrong = outcome in ("failed", "rejected", "unknown")
    return Report(
        job_id,
        epoch,
        outcome,
        delay=delay,
        output={"epoch": epoch} if outcome == "completed" else None,
        error_code="oops" if wrong else None,
        error_message=f"by {epoch}" if wrong else None,
    )


class EngineMachine(RuleBasedStateMachine):
    """The rules. `bound` gives it the database to run on.

    No rule has a precondition and none needs a lease to be there: Hypothesis switches rules off at
    random for each run, and throws a run away in which no rule that is left may be used.
    """

    conn: ClassVar[psycopg.Connection[DictRow]]
    clock: ClassVar[Clock]

    jobs: Bundle[UUID] = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.pair = Pair(self.conn, self.clock)
        self.memory: dict[str, list[HeldLease]] = {agent: [] for agent in AGENTS}
        self.granted: list[HeldLease] = []

    def teardown(self) -> None:
        self.pair.close()

    @invariant()
    def engine_equals_model(self) -> None:
        self.pair.check()

    def _jobs(self, *statuses: str) -> list[Job]:
        return [job for job in self.pair.model.jobs.values() if job.status in statuses]

    def _leases(self, grips: list[Grip]) -> list[HeldLease]:
        """Return leases that are held, or others that once were, the newest first."""
        held = [(job.job_id, job.at.epoch) for job in self._jobs("claimed", "running", "unknown")]
        gone = [lease for lease in reversed(self.granted) if lease not in held]
        pools = [(held if live else gone) or held for live, _ in grips]
        return [
            pool[place % len(pool)] for pool, (_, place) in zip(pools, grips, strict=True) if pool
        ]

    # --- a client ---

    @initialize(target=jobs, new=st.lists(items, min_size=4, max_size=6))
    def begin(self, new: list[Item]) -> MultipleResults[UUID]:
        return multiple(*self.pair.enqueue(new))

    @rule(target=jobs, new=st.lists(items, min_size=1, max_size=3))
    def enqueue(self, new: list[Item]) -> MultipleResults[UUID]:
        if self.pair.most_of_a_type() > MOST_JOBS - len(new):
            return multiple()
        return multiple(*self.pair.enqueue(new))

    @rule(ids=st.lists(jobs, min_size=1, max_size=2), queue=_maybe(*QUEUES), tenant=tenants)
    def cancel(self, ids: list[UUID], queue: str | None, tenant: UUID | None) -> None:
        """Cancel by id, or by queue where there is a tenant to narrow it."""
        if queue is not None and tenant is not None:
            self.pair.cancel_queue(tenant, queue, None, "closed")
        else:
            self.pair.cancel(ids, "enough", tenant)

    @rule(tenant=tenants)
    def cancel_running(self, tenant: UUID | None) -> None:
        if running := self._jobs("running"):
            self.pair.cancel([job.job_id for job in running], "stop", tenant)

    # --- agents ---

    @rule(asked=st.lists(requests, min_size=1, max_size=2))
    def claim(self, asked: list[Request]) -> None:
        for agent, lease in self.pair.claim(asked):
            if lease not in self.granted:
                self.granted.append(lease)
                self.memory[agent].append(lease)

    @rule(agent=st.sampled_from(AGENTS), request_id=request_ids, two_phase=two_phases)
    def claim_all(self, agent: str, request_id: UUID | None, two_phase: str) -> None:
        self.claim([Request(agent, QUEUES, 9, request_id=request_id, two_phase=two_phase)])

    @rule(grips=grips)
    def start(self, grips: list[Grip]) -> None:
        if leases := self._leases(grips):
            self.pair.start(leases)

    @rule(grips=grips, seconds=_maybe(2, 30))
    def extend(self, grips: list[Grip], seconds: float | None) -> None:
        if leases := self._leases(grips):
            self.pair.extend(leases, seconds)

    @rule(grips=grips)
    def release(self, grips: list[Grip]) -> None:
        if leases := self._leases(grips):
            self.pair.release(leases)

    @rule(grips=grips, outcomes=st.tuples(outcomes, outcomes, outcomes), delay=delays)
    def finish(self, grips: list[Grip], outcomes: tuple[str, ...], delay: float | None) -> None:
        if leases := self._leases(grips):
            said = zip(leases, outcomes, strict=False)
            self.pair.finish([_report(lease, outcome, delay) for lease, outcome in said])

    @rule(agent=st.sampled_from(AGENTS), outcome=outcomes, delay=delays)
    def finish_all(self, agent: str, outcome: str, delay: float | None) -> None:
        """An agent reports on everything that it remembers, stale or not, and remembers it."""
        if held := self.memory[agent]:
            self.pair.finish([_report(lease, outcome, delay) for lease in held])

    # --- an operator, and housekeeping ---

    @rule(
        ids=st.lists(jobs, min_size=1, max_size=2),
        place=places,
        times=st.tuples(delays, _maybe(-1, 20)),
        tenant=tenants,
    )
    def retry(
        self,
        ids: list[UUID],
        place: int,
        times: tuple[float | None, float | None],
        tenant: UUID | None,
    ) -> None:
        """Retry any jobs, and one that may be retried."""
        ended = [job.job_id for job in self._jobs(*RETRYABLE)]
        some = ids + ended[place % max(len(ended), 1) :][:1]
        delay, expires_in = times
        self.pair.retry(some, delay, expires_in, tenant)

    @rule()
    def sweep(self) -> None:
        self.pair.sweep()

    @rule(seconds=st.sampled_from([0, 20]), agent=st.sampled_from(AGENTS), tenant=tenants)
    def housekeep(self, seconds: float, agent: str, tenant: UUID | None) -> None:
        """Prune; look at lists; an agent crashes, and its leases can only run out."""
        self.pair.tick(1)
        self.pair.prune(seconds)
        self.pair.look(tenant)
        self.memory[agent] = []

    # --- the world ---

    @rule(seconds=st.sampled_from([1, 10, 30, -1, -30]))
    def tick(self, seconds: float) -> None:
        self.pair.tick(seconds)

    @rule(place=places, short=st.sampled_from([0, 0, 0.000001]), sweeps=st.booleans())
    def tick_to_next(self, place: int, short: float, *, sweeps: bool) -> None:
        """Move to the moment at which something runs out or falls due, or a microsecond short."""
        if times := self.pair.times_to_come():
            self.pair.tick((times[place % len(times)] - self.pair.now).total_seconds() - short)
        if sweeps:
            self.pair.sweep()

    @rule(mood=st.sampled_from(["calm", "calm", "calm", "broken", "locked"]))
    def mood(self, mood: str) -> None:
        self.pair.mood(mood)

    @rule(job_id=jobs)
    def poison(self, job_id: UUID) -> None:
        """Make the settle of this job fail, or work again."""
        if job_id in self.pair.host.poison:
            self.pair.heal(job_id)
        else:
            self.pair.poison(job_id)


def bound(conn: psycopg.Connection[DictRow], clock: Clock) -> type[EngineMachine]:
    """Return the machine on this database."""
    return type("EngineMachine", (EngineMachine,), {"conn": conn, "clock": clock})
