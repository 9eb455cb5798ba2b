from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from tests.sql.helpers import ANNA, BERT, NOBODY, Engine, ids, refused
from tests.sql.parents import Parents

STATUSES = [
    "pending",
    "claimed",
    "running",
    "completed",
    "failed",
    "cancelled",
    "expired",
    "unknown",
]


def listed(engine: Engine, **filters: Any) -> list[UUID]:
    return ids(engine.call("list", **filters))


def counted(engine: Engine, **filters: Any) -> int:
    [row] = engine.call("count", **filters)
    count: int = row["count"]
    return count


def one_of_each_status(engine: Engine, **item: Any) -> dict[str, UUID]:
    """Put a job into every status, in a queue of its own that is named after the status."""
    jobs = {status: engine.enqueue("trade", queue=status, **item) for status in STATUSES}
    engine.take(jobs["claimed"], started=False)
    engine.take(jobs["running"])
    for status in ("completed", "failed", "cancelled", "unknown"):
        engine.finish(engine.take(jobs[status]), status)
    expiring = engine.enqueue("trade", queue="expired", expires_in=1, **item)
    engine.cancel(jobs.pop("expired"))
    engine.clock.advance(1)
    engine.sweep()
    return jobs | {"expired": expiring}


@pytest.mark.parametrize("status", STATUSES)
def test_a_status_names_the_jobs_to_list_and_count(engine: Engine, status: str) -> None:
    jobs = one_of_each_status(engine, tenant_id=ANNA)
    expected = [jobs[status]]
    if status == "cancelled":
        expected = ids(engine.call("list", queue="cancelled", status="cancelled"))
        expected += ids(engine.call("list", queue="expired", status="cancelled"))
        assert len(expected) == 2
    for filters in ({}, {"tenant_id": ANNA}, {"tenant_id": ANNA, "job_type": "trade"}):
        assert sorted(listed(engine, status=status, **filters)) == sorted(expected)
        assert counted(engine, status=status, **filters) == len(expected)
    nothing: list[dict[str, Any]] = [{"tenant_id": BERT}, {"queue": "none"}, {"job_type": "work"}]
    for filters in nothing:
        assert listed(engine, status=status, **filters) == []
        assert counted(engine, status=status, **filters) == 0


def test_every_row_is_the_one_of_get(engine: Engine) -> None:
    jobs = one_of_each_status(engine)
    rows = engine.call("list")
    assert len(rows) == len(STATUSES) + 1
    assert rows == engine.call("get", job_ids=ids(rows))[::-1]
    statuses = {row["job_id"]: row["status"] for row in rows}
    assert {job_id: status for status, job_id in jobs.items()}.items() <= statuses.items()


def test_lapsed_jobs_are_expired_ones(engine: Engine) -> None:
    lapsed = engine.enqueue(expires_in=1, tenant_id=ANNA)
    engine.clock.advance(1)
    engine.claim()
    for filters in ({}, {"tenant_id": ANNA}, {"queue": "default"}):
        assert listed(engine, status="expired", **filters) == [lapsed]
        assert counted(engine, status="expired", **filters) == 1
    for status in ("claimed", "running", "pending"):
        assert listed(engine, status=status) == []
    assert listed(engine, status="expired", tenant_id=BERT) == []


def test_filters_narrow_the_list_of_all(engine: Engine) -> None:
    engine.enqueue("work", queue="a", tenant_id=ANNA)
    engine.enqueue("work", queue="b", tenant_id=ANNA)
    engine.enqueue("trade", queue="a", tenant_id=ANNA)
    engine.enqueue("work", queue="a", tenant_id=BERT)
    every: dict[str, Any] = {"tenant_id": ANNA, "queue": "a", "job_type": "work"}
    assert (len(listed(engine, **every)), counted(engine, **every)) == (1, 1)
    for name in every:
        filters = {key: value for key, value in every.items() if key != name}
        assert (len(listed(engine, **filters)), counted(engine, **filters)) == (2, 2)
    assert (len(listed(engine)), counted(engine)) == (4, 4)


@pytest.mark.parametrize("status", [None, "pending", "running", "completed"])
def test_pages_go_from_the_newest_to_the_oldest(engine: Engine, status: str | None) -> None:
    job_ids = engine.enqueue_many(7)
    if status in {"running", "completed"}:
        leases = engine.claim(7)
        for lease in leases if status == "completed" else []:
            engine.finish(lease, "completed")
    pages: list[list[UUID]] = []
    while not pages or pages[-1]:
        before = pages[-1][-1] if pages else None
        pages.append(listed(engine, status=status, limit=3, before=before))
    assert [len(page) for page in pages] == [3, 3, 1, 0]
    assert [job_id for page in pages for job_id in page] == job_ids[::-1]


def test_pages_stay_what_they_were_when_jobs_come_and_end(engine: Engine) -> None:
    job_ids = engine.enqueue_many(4)
    first = listed(engine, limit=2)
    engine.clock.advance(1)
    engine.enqueue_many(2)
    engine.cancel(job_ids[1])
    assert first + listed(engine, limit=2, before=first[-1]) == job_ids[::-1]


def test_a_page_has_fifty_jobs_by_default(engine: Engine) -> None:
    engine.enqueue_many(51)
    assert len(listed(engine)) == 50


def test_unsettled_jobs_are_those_whose_parent_is_behind_or_gone(
    engine: Engine, parents: Parents
) -> None:
    for name in ("good", "bad"):
        parents.add(name)
    parents.break_("bad")
    jobs = {
        name: engine.enqueue(input={"parent": name}, tenant_id=ANNA)
        for name in ("good", "bad", "gone")
    }
    engine.cancel(*jobs.values())
    engine.finish(engine.hold("trade", input={"parent": "bad"}, tenant_id=BERT), "completed")
    expected = sorted([jobs["bad"], jobs["gone"]])[::-1]
    every: dict[str, Any] = {
        "tenant_id": ANNA,
        "queue": "default",
        "job_type": "work",
        "status": "cancelled",
    }
    assert listed(engine, unsettled=True, **every) == expected
    assert counted(engine, unsettled=True, **every) == 2
    assert counted(engine, unsettled=True) == 3
    for name, value in (("queue", "a"), ("job_type", "trade"), ("status", "completed")):
        assert listed(engine, unsettled=True, **{**every, name: value}) == []
    assert listed(engine, unsettled=True, **every, limit=1) == expected[:1]
    assert listed(engine, unsettled=True, **every, before=expected[0]) == expected[1:]
    parents.mend()
    engine.clock.advance(2)
    engine.sweep()
    assert listed(engine, unsettled=True) == [jobs["gone"]]


@pytest.mark.parametrize(
    "arguments, field",
    [
        ({"limit": 0}, "limit"),
        ({"limit": 1001}, "limit"),
        ({"limit": None}, "limit"),
        ({"status": "scheduled"}, "status"),
        ({"status": "", "unsettled": True}, "status"),
    ],
)
def test_broken_arguments_are_refused(
    engine: Engine, arguments: dict[str, Any], field: str
) -> None:
    assert refused(engine.db, "list", **arguments) == (field, None)


def test_the_bounds_themselves_are_allowed(engine: Engine) -> None:
    job_id = engine.enqueue()
    assert listed(engine, limit=1) == listed(engine, limit=1000) == [job_id]
    assert listed(engine, before=job_id) == listed(engine, before=NOBODY) == []
