"""Orders end to end: a real service, this agent, a terminal on paper."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from forex_agent.hands import Hands

from tests.agent.paper import Paper
from tests.agent.world import TRADE, ended, look, order, settings_of, state_of, working
from tests.api.world import Agent, Json, User, until


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
    assert (output["fill_price"], output["volume"], output["retcode"]) == (1.08415, 0.1, 10009)
    assert set(output["latency"]) == {"queued_ms", "sent_ms", "filled_ms"}
    assert len(paper.calls) == 1


def test_a_position_is_closed(owner: User, agent: Agent, paper: Paper, state: Path) -> None:
    with working(paper, settings_of(state)):
        ticket = ended(owner, order(owner, agent))["output_data"]["ticket"]
        closed = ended(owner, order(owner, agent, "close_position", ticket=ticket))
        again = ended(owner, order(owner, agent, "close_position", ticket=ticket))
    assert closed["output_data"]["pnl"] == 5
    assert closed["output_data"]["ticket"] == ticket
    assert again["status"] == "failed"
    assert again["output_data"]["error_code"] == "position_not_found"


NO_CALL = 0
FAILURES = [
    ("rejected", "failed", {"error_code": "no_money", "retcode": 10019}, 1),
    ("not_sent", "failed", {"error_code": "disconnected"}, 1),
    ("unknown", "unknown", {"outcome": "unknown"}, 1),
    ("unknown_filled", "completed", {"reconciled": True, "fill_price": 1.08415}, 1),
    ("bug", "unknown", {"outcome": "unknown"}, 1),
    ("hang", "unknown", {"outcome": "unknown"}, 1),
    ("requote,requote,requote", "completed", {"retcode": 10009}, 4),
    ("requote,requote,requote,requote", "failed", {"error_code": "requote"}, 4),
    ("requote,unknown", "unknown", {"outcome": "unknown"}, 2),
]


@pytest.mark.parametrize("faults,status,output,calls", FAILURES, ids=[f[0] for f in FAILURES])
def test_what_the_terminal_says_is_what_is_reported(  # noqa: PLR0917
    owner: User,
    agent: Agent,
    paper: Paper,
    state: Path,
    faults: str,
    status: str,
    output: Json,
    calls: int,
) -> None:
    paper.faults = faults.split(",")
    # Only a call that hangs is to be given up; another one may take its time.
    with working(paper, settings_of(state, call_seconds=1.0 if faults == "hang" else 60)):
        job = ended(owner, order(owner, agent))
    assert job["status"] == status
    assert output.items() <= job["output_data"].items()
    assert len(paper.calls) == calls
    assert len(paper.deals_made) == (status == "completed" or faults == "hang")


@pytest.mark.parametrize(
    "wrong,named",
    [
        ({"side": "long"}, "side"),
        ({"volume": 0}, "volume"),
        ({"sl": -1}, "sl"),
        ({"symbol": 0.5}, "symbol"),
    ],
)
def test_an_input_that_is_wrong_is_never_sent(  # noqa: PLR0917
    owner: User, agent: Agent, paper: Paper, state: Path, wrong: Json, named: str
) -> None:
    with working(paper, settings_of(state)):
        job = ended(owner, order(owner, agent, **wrong))
    assert job["status"] == "failed"
    assert job["output_data"]["error_code"] == "invalid_input"
    assert job["error_message"].startswith(named)
    assert not paper.calls


def test_the_kill_file_stops_trades_and_lets_closes_pass(
    owner: User, agent: Agent, paper: Paper, state: Path
) -> None:
    with working(paper, settings_of(state)):
        ticket = ended(owner, order(owner, agent))["output_data"]["ticket"]
        (state / "HALT").touch()
        refused = ended(owner, order(owner, agent))
        closed = ended(owner, order(owner, agent, "close_position", ticket=ticket))
        (state / "HALT").unlink()
        again = ended(owner, order(owner, agent))
    assert refused["output_data"]["error_code"] == "kill_file"
    assert closed["status"] == again["status"] == "completed"
    assert len(paper.calls) == 3


@pytest.mark.parametrize("trading", ["halted", "reducing"])
def test_a_trade_that_came_past_the_gate_of_the_service_is_not_begun(
    owner: User, agent: Agent, paper: Paper, state: Path, trading: str
) -> None:
    """The service's fence at its start; what was begun before is for the agent's own gate."""
    with working(paper, settings_of(state)):
        ticket = ended(owner, order(owner, agent))["output_data"]["ticket"]
        assert owner.patch("/api/v1/settings", {"trading_state": trading}).status_code == 200
        stopped = ended(owner, put_in(owner, agent, "trade", TRADE))
        closed = ended(owner, order(owner, agent, "close_position", ticket=ticket))
    assert (stopped["status"], stopped["error_message"]) == ("cancelled", f"trading_{trading}")
    assert closed["status"] == "completed"
    assert len(paper.calls) == 2


def test_an_order_that_expired_in_the_queue_is_not_sent(
    owner: User, agent: Agent, paper: Paper, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy, began = threading.Event(), threading.Event()

    def block(*_: object) -> Any:
        began.set()
        busy.wait(60)
        return []

    monkeypatch.setattr(paper, "positions", block)
    with working(paper, settings_of(state, call_seconds=60)):
        until(began.is_set)
        job_id = order(owner, agent, expires_in=5.0)
        until(lambda: look(owner, job_id)["status"] == "running")
        expires = look(owner, job_id)["expires_at"]
        until(
            lambda: owner.service.rows("select now() > %s::timestamptz as late", expires)[0]["late"]
        )
        busy.set()
        job = ended(owner, job_id)
    assert job["status"] == "failed"
    assert job["output_data"]["error_code"] == "expired"
    assert not paper.calls


def test_an_unknown_order_that_turns_up_is_reported_late(
    owner: User, agent: Agent, paper: Paper, state: Path
) -> None:
    paper.faults = ["unknown_filled"]
    paper.hidden = True
    with working(paper, settings_of(state, trace_seconds=0.5, deals_seconds=60)):
        job_id = order(owner, agent)
        assert ended(owner, job_id)["status"] == "unknown"
        paper.hidden = False
        until(lambda: look(owner, job_id)["status"] == "completed")
    assert len(paper.calls) == 1


def test_a_search_goes_on_after_a_restart(
    owner: User, agent: Agent, paper: Paper, state: Path
) -> None:
    paper.faults = ["unknown_filled"]
    paper.hidden = True
    told = settings_of(state, trace_seconds=0.3, deals_seconds=60)
    with working(paper, told):
        job_id = order(owner, agent)
        assert ended(owner, job_id)["status"] == "unknown"
    paper.hidden = False
    with working(paper, told):
        until(lambda: look(owner, job_id)["status"] == "completed")
    assert len(paper.calls) == 1


def test_a_hung_call_that_comes_back_settles_its_order(
    owner: User, agent: Agent, paper: Paper, state: Path
) -> None:
    paper.faults = ["hang"]
    with working(paper, settings_of(state, call_seconds=1.5, dead_checks=100, deals_seconds=60)):
        job_id = order(owner, agent)
        assert ended(owner, job_id)["status"] == "unknown"
        paper.release.set()
        until(lambda: look(owner, job_id)["status"] == "completed")
    assert len(paper.calls) == 1


def test_a_terminal_that_hangs_is_replaced_and_orders_go_on(
    owner: User, agent: Agent, paper: Paper, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replaced = threading.Event()
    replace = Hands._replace

    def noticed(hands: Hands) -> None:
        replace(hands)
        replaced.set()

    monkeypatch.setattr(Hands, "_replace", noticed)
    paper.faults = ["hang"]
    told = settings_of(state, call_seconds=1.5, dead_checks=2, trace_seconds=0.2)
    with working(paper, told):
        first = order(owner, agent)
        assert ended(owner, first)["status"] == "unknown"
        until(replaced.is_set)
        second = ended(owner, order(owner, agent))
    assert second["status"] == "completed"
    assert paper.connects >= 2
    assert len(paper.calls) == 2


def test_orders_overtake_slow_work(owner: User, agent: Agent, paper: Paper, state: Path) -> None:
    compiling = threading.Event()
    with working(paper, settings_of(state)) as running:
        running.experts.hold = compiling
        job_id = put_in(owner, agent, "compile", {"source_code": "a"})
        until(lambda: look(owner, job_id)["status"] == "running")
        assert ended(owner, order(owner, agent))["status"] == "completed"
        assert look(owner, job_id)["status"] == "running"
        compiling.set()
        assert ended(owner, job_id)["output_data"]["warnings"] == 2


def test_what_was_not_finished_is_given_back_at_the_end(
    owner: User, agent: Agent, paper: Paper, state: Path
) -> None:
    with working(paper, settings_of(state, drain_seconds=0)) as running:
        running.experts.hold = threading.Event()
        job_id = put_in(owner, agent, "compile", {"source_code": "a"})
        until(lambda: look(owner, job_id)["status"] == "running")
        running.stop()
        assert look(owner, job_id)["status"] == "pending"
        running.experts.hold.set()
    with working(paper, settings_of(state)):
        assert ended(owner, job_id)["status"] == "completed"


def test_only_orders_are_taken_beyond_what_may_be_in_hand(
    owner: User, agent: Agent, paper: Paper, state: Path
) -> None:
    with working(paper, settings_of(state, in_hand=1)) as running:
        running.experts.hold = threading.Event()
        first = put_in(owner, agent, "compile", {"source_code": "a"})
        until(lambda: look(owner, first)["status"] == "running")
        second = put_in(owner, agent, "get_account", {})
        until(lambda: look(owner, second)["status"] == "claimed")
        assert ended(owner, order(owner, agent))["status"] == "completed"
        assert look(owner, second)["status"] == "claimed"  # taken, and not begun: it goes back
        running.experts.hold.set()
        assert ended(owner, first)["status"] == "completed"


def put_in(owner: User, agent: Agent, job_type: str, given: Json) -> str:
    """Put in a job as the service does, without the parents that a user's needs."""
    put = """select e.job_id from jobengine.enqueue(p_job_types => array[%s], p_inputs =>
        array[%s::jsonb], p_queues => array[%s], p_tenant_ids => array[%s::uuid]) e"""
    queue = f"agent/{agent.agent_id}"
    (row,) = owner.service.rows(put, job_type, json.dumps(given), queue, owner.user_id)
    return str(row["job_id"])


