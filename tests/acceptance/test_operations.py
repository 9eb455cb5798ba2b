"""Every operation of the engine once, as a program calls it."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from jobengine import (
    Cancelled,
    InvalidSettleFunction,
    JobEngine,
    Lease,
    NewJob,
    Outcome,
    Pruned,
    Report,
    Retried,
    Swept,
)
from tests.acceptance.world import ANNA, BERT, NOBODY, Db, as_owner, in_loop, site

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


async def enqueue(engine: JobEngine, count: int = 1, **fields: object) -> list[UUID]:
    jobs = [NewJob(**{"job_type": "work", **fields}) for _ in range(count)]  # type: ignore[arg-type]
    return [job.id for job in await engine.enqueue_many(jobs)]


def report(lease: Lease, outcome: Outcome = "completed") -> Report:
    return Report(job_id=lease.job_id, lease_epoch=lease.lease_epoch, outcome=outcome)


@in_loop
async def test_register_job_type_creates_and_changes(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        await engine.register_job_type("resize", priority=2, lease=30, backoff=2, backoff_max=9)
        await engine.register_job_type("resize", max_attempts=7, delivery="at_most_once")
        assert db.execute(
            "select priority, max_attempts, lease_seconds, delivery, backoff_seconds,"
            " backoff_max_seconds from jobengine.job_type where job_type = 'resize'"
        ).fetchone() == {
            "priority": 2,
            "max_attempts": 7,
            "lease_seconds": 30,
            "delivery": "at_most_once",
            "backoff_seconds": 2,
            "backoff_max_seconds": 9,
        }


@in_loop
async def test_a_settle_function_that_cannot_work_is_refused_with_what_mends_it(
    db: Db, database_url: str
) -> None:
    async with site(database_url) as engine:
        with pytest.raises(InvalidSettleFunction) as caught:
            await engine.register_job_type("resize", settle="public.settle_nothing")
        assert caught.value.hint is not None
        assert "public.settle_nothing" in caught.value.hint


@in_loop
async def test_a_remote_agents_job_from_claim_to_finish(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        job_id = (await enqueue(engine, tenant_id=ANNA, queue="agent/1"))[0]
        claim = {"agent_id": "agent-1", "tenant_id": ANNA, "request_id": uuid4()}
        job = (await engine.claim(["agent/1"], **claim, two_phase="always"))[0]  # type: ignore[arg-type]
        again = (await engine.claim(["agent/1"], **claim, two_phase="always"))[0]  # type: ignore[arg-type]
        assert (job.id, job.lease_epoch, job.started_at) == (job_id, 1, None)
        assert (again.id, again.lease_epoch) == (job.id, 1)
        assert [answer.verdict for answer in await engine.start([job, job])] == ["ok", "duplicate"]
        extended = (await engine.extend([job], seconds=600))[0]
        assert extended.verdict == "ok"
        assert extended.lease_expires_at is not None
        assert extended.lease_expires_at > job.lease_expires_at
        lease = Lease(job.id, job.lease_epoch)
        verdicts = [(await engine.finish([report(lease)]))[0].verdict for _ in range(2)]
        assert verdicts == ["ok", "duplicate"]


@in_loop
async def test_no_stale_effect_calls_of_an_old_lease_say_so(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        await enqueue(engine)
        old = (await engine.claim(["default"], agent_id="a"))[0]
        assert [answer.verdict for answer in await engine.release([old])] == ["ok"]
        new = (await engine.claim(["default"], agent_id="b"))[0]
        assert [answer.verdict for answer in await engine.start([old])] == ["stale_lease"]
        assert [answer.verdict for answer in await engine.extend([old])] == ["stale_lease"]
        assert [answer.verdict for answer in await engine.release([old])] == ["stale_lease"]
        late = report(Lease(old.id, old.lease_epoch))
        assert [answer.verdict for answer in await engine.finish([late])] == ["stale_lease"]
        assert [answer.verdict for answer in await engine.extend([new])] == ["ok"]


@in_loop
async def test_answers_of_a_batch_are_in_its_order(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        await enqueue(engine, 5)
        jobs = list(reversed(await engine.claim(["default"], agent_id="a", limit=5)))
        outcomes: list[Outcome] = ["completed", "failed", "rejected", "cancelled", "snooze"]
        leases = [Lease(job.id, job.lease_epoch) for job in jobs]
        answers = await engine.finish(map(report, leases, outcomes))
        assert [answer.item for answer in answers] == [1, 2, 3, 4, 5]
        assert [answer.job_id for answer in answers] == [job.id for job in jobs]
        assert [(answer.verdict, answer.status) for answer in answers] == [
            ("ok", "completed"),
            ("retried", "pending"),
            ("ok", "failed"),
            ("ok", "cancelled"),
            ("retried", "pending"),
        ]


@in_loop
async def test_cancel_by_id_and_by_queue(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        one, two = await enqueue(engine, 2, tenant_id=ANNA, queue="mail")
        assert await engine.cancel([one], reason="too late") == [Cancelled(one, "ok", "cancelled")]
        assert await engine.cancel([one]) == [Cancelled(one, "duplicate", "cancelled")]
        assert await engine.cancel([NOBODY]) == [Cancelled(NOBODY, "not_found", None)]
        assert await engine.cancel(tenant_id=ANNA, queue="mail", job_type="careful") == []
        found = await engine.cancel(tenant_id=ANNA, queue="mail", job_type="work")
        assert found == [Cancelled(two, "ok", "cancelled")]
        assert await engine.cancel([]) == []
        ended = await engine.get(one)
        assert ended is not None
        assert (ended.error_code, ended.error_message) == ("cancelled", "too late")


@in_loop
async def test_retry_puts_an_ended_job_back(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        job_id = (await enqueue(engine, tenant_id=ANNA))[0]
        await engine.cancel([job_id])
        assert await engine.retry([job_id], tenant_id=BERT) == [Retried(job_id, "not_found", None)]
        assert await engine.retry([job_id], run_at=NOON) == [Retried(job_id, "ok", "pending")]
        found = await engine.get(job_id)
        assert found is not None
        assert (found.status, found.run_at, found.attempt) == ("pending", NOON, 0)
        assert (await engine.retry([job_id]))[0].verdict == "conflict"


@in_loop
async def test_sweep_takes_back_what_ran_out(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        await enqueue(engine)
        await engine.claim(["default"], agent_id="a")
        assert await engine.sweep() == Swept(0, 0, 0, more=False)
        as_owner(db, "update jobengine.lease set lease_expires_at = '2020-01-01'")
        assert await engine.sweep(limit=1) == Swept(1, 0, 0, more=True)
        assert await engine.sweep() == Swept(0, 0, 0, more=False)


@in_loop
async def test_prune_removes_what_ended_long_ago(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        job_ids = await enqueue(engine, 3)
        await engine.cancel(job_ids)
        assert (await engine.prune(keep=3600)).pruned == 0
        as_owner(db, "update jobengine.ended set finished_at = '2020-01-01'")
        first = await engine.prune(keep=0, limit=2)
        assert first == Pruned(2, job_ids[1], more=True)
        assert await engine.prune(keep=0, after=first.last_job_id, limit=2) == Pruned(
            1, job_ids[2], more=False
        )
        assert await engine.get(job_ids[0]) is None


@in_loop
async def test_get_list_and_count(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        annas = await enqueue(engine, 3, tenant_id=ANNA, queue="mail")
        berts = await enqueue(engine, 2, tenant_id=BERT)
        await engine.cancel(annas[:1])
        assert [job.id for job in await engine.list()] == [*reversed(annas + berts)]
        page = await engine.list(limit=2)
        rest = await engine.list(before=page[-1].id)
        assert [job.id for job in [*page, *rest]] == [*reversed(annas + berts)]
        assert [job.id for job in await engine.list(status="cancelled")] == annas[:1]
        assert await engine.count() == 5
        assert await engine.count(tenant_id=ANNA, status="pending", queue="mail") == 2
        assert await engine.count(cap=3) == 3
        assert await engine.count(job_type="work", cap=None) == 5
        assert await engine.count(unsettled=True) == 0


@in_loop
async def test_tenant_isolated_reads_of_one_tenant_show_nothing_of_another(
    db: Db, database_url: str
) -> None:
    async with site(database_url) as engine:
        job_id = (await enqueue(engine, tenant_id=ANNA))[0]
        assert await engine.get(job_id, tenant_id=BERT) is None
        assert await engine.list(tenant_id=BERT) == []
        assert await engine.count(tenant_id=BERT) == 0
        assert await engine.stats(tenant_id=BERT) == []
        assert await engine.claim(["default"], agent_id="b", tenant_id=BERT) == []
        assert (await engine.cancel([job_id], tenant_id=BERT))[0].verdict == "not_found"
        assert (await engine.get(job_id, tenant_id=ANNA)) is not None


@in_loop
async def test_stats_count_what_waits_and_what_is_held(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        await enqueue(engine, 3)
        await enqueue(engine, delay=3600)
        await engine.claim(["default"], agent_id="a")
        await engine.claim(["default"], agent_id="a", two_phase="always")
        (row,) = await engine.stats()
        assert (row.queue, row.due, row.scheduled, row.claimed, row.running) == (
            "default",
            1,
            1,
            1,
            1,
        )
        assert row.oldest_due_seconds is not None


@in_loop
async def test_verify_finds_what_was_altered(empty_database_url: str) -> None:
    async with JobEngine(empty_database_url) as engine:
        await engine.install()
        assert await engine.verify() == []
        async with engine.connection() as conn:
            await conn.execute("set role jobengine_owner")
            await conn.execute("drop index jobengine.ready_claim")
            await conn.execute("reset role")
        differences = await engine.verify()
        assert [difference[:2] for difference in differences] == ["- "]
        assert "ready_claim" in differences[0]
