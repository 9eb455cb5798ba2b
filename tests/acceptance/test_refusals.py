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

from jobengine import InvalidArgument, JobEngine, Lease, NewJob, Report, Worker
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
    "an agent with NUL": (lambda e: e.claim(["q"], agent_id="a\0"), "agent_id"),
    "an agent that is no text": (lambda e: e.claim(["q"], agent_id={1}), "agent_id"),
    "queues that are the letters of one": (lambda e: e.claim("images", agent_id="a"), "queues"),
    "a queue that is no text": (lambda e: e.claim([5], agent_id="a"), "queues"),
    "half a job": (lambda e: e.claim(["q"], agent_id="a", limit=1.5), "limit"),
    "a request that is text": (
        lambda e: e.claim(["q"], agent_id="a", request_id="x"),
        "request_id",
    ),
    "a claim for a name": (lambda e: e.claim(["q"], agent_id="a", tenant_id="x"), "tenant_id"),
    "a job that is a dict": (lambda e: e.enqueue_many([{"job_type": "work"}]), "jobs"),
    "a job that is no list": (lambda e: e.enqueue_many(NewJob(job_type="work")), "jobs"),
    "a connection of another kind": (lambda e: e.enqueue("work", connection="url"), "connection"),
    "a lease that is no list": (lambda e: e.start(lease()), "leases"),
    "a lease that is an id": (lambda e: e.release([NOBODY]), "leases"),
    "an extension by text": (lambda e: e.extend([lease()], seconds="5"), "seconds"),
    "a report that is a dict": (lambda e: e.finish([{"job_id": NOBODY}]), "reports"),
    "a report that is no list": (lambda e: e.finish(report()), "reports"),
    "a job whose id is text": (lambda e: e.get(str(NOBODY)), "job_id"),
    "a wait until a text": (lambda e: e.wait(NOBODY, timeout="5"), "timeout"),
    "a cancel of the letters of an id": (lambda e: e.cancel(str(NOBODY)), "job_ids"),
    "a cancel of no list": (lambda e: e.cancel(NOBODY), "job_ids"),
    "a cancel of what is no id": (lambda e: e.cancel(["x"]), "job_ids"),
    "a reason that is no text": (lambda e: e.cancel([NOBODY], reason=5), "reason"),
    "a retry of what is no id": (lambda e: e.retry([None]), "job_ids"),
    "a retry at a text": (lambda e: e.retry([NOBODY], run_at="now"), "run_at"),
    "a sweep of a text": (lambda e: e.sweep(limit="5"), "limit"),
    "an age that is text": (lambda e: e.prune(keep="5"), "keep_seconds"),
    "a page before a text": (lambda e: e.list(before="x"), "before"),
    "a queue that is a number": (lambda e: e.list(queue=5), "queue"),
    "an unsettled that is text": (lambda e: e.count(unsettled="no"), "unsettled"),
    "figures of a name": (lambda e: e.stats(tenant_id="anna"), "tenant_id"),
    "a type that is a number": (lambda e: e.register_job_type(5), "job_type"),
    "a lease that is text": (lambda e: e.register_job_type("a", lease="60"), "lease_seconds"),
    "a claim of nothing": (lambda e: e.claim(["q"], agent_id="a", limit=0), "limit"),
    "no such two_phase": (lambda e: e.claim(["q"], agent_id="a", two_phase="no"), "two_phase"),
    "a cancel of nothing": (lambda e: e.cancel(), "job_ids"),
    "a cancel of ids in a queue": (lambda e: e.cancel([NOBODY], queue="q"), "queue"),
    "a cancel of ids of a type": (lambda e: e.cancel([NOBODY], job_type="t"), "job_type"),
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
        with pytest.raises(InvalidArgument) as caught:
            desk.runner.run(call(job_id))
        assert caught.value.field == "job_id"


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
    "field, value",
    [
        ("concurrency", 0),
        ("concurrency", "5"),
        ("queues", []),
        ("queues", "images"),
        ("queues", [5]),
        ("tenant_id", "anna"),
        ("agent_id", 5),
        ("middleware", print),
        ("middleware", ["traced"]),
        ("poll", 0),
        ("poll", "5"),
        ("drain_timeout", -1),
        ("drain_timeout", None),
        ("sweep_every", "5"),
        ("keep", "5"),
    ],
)
def test_what_a_worker_cannot_work_with_is_named(field: str, value: Any) -> None:
    with pytest.raises(InvalidArgument) as caught:
        Worker(JobEngine("host=/nonexistent"), **{field: value})
    assert caught.value.field == field


HANDLERS: dict[str, tuple[Any, str]] = {
    "without its brackets": (lambda w: w.handles(print), "job_type"),
    "for a number": (lambda w: w.handles(5), "job_type"),
    "of a limit that is text": (lambda w: w.handles("work", concurrency="5"), "concurrency"),
    "that cannot be called": (lambda w: w.handles("work")("work"), "handler"),
    "of batches of nothing": (lambda w: w.handles_batch("work", size=0), "size"),
    "of batches that cannot be called": (lambda w: w.handles_batch("work", size=2)(5), "handler"),
}


@pytest.mark.parametrize("case", HANDLERS)
def test_what_is_no_handler_is_named(case: str) -> None:
    register, field = HANDLERS[case]
    with pytest.raises(InvalidArgument) as caught:
        register(Worker(JobEngine("host=/nonexistent")))
    assert caught.value.field == field


@pytest.mark.parametrize(
    "database, options, field",
    [
        (None, {}, "database"),
        (5, {}, "database"),
        ("host=/nonexistent", {"max_size": 0}, "max_size"),
        ("host=/nonexistent", {"max_size": "5"}, "max_size"),
        ("host=/nonexistent", {"min_size": 5, "max_size": 2}, "min_size"),
    ],
)
def test_what_an_engine_cannot_use_is_named(
    database: Any, options: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        JobEngine(database, **options)
    assert caught.value.field == field


def test_a_worker_needs_an_engine() -> None:
    url: Any = "host=/nonexistent"
    with pytest.raises(InvalidArgument) as caught:
        Worker(url)
    assert caught.value.field == "engine"