@pytest.mark.parametrize(
    "job_type,given,key",
    [
        ("get_positions", {}, "positions"),
        ("get_account", {}, "balance"),
        ("get_candles", {"instrument": "EURUSD", "timeframe": "M1", "count": 3}, "candles"),
        ("compile", {"source_code": "int a;"}, "sha256"),
        ("deploy", {"program_base64": "YWJj", "name": "a"}, "size_bytes"),
        ("run", {"symbol": "EURUSD", "timeframe": "H1", "inputs": {"lots": 0.1}}, "symbol"),
        ("stop", {"symbol": "EURUSD", "timeframe": "H1"}, "name"),
    ],
)
def test_the_other_jobs_are_done(  # noqa: PLR0917
    owner: User, agent: Agent, paper: Paper, state: Path, job_type: str, given: Json, key: str
) -> None:
    with working(paper, settings_of(state)):
        job = ended(owner, put_in(owner, agent, job_type, given))
    assert job["status"] == "completed"
    assert key in job["output_data"]


@pytest.mark.parametrize(
    "job_type,given,code",
    [
        ("get_candles", {"instrument": "EURUSD", "timeframe": "M1", "count": 0}, "invalid_input"),
        ("get_candles", {"timeframe": "M1"}, "invalid_input"),
        ("compile", {"source_code": "#error"}, "compilation_failed"),
        ("compile", {}, "invalid_input"),
        ("deploy", {"program_base64": "?"}, "invalid_input"),
        ("deploy", {"program_base64": "YWJj", "name": "../a"}, "invalid_input"),
        ("deploy", {"program_url": "http://127.0.0.1:1/secret"}, "transfer_failed"),
        ("deploy", {"program_url": "http://secret:secret/"}, "transfer_failed"),
        ("run", {}, "invalid_input"),
        ("run", {"symbol": "EURUSD", "inputs": {"lots": None}}, "invalid_input"),
    ],
)
def test_other_jobs_that_cannot_be_done_say_why(  # noqa: PLR0917
    owner: User, agent: Agent, paper: Paper, state: Path, job_type: str, given: Json, code: str
) -> None:
    with working(paper, settings_of(state)):
        job = ended(owner, put_in(owner, agent, job_type, given))
    assert job["status"] == "failed"
    assert job["output_data"]["error_code"] == code
    assert "secret" not in job["error_message"]
