"""When a worker looks for leases to extend."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import cast
from uuid import UUID, uuid4

import pytest

from jobengine import NO_TENANT, Job, JobEngine, Report
from jobengine._book import Batch, Book
from jobengine._reporter import Reporter
from tests.acceptance.world import in_loop, within

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def job(lease: float, job_id: UUID | None = None, epoch: int = 1) -> Job:
    return Job(
        request=1,
        job_id=job_id or uuid4(),
        tenant_id=NO_TENANT,
        queue="default",
        job_type="work",
        priority=5,
        input={},
        meta={},
        run_at=NOON,
        attempt=1,
        max_attempts=5,
        lease_epoch=epoch,
        lease_expires_at=NOON,
        lease_seconds=lease,
        started_at=NOON,
        delivery="at_least_once",
        expires_at=None,
        created_at=NOON,
    )


@in_loop
async def test_a_lease_shorter_than_the_wait_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobengine._book._TICK_MAX", 600.0)
    book = Book()
    waiting = asyncio.create_task(book.tick())
    await asyncio.sleep(0)
    book.add([job(lease=0.1)])
    await within(waiting)
    await within(book.tick())  # and the next one is as short as that lease asks for


@in_loop
async def test_a_lease_is_due_after_a_third_of_its_time() -> None:
    book = Book()
    [held] = book.add([job(lease=3600)])
    assert book.due_for_extension() == []
    held.extend_at -= 1200
    assert book.due_for_extension() == [held]
    held.extended()
    assert book.due_for_extension() == []


@in_loop
async def test_a_job_is_extended_while_its_report_is_under_way_only_after_a_third_of_its_lease(
    database_url: str,
) -> None:
    book = Book()
    [held] = book.add([job(lease=3600)])
    held.extend_at -= 1200
    reporter = Reporter(JobEngine(database_url), book, "anna")
    report = Report(job_id=held.job.job_id, lease_epoch=1, outcome="completed")
    reporter.ended(held, report)
    assert book.due_for_extension() == []
    held.extend_at -= 1200
    assert book.due_for_extension() == [held]


@in_loop
async def test_a_job_that_is_stopped_is_not_extended_any_more() -> None:
    book = Book()
    [held] = book.add([job(lease=3600)])
    held.extend_at -= 1200
    held.stop("lease_lost", "stale_lease")
    assert book.due_for_extension() == []


@in_loop
async def test_a_job_that_comes_back_replaces_its_lost_lease() -> None:
    book = Book()
    job_id = uuid4()
    [old] = book.add([job(60, job_id)])
    old.runner = runner = Counting()
    [new] = book.add([job(60, job_id, epoch=2)])
    assert (old.stopped_because, runner.cancelled, new.stopped) == ("lease_lost", 1, False)
    assert old.report_of_stop() is None
    assert book.unreported() == [new]
    book.remove(old)
    assert book.unreported() == [new]
    book.remove(new)
    assert book.unreported() == []


@in_loop
async def test_what_has_come_to_its_end_is_not_stopped() -> None:
    [held] = Book().add([job(60)])
    held.reported = True
    held.stop("cancelled", "too late")
    assert not held.stopped


class Counting:
    """In the place of a task: counts its cancellations."""

    def __init__(self) -> None:
        self.cancelled = 0

    def cancel(self) -> None:
        self.cancelled += 1


def batch_of(book: Book, count: int) -> tuple[Batch, Counting]:
    batch, task = Batch("work"), Counting()
    batch.members = book.add([job(3600) for _ in range(count)])
    batch.begin(cast("asyncio.Task[None]", task))
    return batch, task


@in_loop
async def test_a_batch_is_cancelled_once_when_its_last_job_is_stopped() -> None:
    batch, task = batch_of(Book(), 3)
    assert [held.stop("cancelled", "no") for held in batch.members[:2]] == [True, True]
    assert (task.cancelled, batch.stopped) == (0, False)
    assert batch.members[2].stop("drained", "now")
    assert (task.cancelled, batch.stopped) == (1, True)
    assert [held.stop("drained", "again") for held in batch.members] == [False] * 3
    assert task.cancelled == 1


@in_loop
async def test_a_batch_that_has_ended_is_not_cancelled() -> None:
    batch, task = batch_of(Book(), 1)
    batch.end()
    assert batch.members[0].stop("cancelled", "late")
    assert task.cancelled == 0


@in_loop
async def test_only_a_cancelled_job_of_a_batch_that_runs_is_kept() -> None:
    book = Book()
    batch, _ = batch_of(book, 3)
    for held in batch.members:
        held.extend_at -= 1200
    cancelled, lost, going = batch.members
    cancelled.stop("cancelled", "no")
    lost.stop("lease_lost", "stale_lease")
    assert book.due_for_extension() == [cancelled, going]
    batch.end()
    assert book.due_for_extension() == [going]
