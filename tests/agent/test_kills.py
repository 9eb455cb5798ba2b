"""A real process of the agent, killed at every point of an order's way; another agent goes on."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.agent.paper import Paper
from tests.agent.world import Process, ended, lapse, look, order, settings_of, state_of, working
from tests.api.world import PATIENCE, Agent, User, until

POINTS = {
    "received:before": "completed",
    "received:after": "completed",
    "intent:before": "completed",
    "intent:after": "completed",
    "sent:before": "completed",
    "sent:after": "unknown",  # between the mark and the call: nobody can say, so it is not sent
    "send:before": "unknown",
    "_deal:after": "completed",  # filled; its trace is found
    "send:after": "completed",
    "outcome:before": "completed",
    "outcome:after": "completed",
    "report:before": "completed",
    "report:after": "completed",
    "acked:before": "completed",
    "acked:after": "completed",
}


@pytest.mark.parametrize("point", POINTS)
def test_a_killed_agent_never_sends_twice_and_loses_nothing(
    owner: User, agent: Agent, tmp_path: Path, point: str
) -> None:
    state = state_of(tmp_path / "state", agent)
    paper = Paper(tmp_path / "paper.jsonl")
    job_id = order(owner, agent)
    killed = Process(state, paper.path).start(point)
    killed.communicate(timeout=PATIENCE)
    assert killed.returncode == -signal.SIGKILL
    with working(paper, settings_of(state)):
        job = ended(owner, job_id)
    assert job["status"] == POINTS[point]
    assert len(paper.calls) == (job["status"] == "completed")
    assert len(paper.deals_made) == len(paper.calls)


@pytest.mark.parametrize("point", ["sent:after", "_deal:after", "outcome:after"])
def test_an_agent_that_dies_after_its_requote_does_not_try_again(
    owner: User, agent: Agent, tmp_path: Path, point: str
) -> None:
    state = state_of(tmp_path / "state", agent)
    paper = Paper(tmp_path / "paper.jsonl")
    job_id = order(owner, agent)
    killed = Process(state, paper.path).start(point, PAPER_FAULTS="requote,requote")
    killed.communicate(timeout=PATIENCE)
    calls = list(paper.calls)
    with working(paper, settings_of(state)):
        job = ended(owner, job_id)
    assert paper.calls == calls
    assert (job["status"] == "completed") == (len(paper.deals_made) == 1)


def test_an_order_that_expired_while_the_agent_was_dead_is_not_sent(
    owner: User, agent: Agent, tmp_path: Path
) -> None:
    state = state_of(tmp_path / "state", agent)
    paper = Paper(tmp_path / "paper.jsonl")
    killed = Process(state, paper.path).start("sent:before")
    until(lambda: owner.get(f"{agent.path}/status").json()["last_heartbeat"])  # so it has begun
    job_id = order(owner, agent, expires_in=5.0)
    killed.communicate(timeout=PATIENCE)
    expires = look(owner, job_id)["expires_at"]
    until(lambda: owner.service.rows("select now() > %s::timestamptz as past", expires)[0]["past"])
    with working(paper, settings_of(state)):
        job = ended(owner, job_id)
    assert job["status"] == "failed"
    assert job["output_data"]["error_code"] == "expired"
    assert not paper.calls


def test_an_order_whose_lease_was_lost_while_the_agent_was_dead_is_not_sent(
    owner: User, agent: Agent, tmp_path: Path
) -> None:
    state = state_of(tmp_path / "state", agent)
    paper = Paper(tmp_path / "paper.jsonl")
    job_id = order(owner, agent)
    killed = Process(state, paper.path).start("sent:before")
    killed.communicate(timeout=PATIENCE)
    lapse(owner, job_id)
    assert look(owner, job_id)["status"] == "unknown"
    with working(paper, settings_of(state)):
        until(lambda: look(owner, job_id)["status"] == "failed")
    assert look(owner, job_id)["output_data"]["error_code"] == "not_sent"
    assert not paper.calls
