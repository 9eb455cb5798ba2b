"""Concurrent calls share statements, and every caller is answered as if it were alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, TypeVar
from uuid import UUID

import pytest

from jobengine import (
    EngineError,
    InvalidArgument,
    Job,
    JobEngine,
    Lease,
    NewJob,
    Report,
    UnknownJobType,
)
from jobengine._sharing import blame
from jobengine.errors import translated
from tests.acceptance.world import (
    PATIENCE,
    Db,
    counts,
    enqueue,
    in_loop,
    scalar,
    site,
    until,
    within,
)

T = TypeVar("T")
MANY = 64
NOW = {"queues": ["default"], "agent_id": "me"}
WAITING = (
    "select count(*) from pg_stat_activity"
    " where datname = current_database() and wait_event_type = 'Lock'"
)


async def at_once(*calls: Awaitable[T]) -> list[T]:
    """Make the calls together: the first has a statement of its own, the others the next."""
    async with asyncio.timeout(PATIENCE):
        return await asyncio.gather(*calls)


async def outcomes(*calls: Awaitable[Any]) -> list[Any]:
    """Do the same; an error instead of the answer of the call that it came from."""
    async with asyncio.timeout(PATIENCE):
        return await asyncio.gather(*calls, return_exceptions=True)


def transactions(db: Db, table: str) -> int:
    """How many transactions wrote the rows of a table."""
    return int(scalar(db, f"select count(distinct xmin::text) from jobengine.{table}"))


def done(job: Job | Lease, output: object = None) -> Report:
    return Report(
        job_id=job.job_id, lease_epoch=job.lease_epoch, outcome="completed", output=output
    )


async def claimed(engine: JobEngine, count: int, **options: Any) -> Sequence[Job]:
    await enqueue(engine, count)
    return await engine.claim(**NOW, limit=count, **options)  # type: ignore[arg-type]


@in_loop
async def test_enqueues_share_a_statement(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        jobs = await at_once(*(engine.enqueue("work", n, priority=n % 9) for n in range(MANY)))
        assert transactions(db, "job") == 2
        assert {(job.item, job.verdict) for job in jobs} == {(1, "ok")}
        found = [await engine.get(job.id) for job in jobs]
        assert [(j.input, j.priority) for j in found if j] == [(n, n % 9) for n in range(MANY)]


@in_loop
async def test_lists_of_jobs_share_one_and_are_counted_from_one(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        lists = [[NewJob(job_type="work", input=(n, i)) for i in range(n)] for n in range(1, 9)]
        answers = await at_once(*(engine.enqueue_many(jobs) for jobs in lists))
        assert transactions(db, "job") == 2
        for jobs, answer in zip(lists, answers, strict=True):
            assert [a.item for a in answer] == list(range(1, len(jobs) + 1))
            found = [await engine.get(a.id) for a in answer]
            assert [tuple(j.input) for j in found if j] == [job.input for job in jobs]


@in_loop
async def test_claims_share_a_statement(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        for n in range(MANY):
            await enqueue(engine, 2, queue=f"q{n}", input=n)
        limits = [1 + n % 3 for n in range(MANY)]
        got = await at_once(
            *(
                engine.claim([f"q{n}"], agent_id=f"a{n}", limit=limit)
                for n, limit in enumerate(limits)
            )
        )
        assert transactions(db, "lease") == 2
        for n, (jobs, limit) in enumerate(zip(got, limits, strict=True)):
            assert [(j.request, j.queue, j.input) for j in jobs] == [(1, f"q{n}", n)] * min(
                2, limit
            )
        held = "select count(*) from jobengine.lease l join jobengine.job j using (job_id)"
        own = scalar(db, f"{held} where l.agent_id = 'a' || substr(j.queue, 2)")
        assert own == sum(map(len, got))


@in_loop
async def test_starts_extends_finishes_and_releases_share(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        jobs = await claimed(engine, 12, two_phase="always")
        started = await at_once(*(engine.start([job]) for job in jobs))
        assert {(a.item, a.verdict) for (a,) in started} == {(1, "ok")}
        assert [a.job_id for (a,) in started] == [job.id for job in jobs]
        assert transactions(db, "lease") == 2
        extended = await at_once(*(engine.extend([job]) for job in jobs))
        assert {(a.item, a.verdict) for (a,) in extended} == {(1, "ok")}
        assert transactions(db, "lease") == 2
        finished = await at_once(*(engine.finish([done(job, n)]) for n, job in enumerate(jobs[:8])))
        assert {(a.item, a.verdict, a.status) for (a,) in finished} == {(1, "ok", "completed")}
        assert transactions(db, "ended") == 2
        found = [await engine.get(job.id) for job in jobs[:8]]
        assert [job.output for job in found if job] == list(range(8))
        released = await at_once(*(engine.release([job]) for job in jobs[8:]))
        assert {(a.item, a.verdict) for (a,) in released} == {(1, "ok")}
        assert transactions(db, "ready") == 2


@in_loop
async def test_who_is_refused_is_refused_alone(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        got = await outcomes(
            engine.enqueue("work", 0),
            engine.enqueue("work", 1),
            engine.enqueue("nobody registered it"),
            engine.enqueue_many([NewJob(job_type="work"), NewJob(job_type="work", priority=99)]),
            engine.enqueue("work", 2, queue=""),
            engine.enqueue("work", 3),
        )
        assert [type(one) for one in got[2:5]] == [UnknownJobType, InvalidArgument, InvalidArgument]
        assert (got[3].field, got[3].item) == ("priority", 2)
        assert (got[4].field, got[4].item) == ("queue", 1)
        inputs = db.execute("select input from jobengine.job").fetchall()
        assert sorted(row["input"] for row in inputs) == [0, 1, 3]


@in_loop
async def test_a_bad_report_or_request_is_refused_alone(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        first, second, third = await claimed(engine, 3)
        bad = Report(job_id=second.id, lease_epoch=1, outcome="so-so")  # type: ignore[arg-type]
        got = await outcomes(
            engine.finish([done(first)]), engine.finish([bad]), engine.finish([done(third)])
        )
        assert (got[1].field, got[1].item) == ("outcome", 1)
        assert [answer.verdict for (answer,) in (got[0], got[2])] == ["ok", "ok"]
        await enqueue(engine, 2)
        claims = await outcomes(
            engine.claim(**NOW),  # type: ignore[arg-type]
            engine.claim(**NOW, limit=0),  # type: ignore[arg-type]
            engine.claim(**NOW, limit=20_000),  # type: ignore[arg-type]
            engine.claim(**NOW, two_phase="perhaps"),  # type: ignore[arg-type]
            engine.claim(**NOW),  # type: ignore[arg-type]
        )
        refused = [("limit", 1), ("limit", 1), ("two_phase", 1)]
        assert [(e.field, e.item) for e in claims[1:4]] == refused
        assert [len(jobs) for jobs in (claims[0], claims[4])] == [1, 1]


@pytest.mark.parametrize(
    "code, whose", [("57014", "somebody"), ("55P03", "somebody"), ("57P01", "everybody")]
)
def test_a_statement_that_took_too_long_is_somebodys_doing(db: Db, code: str, whose: str) -> None:
    with pytest.raises(EngineError) as caught, translated():
        db.execute(f"do $$ begin raise exception using errcode = '{code}'; end $$".encode())
    assert blame(caught.value) == whose


@pytest.mark.parametrize("again, verdict", [("completed", "duplicate"), ("rejected", "conflict")])
@in_loop
async def test_the_same_lease_twice_in_one_statement(
    db: Db, database_url: str, *, again: Any, verdict: str
) -> None:
    async with site(database_url) as engine:
        other, job = await claimed(engine, 2)
        second = Report(job_id=job.id, lease_epoch=1, outcome=again)
        answers = await at_once(
            engine.finish([done(other)]), engine.finish([done(job)]), engine.finish([second])
        )
        assert [answer.verdict for (answer,) in answers] == ["ok", "ok", verdict]
        assert transactions(db, "ended") == 2


@pytest.mark.parametrize("key", ["dedup_key", "live_key"])
@in_loop
async def test_the_same_key_twice_in_one_statement(db: Db, database_url: str, *, key: str) -> None:
    async with site(database_url) as engine:
        keys: list[dict[str, Any]] = [{key: "a"}, {key: "b"}, {key: "b"}, {}, {key: "a"}]
        answers = await at_once(*(engine.enqueue("work", **fields) for fields in keys))
        assert [a.verdict for a in answers] == ["ok", "ok", "duplicate", "ok", "duplicate"]
        assert (answers[2].id, answers[4].id) == (answers[1].id, answers[0].id)
        assert transactions(db, "job") == 2


@in_loop
async def test_a_key_that_somebody_holds_keeps_nobody_else_waiting(
    db: Db, database_url: str
) -> None:
    """Its holder may itself be waiting for one of the other calls."""
    async with site(database_url) as engine, engine.connection() as conn:
        async with conn.transaction():
            mine = await engine.enqueue("work", live_key="k", connection=conn)
            blocked = [
                asyncio.create_task(engine.enqueue("work", n, live_key=key))
                for n, key in enumerate(("x", "k", "y", "k"))
            ]
            assert (await within(blocked[0])).verdict == "ok"
            assert (await within(blocked[2])).verdict == "ok"
            await until(lambda: scalar(db, WAITING) == 2)
            assert (await within(engine.enqueue("work", live_key="z"))).verdict == "ok"
        for task in (blocked[1], blocked[3]):
            answer = await within(task)
            assert (answer.verdict, answer.id) == ("duplicate", mine.id)


@in_loop
async def test_a_lone_call_that_waits_keeps_nobody_waiting(db: Db, database_url: str) -> None:
    async with site(database_url) as engine, engine.connection() as conn:
        async with conn.transaction():
            await engine.enqueue("work", live_key="k", connection=conn)
            blocked = asyncio.create_task(engine.enqueue("work", live_key="k"))
            await until(lambda: scalar(db, WAITING) == 1)
            assert {j.verdict for j in await at_once(*(engine.enqueue("work") for _ in "ab"))} == {
                "ok"
            }
            assert not blocked.done()
        assert (await within(blocked)).verdict == "duplicate"


@in_loop
async def test_a_caller_who_goes_cancels_nobody_else(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        tasks = [asyncio.create_task(engine.enqueue("work", n)) for n in range(9)]
        await asyncio.sleep(0)
        tasks[4].cancel()  # it queues: it was never sent
        await within(tasks[0])
        tasks[5].cancel()  # its statement is perhaps under way
        got = await outcomes(*tasks)
        stayed = [n for n in range(9) if n not in {4, 5}]
        inputs = {row["input"] for row in db.execute("select input from jobengine.job").fetchall()}
        assert {*stayed} <= inputs <= {*stayed, 5}
        assert [type(got[n]) for n in (4, 5)] == [asyncio.CancelledError] * 2
        for n in stayed:
            job = await engine.get(got[n].id)
            assert job is not None
            assert job.input == n


@pytest.mark.parametrize("request_id", [None, UUID(int=7)])
@in_loop
async def test_what_a_caller_claims_who_goes_is_given_back_unless_it_may_ask_again(
    db: Db, database_url: str, request_id: UUID | None
) -> None:
    async with site(database_url, max_size=1) as engine:
        await enqueue(engine, 3)
        calls = [{"agent_id": f"a{n}", "request_id": request_id} for n in range(3)]
        async with engine.connection():  # the only one
            claims = [asyncio.create_task(engine.claim(["default"], **call)) for call in calls]  # type: ignore[arg-type]
            await until(lambda: engine._sharing.claim._begun == 2)
            claims[1].cancel()
            await asyncio.wait({claims[1]})
        (first,), gone, (third,) = await outcomes(*claims)
        assert isinstance(gone, asyncio.CancelledError)
        if request_id is None:
            await until(lambda: counts(db)["lease"] == 2)
        (second,) = await engine.claim(["default"], **calls[1])  # type: ignore[arg-type]
        assert len({first.id, second.id, third.id}) == 3
        assert (second.lease_epoch, second.attempt) == (1 if request_id else 2, 1)


@in_loop
async def test_what_is_put_in_on_a_connection_shares_nothing(db: Db, database_url: str) -> None:
    async with site(database_url) as engine, engine.connection() as conn:
        async with conn.transaction(force_rollback=True):
            await at_once(
                engine.enqueue("work", 0),
                engine.enqueue("work", 1),
                engine.enqueue("work", 2, connection=conn),
            )
            assert counts(db)["job"] == 2
        assert counts(db)["job"] == 2


@in_loop
async def test_everybody_hears_that_the_engine_is_closed(db: Db, database_url: str) -> None:
    async with site(database_url) as engine:
        pass
    got = await outcomes(*(engine.enqueue("work") for _ in range(5)))
    assert {type(one) for one in got} == {EngineError}
    assert counts(db)["job"] == 0


@in_loop
async def test_who_has_put_a_job_in_can_claim_it(db: Db, database_url: str) -> None:
    async def round_trip(engine: JobEngine, n: int) -> None:
        for turn in range(5):
            job = await engine.enqueue("work", turn, queue=f"q{n}")
            (held,) = await engine.claim([f"q{n}"], agent_id=f"a{n}")
            assert (held.id, held.input) == (job.id, turn)
            ((answer,), (late,)) = await at_once(*(engine.finish([done(held)]) for _ in "ab"))
            assert sorted([answer.verdict, late.verdict]) == ["duplicate", "ok"]

    async with site(database_url) as engine:
        await at_once(*(round_trip(engine, n) for n in range(16)))
        assert counts(db)["ended"] == 80
