"""`forex-agent run` as users start it: with the simulated terminal, signals, ends, prices."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from forex_agent.drivers import BOOK
from forex_agent.simulated import inject, read_book

from tests.agent.paper import Paper
from tests.agent.world import QUICK, ended, look, order, process, state_of
from tests.api.world import PATIENCE, Agent, User, until


@contextmanager
def running(
    state: Path, *arguments: str, command: str = "run", **variables: str
) -> Iterator[subprocess.Popen[bytes]]:
    """`forex-agent` in a process of its own, with the simulated terminal."""
    quick = {f"FOREX_AGENT_{name.upper()}": str(value) for name, value in QUICK.items()}
    told: Sequence[str] = [sys.executable, "-m", "forex_agent", "--state", str(state), command]
    started = subprocess.Popen(
        [*told, *arguments],
        env={**os.environ, **quick, **variables},
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield started
    finally:
        started.kill()
        started.communicate(timeout=PATIENCE)


@pytest.fixture
def state(tmp_path: Path, agent: Agent) -> Path:
    return state_of(tmp_path / "state", agent)


def test_an_order_goes_through_the_simulated_terminal(
    owner: User, agent: Agent, state: Path
) -> None:
    with running(state, "--simulated"):
        bought = ended(owner, order(owner, agent))
        ticket = bought["output_data"]["ticket"]
        sold = ended(owner, order(owner, agent, "close_position", ticket=ticket))
    assert bought["status"] == sold["status"] == "completed"
    book = read_book(state / BOOK)
    assert not book.positions
    assert len(book.deals) == 2


def test_a_fill_that_was_not_answered_is_found(owner: User, agent: Agent, state: Path) -> None:
    with running(state, "--simulated"):
        ended(owner, order(owner, agent))
        inject(state / BOOK, "timeout_filled")
        job = ended(owner, order(owner, agent))
    assert job["status"] == "completed"
    assert job["output_data"]["reconciled"]
    assert len(read_book(state / BOOK).deals) == 2


def test_prices_are_pushed_and_deals_are_reported(owner: User, state: Path, agent: Agent) -> None:
    store = redis.Redis.from_url(owner.service._environment["REDIS_URL"])
    with running(state, "--simulated", FOREX_AGENT_SYMBOLS="EURUSD,GBPUSD"):
        until(lambda: store.get(f"prices:{agent.agent_id}:GBPUSD") is not None)
        deal_id = ended(owner, order(owner, agent))["output_data"]["deal_id"]
    events = owner.service.rows(
        "select deal_id from public.trade_events where agent_id = %s and deal_id is not null",
        agent.agent_id,
    )
    assert [event["deal_id"] for event in events] == [deal_id]


def test_sigterm_lets_the_work_in_hand_end(owner: User, agent: Agent, tmp_path: Path) -> None:
    state = state_of(tmp_path / "state", agent)
    paper = Paper(tmp_path / "paper.jsonl")
    # One that nobody can tell the outcome of is looked for: that is work in hand.
    with process(state, paper.path, PAPER_FAULTS="unknown") as started:
        job_id = order(owner, agent)
        until(lambda: bool(paper.calls))
        started.send_signal(signal.SIGTERM)
        assert started.wait(PATIENCE) == 0
        assert look(owner, job_id)["status"] == "unknown"
        later = order(owner, agent)
        assert look(owner, later)["status"] == "pending"


def test_a_second_sigterm_ends_at_once(owner: User, agent: Agent, tmp_path: Path) -> None:
    state = state_of(tmp_path / "state", agent)
    paper = Paper(tmp_path / "paper.jsonl")
    slow = {"FOREX_AGENT_TRACE_SECONDS": "600", "FOREX_AGENT_DRAIN_SECONDS": "600"}
    with process(state, paper.path, PAPER_FAULTS="unknown", **slow) as started:
        job_id = order(owner, agent)
        until(lambda: bool(paper.calls))
        started.send_signal(signal.SIGTERM)
        query = "select status from public.mt5_agents where id = %s"
        until(lambda: owner.service.rows(query, agent.agent_id)[0]["status"] == "draining")
        started.send_signal(signal.SIGTERM)
        assert started.wait(PATIENCE) == 0
        assert look(owner, job_id)["status"] == "running"


def test_the_end_of_standard_input_is_a_sigterm(agent: Agent, state: Path) -> None:
    with running(state, "--simulated", "--stop-with-stdin") as started:
        assert started.stdin is not None
        started.stdin.close()
        assert started.wait(PATIENCE) == 0
        started.stdin = None


def test_a_key_that_is_refused_ends_the_agent_loudly(
    owner: User, agent: Agent, state: Path
) -> None:
    with running(state, "--simulated") as started:
        ended(owner, order(owner, agent))
        assert owner.delete(agent.path).status_code == 200
        _, told = started.communicate(timeout=PATIENCE)
    assert started.returncode == 3
    assert b"401" in told
    assert agent.key.encode() not in told


def test_a_wrong_setting_is_named_with_its_rule(state: Path) -> None:
    with running(state, "--simulated", FOREX_AGENT_CALL_SECONDS="soon") as started:
        _, told = started.communicate(timeout=PATIENCE)
    assert started.returncode == 2
    assert b"call_seconds: must be a number from 0.1 to 300" in told


def test_two_agents_do_not_work_in_one_folder(owner: User, agent: Agent, state: Path) -> None:
    with running(state, "--simulated"):
        ended(owner, order(owner, agent))
        with running(state, "--simulated") as second:
            _, told = second.communicate(timeout=PATIENCE)
    assert second.returncode == 1
    assert b"another agent" in told
