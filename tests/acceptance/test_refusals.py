"""Bad input: the error names field, rule and item, and nothing is written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import dict_row

from jobengine import EngineError, InvalidArgument, JobEngine, Lease, NewJob, Report, Worker
from tests.acceptance.world import NOBODY, Db, register

Call: TypeAlias = Callable[[JobEngine], Coroutine[Any, Any, Any]]

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
NAIVE = datetime(2030, 1, 1, 12)  # noqa: DTZ001
MEBIBYTE = 1024 * 1024
ENQUEUE: dict[str, tuple[dict[str, Any], str]] = {
    "a type with NUL": ({"job_type": "a\0"}, "job_type"),
    "no JSON": ({"input": object()}, "input"),
    "NaN": ({"input": [float("nan")]}, "input"),
    "U+0000 inside": ({"input": {"a": "\0"}}, "input"),
    "a lone surrogate inside": ({"input": "\udc80"}, "input"),
    "keys that are no strings": ({"input": {1: 2}}, "input"),
    "a time inside": ({"input": [NOON]}, "input"),
    "an input over 1 MiB": ({"input": "x" * MEBIBYTE}, "input"),
    "an input that is stored in more than 1 MiB": ({"input": [1.5] * 200_000}, "input"),
    "a meta over 1 MiB": ({"meta": {"a": "x" * MEBIBYTE}}, "meta"),
    "a meta that is no object": ({"meta": [1]}, "meta"),
    "a queue with a space": ({"queue": "a b"}, "queue"),
    "a queue that begins with a dot": ({"queue": ".a"}, "queue"),
    "a queue without a name": ({"queue": ""}, "queue"),
    "a queue with a line end": ({"queue": "a\n"}, "queue"),
    "a queue with a letter beyond ASCII": ({"queue": "ü"}, "queue"),
    "a long queue": ({"queue": "q" * 129}, "queue"),
    "a queue with NUL": ({"queue": "a\0b"}, "queue"),
    "a negative priority": ({"priority": -1}, "priority"),
    "a priority above 9": ({"priority": 10}, "priority"),
    "a priority that is no whole number": ({"priority": 1.5}, "priority"),
    "a negative delay": ({"delay": -0.001}, "delay"),
    "an endless delay": ({"delay": float("inf")}, "delay"),
    "a delay that is not a number": ({"delay": float("nan")}, "delay"),
    "delay and run_at": ({"delay": 1, "run_at": NOON}, "delay"),
    "a run_at without zone": ({"run_at": NAIVE}, "run_at"),
    "an expires_at without zone": ({"expires_at": NAIVE}, "expires_at"),
    "expires_in and expires_at": ({"expires_in": 1, "expires_at": NOON}, "expires_in"),
    "no time to live": ({"expires_in": 0}, "expires_in"),
    "an empty dedup_key": ({"dedup_key": ""}, "dedup_key"),
    "a long dedup_key": ({"dedup_key": "k" * 501}, "dedup_key"),
    "a dedup_key with NUL": ({"dedup_key": "\0"}, "dedup_key"),
    "both keys": ({"dedup_key": "a", "live_key": "b"}, "live_key"),
    "a long live_key": ({"live_key": "k" * 501}, "live_key"),
    "no attempts": ({"max_attempts": 0}, "max_attempts"),
    "too many attempts": ({"max_attempts": 1001}, "max_attempts"),
    "attempts beyond the type": ({"max_attempts": 2**31}, "max_attempts"),
    "a lease that is too short": ({"lease": 0.01}, "lease_seconds"),
    "a lease that is too long": ({"lease": 86401}, "lease_seconds"),
    "a lease that is text": ({"lease": "60"}, "lease"),
    "a tenant that is text": ({"tenant_id": "anna"}, "tenant_id"),
    "a wake that is a number": ({"wake": 1}, "wake"),
}


@dataclass
class Desk:
    """An engine that these tests share: what it refuses changes nothing."""

    runner: asyncio.Runner
    engine: JobEngine
    db: Db

    def refused(self, call: Call) -> InvalidArgument:
        before = everything(self.db)
        with pytest.raises(InvalidArgument) as caught:
            self.runner.run(call(self.engine))
        assert everything(self.db) == before
        assert caught.value.rule
        return caught.value


def everything(db: Db) -> list[Any]:
    tables = ("job_type", "job", "ready", "lease", "ended", "failure", "live_key", "waiting")
    return [
        db.execute(f"select * from jobengine.{t} order by 1".encode()).fetchall() for t in tables
    ]


@pytest.fixture(scope="module")
def desk(database_url: str) -> Iterator[Desk]:
    with (
        psycopg.connect(database_url, autocommit=True, row_factory=dict_row) as db,
        asyncio.Runner() as runner,
    ):
        engine = runner.run(JobEngine(database_url).__aenter__())
        runner.run(register(engine))
        yield Desk(runner, engine, db)
        runner.run(engine.__aexit__())


@pytest.mark.parametrize("case", ENQUEUE)
def test_a_new_job_that_breaks_a_rule_is_named(desk: Desk, case: str) -> None:
    fields, field = ENQUEUE[case]
    bad = NewJob(**{"job_type": "work", **fields})
    error = desk.refused(lambda engine: engine.enqueue_many([NewJob(job_type="work"), bad]))
    assert (error.field, error.item) == (field, 2)
    assert str(error) == f"invalid {field} (item 2): {error.rule}"


def lease(job_id: Any = NOBODY, lease_epoch: Any = 1) -> Lease:
    return Lease(job_id, lease_epoch)


CALLS: dict[str, tuple[Any, str]] = {
    "no leases": (lambda e: e.start([]), "job_ids"),
    "an epoch that is no number": (lambda e: e.extend([lease(lease_epoch="1")]), "lease_epoch"),
    "a lease of a job without id": (lambda e: e.release([lease("x")]), "job_id"),
    "a start of no job": (lambda e: e.start([lease(None)]), "job_ids"),
    "an extension without epoch": (lambda e: e.extend([lease(lease_epoch=None)]), "lease_epochs"),
    "a report on no job": (lambda e: e.finish([report(job_id=None)]), "job_ids"),
    "extension by nothing": (lambda e: e.extend([lease()], seconds=0), "seconds"),
    "no reports": (lambda e: e.finish([]), "job_ids"),
    "an outcome that is none": (lambda e: e.finish([report(outcome="done")]), "outcome"),
    "an output over 1 MiB": (lambda e: e.finish([report(output="x" * MEBIBYTE)]), "output"),
    "an output that is no JSON": (lambda e: e.finish([report(output={1})]), "output"),
    "a long error code": (lambda e: e.finish([report(error_code="c" * 201)]), "error_code"),
    "a message with NUL": (lambda e: e.finish([report(error_message="\0")]), "error_message"),
    "a negative snooze": (lambda e: e.finish([report(outcome="snooze", delay=-1)]), "delay"),
    "no queues": (lambda e: e.claim([], agent_id="a"), "queues"),
    "no agent": (lambda e: e.claim(["q"], agent_id=""), "agent_id"),
    "an agent with NUL": (lambda e: e.claim(["q"], agent_id="a\0"), "requests"),
    "an agent that is no text": (lambda e: e.claim(["q"], agent_id={1}), "requests"),
    "a claim of nothing": (lambda e: e.claim(["q"], agent_id="a", limit=0), "limit"),
    "no such two_phase": (lambda e: e.claim(["q"], agent_id="a", two_phase="no"), "two_phase"),
    "a cancel of nothing": (lambda e: e.cancel(), "job_ids"),
    "a long reason": (lambda e: e.cancel([NOBODY], reason="r" * 1001), "reason"),
    "a reason with NUL": (lambda e: e.cancel([NOBODY], reason="\0"), "reason"),
    "a reason with a lone surrogate": (lambda e: e.cancel([NOBODY], reason="\ud800"), "reason"),
    "a retry of nothing": (lambda e: e.retry([]), "job_ids"),
    "a retry without zone": (lambda e: e.retry([NOBODY], run_at=NAIVE), "run_at"),
    "a retry that expires without zone": (
        lambda e: e.retry([NOBODY], expires_at=NAIVE),
        "expires_at",
    ),
    "a sweep of nothing": (lambda e: e.sweep(limit=0), "limit"),
    "a negative age": (lambda e: e.prune(keep=-1), "keep_seconds"),
    "a page of nothing": (lambda e: e.list(limit=0), "limit"),
    "a status that is none": (lambda e: e.list(status="done"), "status"),
    "a count up to nothing": (lambda e: e.count(cap=0), "cap"),
    "a count of no status": (lambda e: e.count(status="done"), "status"),
    "a wait for no job": (lambda e: e.wait(NOBODY), "job_id"),
    "a type without a name": (lambda e: e.register_job_type(""), "job_type"),
    "a type with NUL": (lambda e: e.register_job_type("a\0"), "job_type"),
    "a type of no delivery": (lambda e: e.register_job_type("a", delivery="once"), "delivery"),
    "a type that is never leased": (lambda e: e.register_job_type("a", lease=0), "lease_seconds"),
    "a settle without schema": (lambda e: e.register_job_type("a", settle="f"), "settle"),
}


def report(**fields: Any) -> Report:
    return Report(**{"job_id": NOBODY, "lease_epoch": 1, "outcome": "completed", **fields})


@pytest.mark.parametrize("case", CALLS)
def test_a_call_that_breaks_a_rule_is_named(desk: Desk, case: str) -> None:
    call, field = CALLS[case]
    assert desk.refused(call).field == field


@pytest.mark.parametrize("job_id", ["text", 7])
def test_an_id_that_is_none_is_refused_in_the_librarys_own_words(desk: Desk, job_id: Any) -> None:
    for call in (desk.engine.get, desk.engine.wait):
        with pytest.raises(EngineError):
            desk.runner.run(call(job_id))


def test_the_first_broken_rule_of_the_first_broken_item_is_named(desk: Desk) -> None:
    jobs = [
        NewJob(job_type="work", priority=p, queue=q) for p, q in ((1, "a"), (11, ""), (-1, "a"))
    ]
    error = desk.refused(lambda engine: engine.enqueue_many(jobs))
    assert (error.field, error.item) == ("queue", 2)


def test_the_longest_names_and_documents_are_taken(desk: Desk) -> None:
    job = desk.runner.run(
        desk.engine.enqueue(
            "work",
            "x" * (MEBIBYTE - 100),
            queue="q" * 128,
            dedup_key="k" * 500,
            max_attempts=1000,
            lease=86400,
            delay=315360000,
            tenant_id=UUID(int=2**128 - 1),
        )
    )
    assert job.verdict == "ok"


@pytest.mark.parametrize(
    "options, field", [({"concurrency": 0}, "concurrency"), ({"queues": []}, "queues")]
)
def test_a_worker_needs_a_slot_and_a_queue(options: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        Worker(JobEngine("host=/nonexistent"), **options)
    assert caught.value.field == field
