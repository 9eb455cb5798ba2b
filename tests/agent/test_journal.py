"""The journal: what it knows of an order in every state, and that none is sent twice."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from forex_agent.job import Job, Report, failed, read_job, unknown
from forex_agent.journal import AlreadySent, Broken, InUse, Journal

AT = datetime(2026, 5, 4, 12, tzinfo=UTC)
FILLED = Report(status="completed", output={"fill_price": 1.1})


def a_job(job_id: str | None = None, epoch: int = 1) -> Job:
    return read_job(
        json.dumps(
            {
                "job_id": job_id or str(uuid4()),
                "job_type": "trade",
                "input_data": {"symbol": "EURUSD", "side": "buy", "volume": 0.1},
                "lease_epoch": epoch,
                "lease_seconds": 30,
                "expires_at": "2026-05-04T12:01:00Z",
                "status": "claimed",
            }
        )
    )


def test_what_one_question_brought_is_kept_as_one(journal: Journal) -> None:
    journal.ask("a question")
    jobs = [a_job() for _ in range(3)]
    journal.received(*jobs)
    with again(journal) as later:
        assert {entry.job.job_id for entry in later.open_work()} == {job.job_id for job in jobs}
        assert later.asked() is None


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.db") as made:
        yield made


def again(journal: Journal) -> Journal:
    """Return what a process that starts after this one finds."""
    path = journal._db.execute("pragma database_list").fetchone()[2]
    journal.close()
    return Journal(Path(path))


STEPS: dict[str, Callable[[Journal, Job], None]] = {
    "received": Journal.received,
    "intent": Journal.intent,
    "sent": Journal.sent,
    "unknown": lambda journal, job: journal.outcome(job, unknown("?")),
    "outcome": lambda journal, job: journal.outcome(job, FILLED),
    "acked": lambda journal, job: journal.acked(job, 200),
}


@pytest.mark.parametrize(
    "steps,is_open,was_sent,reported,acked",
    [
        ("received", True, False, False, False),
        ("received intent", True, False, False, False),
        ("received intent sent", True, True, False, False),
        ("received intent sent outcome", True, True, True, False),
        ("received intent sent outcome acked", False, True, True, True),
        ("received intent sent unknown acked", True, True, True, True),
        ("received intent sent unknown acked outcome", True, True, True, False),
        ("received intent sent unknown acked outcome acked", False, True, True, True),
    ],
)
def test_every_state_outlives_the_process(  # noqa: PLR0917
    journal: Journal,
    steps: str,
    is_open: bool,  # noqa: FBT001
    was_sent: bool,  # noqa: FBT001
    reported: bool,  # noqa: FBT001
    acked: bool,  # noqa: FBT001
) -> None:
    job = a_job()
    for step in steps.split():
        STEPS[step](journal, job)
    with again(journal) as later:
        entry = later.entry(job)
        assert entry is not None
        assert bool(later.open_work()) == is_open
        assert (entry.sent_at is not None) == was_sent
        assert (entry.report is not None) == reported
        assert entry.acked == acked
        assert entry.job.input == job.input


def test_an_order_is_sent_once_under_whichever_lease(journal: Journal) -> None:
    first, second = a_job(epoch=1), a_job(epoch=1)
    later = a_job(first.job_id, epoch=2)
    for job in (first, second, later):
        journal.received(job)
    journal.sent(first)
    for job in (first, later):
        with pytest.raises(AlreadySent):
            journal.sent(job)
    journal.sent(second)
    with again(journal) as reopened:
        with pytest.raises(AlreadySent):
            reopened.sent(later)
        entry = reopened.sent_entry(later.job_id)
        assert entry is not None
        assert entry.job.lease_epoch == 1


def test_what_was_sent_is_never_forgotten(journal: Journal) -> None:
    job = a_job()
    journal.received(job)
    journal.sent(job)
    journal.outcome(job, FILLED)
    journal.acked(job, 200)
    journal.forget(datetime.now(UTC) + timedelta(days=1))
    assert journal.entry(job) is None
    with pytest.raises(AlreadySent):
        journal.sent(job)


def test_open_work_is_not_forgotten(journal: Journal) -> None:
    job = a_job()
    journal.received(job)
    journal.outcome(job, unknown("?"))
    journal.acked(job, 200)
    journal.forget(datetime.now(UTC) + timedelta(days=1))
    assert journal.open_work()


def test_a_job_that_is_known_stays_as_it_is(journal: Journal) -> None:
    job = a_job()
    journal.received(job)
    journal.sent(job)
    journal.outcome(job, failed("no_money", "none"))
    journal.received(job)
    entry = journal.entry(job)
    assert entry is not None
    assert entry.report == failed("no_money", "none")


def test_a_question_is_answered_when_its_job_is_kept(journal: Journal) -> None:
    journal.ask("one")
    assert journal.asked() == "one"
    journal.received(a_job())
    assert journal.asked() is None


def test_two_agents_do_not_share_a_folder(journal: Journal, tmp_path: Path) -> None:
    with pytest.raises(InUse, match=r"journal\.db"):
        Journal(tmp_path / "journal.db")


def test_a_write_that_fails_at_the_commit_is_not_the_last(journal: Journal) -> None:
    """The disk is full for a while: here, no file may grow."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    job = a_job()
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(Broken):
            journal.remember("much", "x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert journal.fact("much") is None
    journal.received(job)
    journal.sent(job)
    assert journal.sent_entry(job.job_id) is not None


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"no database, but long enough to be taken for one" * 9)
    with pytest.raises(Broken, match=r"journal\.db.*move it away"):
        Journal(tmp_path / "journal.db")


def test_a_mark_in_a_file_that_nobody_will_find_is_none(journal: Journal, tmp_path: Path) -> None:
    job = a_job()
    journal.received(job)
    (tmp_path / "journal.db").rename(tmp_path / "elsewhere.db")
    with pytest.raises(Broken, match="gone"):
        journal.sent(job)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_the_journal_is_its_owners_alone(journal: Journal, tmp_path: Path) -> None:
    journal.received(a_job())
    assert {file.stat().st_mode & 0o777 for file in tmp_path.glob("journal.db*")} == {0o600}


def test_deals_stay_in_the_spool_until_they_are_acknowledged(journal: Journal) -> None:
    deals = [(str(n), "{}", AT + timedelta(seconds=n)) for n in range(3)]
    assert journal.spool(deals) == 3
    assert journal.spool(deals) == 0
    assert [deal_id for deal_id, _ in journal.spooled(2)] == ["0", "1"]
    journal.deals_acked(["0", "1"])
    with again(journal) as later:
        assert [deal_id for deal_id, _ in later.spooled(10)] == ["2"]
        assert later.spool(deals) == 0
        assert later.newest_deal() == AT + timedelta(seconds=2)


def test_the_newest_deal_is_known_for_ever(journal: Journal) -> None:
    journal.spool([("1", "{}", AT)])
    journal.deals_acked(["1"])
    journal.forget(datetime.now(UTC) + timedelta(days=1))
    assert journal.newest_deal() == AT
