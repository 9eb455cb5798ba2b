"""Orders that must not go out any more, and outcomes that must not be lost, whatever else fails."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from forex_agent.client import KeyRefused
from forex_agent.gate import Gate
from forex_agent.hands import Hands
from forex_agent.job import Job, read_job
from forex_agent.journal import Entry, Journal
from forex_agent.lease import Lease, Lost
from forex_agent.terminal import Order

from tests.agent.paper import Paper
from tests.agent.world import ended, lapse, look, order, settings_of, state_of, working
from tests.api.world import Agent, User, until


@pytest.fixture
def paper(tmp_path: Path) -> Paper:
    return Paper(tmp_path / "paper.jsonl")


@pytest.fixture
def state(tmp_path: Path, agent: Agent) -> Path:
    return state_of(tmp_path / "state", agent)


def cancel(owner: User, job_id: str) -> None:
    assert owner.post(f"/api/v1/jobs/{job_id}/cancel", {}).status_code == 200


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set once the agent knows that a job is not to be gone on with; it asks often."""
    stopped = threading.Event()
    extend = Lease.extend

    async def noticed(lease: Lease) -> None:
        try:
            await extend(lease)
        except (Lost, KeyRefused):
            stopped.set()
            raise
        if lease.cancel_reason is not None:
            stopped.set()

    monkeypatch.setattr(Lease, "extend", noticed)
    monkeypatch.setattr(Lease, "_pause", 0.05)
    return stopped


@pytest.mark.parametrize("stop", [lapse, cancel])
def test_a_requote_is_not_followed_once_the_job_is_not_ours(  # noqa: PLR0917
    owner: User,
    agent: Agent,
    paper: Paper,
    state: Path,
    heard: threading.Event,
    stop: Callable[[User, str], None],
) -> None:
    paper.faults = ["requote_later"]
    with working(paper, settings_of(state, call_seconds=60)):
        job_id = order(owner, agent)
        until(lambda: bool(paper.calls))
        stop(owner, job_id)
        until(heard.is_set)
        paper.release.set()
        until(lambda: look(owner, job_id)["status"] == "failed")
    assert look(owner, job_id)["output_data"]["error_code"] == "not_sent"
    assert len(paper.calls) == 1
    assert not paper.deals_made


@pytest.mark.parametrize("dead_checks", [2, 100], ids=["replaced", "waited for"])
def test_a_call_that_was_given_up_sends_nothing_when_it_comes_back(
    owner: User, agent: Agent, paper: Paper, state: Path, dead_checks: int
) -> None:
    """It hung in what comes before `order_send`: minutes later nobody wants the order any more."""
    paper.faults = ["hang_before"]
    told = settings_of(state, call_seconds=1.5, dead_checks=dead_checks, trace_seconds=0.1)
    with working(paper, told):
        job_id = order(owner, agent)
        assert ended(owner, job_id)["status"] == "unknown"
        if dead_checks == 2:
            until(lambda: paper.connects >= 2)
        paper.release.set()
        until(lambda: look(owner, job_id)["status"] == "failed")
    assert look(owner, job_id)["output_data"]["error_code"] == "timeout"
    assert not paper.calls


@pytest.mark.parametrize("code", ["expired", "kill_file"])
def test_the_last_look_is_right_before_the_order_goes_out(
    owner: User, agent: Agent, paper: Paper, state: Path, code: str
) -> None:
    paper.faults = ["hang_before"]
    late = "select now() > %s::timestamptz as late"
    with working(paper, settings_of(state, call_seconds=60)):
        job_id = order(owner, agent, expires_in=5.0 if code == "expired" else None)
        until(lambda: not paper.faults)
        if code == "expired":
            expires = look(owner, job_id)["expires_at"]
            until(lambda: owner.service.rows(late, expires)[0]["late"])
        else:
            (state / "HALT").touch()
        paper.release.set()
        assert ended(owner, job_id)["output_data"]["error_code"] == code
    assert not paper.calls


