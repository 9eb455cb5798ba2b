"""Orders end to end: a real service, this agent, a terminal on paper."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.agent.paper import Paper
from tests.agent.world import settings_of, state_of, working
from tests.api.world import Agent, Json, User, until

TRADE = {"symbol": "EURUSD", "side": "buy", "volume": 0.1}


def order(owner: User, agent: Agent, **more: Json) -> str:
    body = {"input_data": {**TRADE, **more}, "agent_id": str(agent.agent_id)}
    return str(owner.enqueue("trade", **body))


def ended(owner: User, job_id: str) -> Json:
    """Return the job once it has an outcome."""
    until(lambda: owner.job(job_id)["status"] not in {"pending", "claimed", "running"})  # type: ignore[arg-type]
    return owner.job(job_id)  # type: ignore[arg-type]


@pytest.fixture
def paper(tmp_path: Path) -> Paper:
    return Paper(tmp_path / "paper.jsonl")


@pytest.fixture
def state(tmp_path: Path, agent: Agent) -> Path:
    return state_of(tmp_path / "state", agent)


def test_an_order_is_filled_and_reported(
    owner: User, agent: Agent, paper: Paper, state: Path
) -> None:
    with working(paper, settings_of(state)):
        job = ended(owner, order(owner, agent))
    assert job["status"] == "completed"
    output = job["output_data"]
    assert output["ticket"] == output["position_id"] == "1000"
    assert output["fill_price"] == 1.08415
    assert output["volume"] == 0.1
    assert output["retcode"] == 10009
    assert set(output["latency"]) == {"queued_ms", "sent_ms", "filled_ms"}
    assert len(paper.calls) == 1