@pytest.fixture
def shut(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set once the agent lets nothing pass any more."""
    done = threading.Event()
    before = Gate.shut

    def noticed(gate: Gate, why: str) -> None:
        before(gate, why)
        done.set()

    monkeypatch.setattr(Gate, "shut", noticed)
    return done


def kept(state: Path) -> Entry:
    """Return what the journal has of its one open order."""
    with Journal(state / "journal.db") as journal:
        (entry,) = journal.open_work()
    return entry


@pytest.mark.parametrize("fault,code", [("rejected_later", "no_money"), ("hang", None)])
def test_a_revoked_agent_keeps_what_becomes_of_the_order_in_hand(  # noqa: PLR0917
    owner: User,
    agent: Agent,
    paper: Paper,
    state: Path,
    heard: threading.Event,
    shut: threading.Event,
    fault: str,
    code: str | None,
) -> None:
    paper.faults = [fault]
    with working(paper, settings_of(state, call_seconds=60)) as running:
        order(owner, agent)
        until(lambda: bool(paper.calls))
        assert owner.delete(agent.path).status_code == 200
        until(heard.is_set)
        until(shut.is_set)
        paper.release.set()
        running.ended()
    assert isinstance(running.error, KeyRefused)
    report = kept(state).report
    assert report is not None
    assert report.output.get("error_code") == code
    assert len(paper.deals_made) == (report.status == "completed")


def test_a_revoked_agent_sends_nothing_that_still_waits(
    owner: User, agent: Agent, paper: Paper, state: Path, shut: threading.Event
) -> None:
    paper.faults = ["hang_before"]
    with working(paper, settings_of(state, call_seconds=60)) as running:
        order(owner, agent)
        until(lambda: not paper.faults)
        assert owner.delete(agent.path).status_code == 200
        until(shut.is_set)
        paper.release.set()
        running.ended()
    assert not paper.calls
    report = kept(state).report
    assert report is not None
    assert report.output["error_code"] == "not_sent"


def test_an_outcome_that_comes_while_the_agent_ends_is_kept(
    owner: User, agent: Agent, paper: Paper, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refusal leaves no trace at the broker: nobody could find it again."""
    close = Hands.close

    def let_go(hands: Hands, patience: float) -> None:
        paper.release.set()
        close(hands, patience)

    monkeypatch.setattr(Hands, "close", let_go)
    paper.faults = ["rejected_later"]
    with working(paper, settings_of(state, call_seconds=60)) as running:
        job_id = order(owner, agent)
        until(lambda: bool(paper.calls))
        running.stop(now=True)
    assert look(owner, job_id)["status"] == "running"
    with working(paper, settings_of(state)):
        assert ended(owner, job_id)["output_data"]["error_code"] == "no_money"
    assert len(paper.calls) == 1


def test_a_journal_that_is_gone_stops_orders(
    owner: User, agent: Agent, paper: Paper, state: Path
) -> None:
    with working(paper, settings_of(state)):
        ended(owner, order(owner, agent))
        (state / "journal.db").unlink()
        refused = ended(owner, order(owner, agent))
    assert refused["output_data"]["error_code"] == "not_sent"
    assert len(paper.calls) == 1


def test_an_order_that_comes_back_to_a_lost_journal_is_looked_for_first(
    owner: User, agent: Agent, paper: Paper, state: Path
) -> None:
    paper.faults, paper.hidden = ["unknown_filled"], True
    with working(paper, settings_of(state, trace_seconds=0)):
        job_id = order(owner, agent)
        assert ended(owner, job_id)["status"] == "unknown"
    failed = {"status": "failed", "error_message": "given up", "lease_epoch": 1}
    assert agent.result(job_id, **failed).status_code == 200
    for file in state.glob("journal.db*"):
        file.unlink()
    paper.hidden = False
    again = "select verdict from jobengine.retry(array[%s::uuid])"
    assert owner.service.rows(again, job_id) == [{"verdict": "ok"}]
    with working(paper, settings_of(state)):
        until(lambda: look(owner, job_id)["status"] == "completed")
    assert look(owner, job_id)["output_data"]["reconciled"]
    assert len(paper.calls) == len(paper.deals_made) == 1


def test_an_order_that_another_process_began_is_looked_for_and_not_sent(
    owner: User, agent: Agent, paper: Paper, state: Path
) -> None:
    """The answer to the question comes again: another process has had it, and began."""
    question = str(uuid4())
    job_id = order(owner, agent)
    job = read_job(json.dumps(agent.next(wait=1, request_id=question)))
    with Journal(state / "journal.db") as journal:
        journal.ask(question)
    with working(paper, settings_of(state, trace_seconds=0)):
        assert ended(owner, job_id)["status"] == "unknown"
        assert not paper.calls
        paper.send(Order(symbol="EURUSD", side="buy", volume=Decimal("0.1"), comment=job.comment))
        until(lambda: look(owner, job_id)["status"] == "completed")
    assert len(paper.calls) == 1


def claimed(owner: User, agent: Agent, state: Path) -> Job:
    """Claim an order as the agent does, and note no more than that it came."""
    order(owner, agent)
    job = read_job(json.dumps(agent.next(wait=1, ack=1)))
    with Journal(state / "journal.db") as journal:
        journal.received(job)
    body = {"lease_epoch": job.lease_epoch}
    assert agent.post(f"{agent.path}/jobs/{job.job_id}/start", body).status_code == 200
    return job


def test_an_old_copy_of_the_journal_calls_no_fill_unsent(
    owner: User, agent: Agent, paper: Paper, state: Path
) -> None:
    job = claimed(owner, agent, state)
    paper.send(Order(symbol="EURUSD", side="buy", volume=Decimal("0.1"), comment=job.comment))
    lapse(owner, job.job_id)
    assert look(owner, job.job_id)["status"] == "unknown"
    with working(paper, settings_of(state)):
        until(lambda: look(owner, job.job_id)["status"] != "unknown")
    assert look(owner, job.job_id)["status"] == "completed"
    assert len(paper.calls) == 1


def test_a_trace_that_is_only_likely_settles_nothing(
    owner: User, agent: Agent, paper: Paper, state: Path
) -> None:
    paper.faults, paper.sure = ["unknown_filled"], False
    with working(paper, settings_of(state, trace_seconds=0.3, deals_seconds=60)):
        job_id = order(owner, agent)
        assert ended(owner, job_id)["status"] == "unknown"
        paper.sure = True
        until(lambda: look(owner, job_id)["status"] == "completed")
    assert len(paper.calls) == 1


def test_a_clock_that_has_jumped_hides_no_fill(
    owner: User, agent: Agent, paper: Paper, state: Path
) -> None:
    paper.faults, paper.ahead = ["unknown_filled"], timedelta(hours=-5)
    with working(paper, settings_of(state)):
        job = ended(owner, order(owner, agent))
    assert job["status"] == "completed"
    assert job["output_data"]["reconciled"]


@pytest.mark.parametrize("points", [["sent"], ["outcome", "acked"]], ids=["before", "after"])
def test_a_journal_that_cannot_be_written_is_no_reason_for_silence(  # noqa: PLR0917
    owner: User,
    agent: Agent,
    paper: Paper,
    state: Path,
    monkeypatch: pytest.MonkeyPatch,
    points: Sequence[str],
) -> None:
    """The disk is full: what cannot be noted is not sent, and what was sent is reported."""
    for point in points:
        monkeypatch.setattr(Journal, point, _filled_up(getattr(Journal, point)))
    with working(paper, settings_of(state)):
        job = ended(owner, order(owner, agent))
    assert job["status"] == ("failed" if points == ["sent"] else "completed")
    assert len(paper.calls) == (job["status"] == "completed")


def _filled_up(write: Callable[..., None]) -> Callable[..., None]:
    """Have SQLite refuse this write, as it does on a disk that is full."""

    def full(journal: Journal, *values: Any) -> None:
        journal._db.execute("pragma query_only = on")
        try:
            write(journal, *values)
        finally:
            journal._db.execute("pragma query_only = off")

    return full
