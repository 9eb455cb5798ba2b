"""What the agent tells by itself: deals from a spool, prices, heartbeats, systemd."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import forex_agent.agent
import pytest
from forex_agent import deals
from forex_agent.clock import elapsed
from forex_agent.drivers import NoExperts
from forex_agent.notify import Notify
from forex_agent.programs import Programs
from forex_agent.terminal import NotSent, Order

from tests.agent.lossy import Lossy
from tests.agent.paper import Paper
from tests.agent.world import ended, lapse, look, order, settings_of, state_of, working
from tests.api.world import Agent, Json, Service, User, until


@pytest.fixture
def paper(tmp_path: Path) -> Paper:
    return Paper(tmp_path / "paper.jsonl")


@pytest.fixture
def lossy(service: Service) -> Iterator[Lossy]:
    with Lossy(service.address) as proxy:
        yield proxy


@pytest.fixture
def trader(owner: User) -> Agent:
    """An agent of an account: only such a one has deals."""
    account = owner.post("/api/v1/broker-connections", {"name": "a"}).json()["id"]
    return owner.pair(broker_connection_id=account)


def known_deals(agent: Agent) -> list[str]:
    query = """select deal_id from public.trade_events
        where agent_id = %s and deal_id is not null order by deal_id"""
    return [row["deal_id"] for row in agent.service.rows(query, agent.agent_id)]


def by_hand(paper: Paper) -> None:
    """Somebody trades in the terminal itself."""
    paper.send(Order(symbol="EURUSD", side="buy", volume=Decimal("0.2"), comment="by hand"))


def test_deals_that_nobody_ordered_are_reported(
    trader: Agent, tmp_path: Path, paper: Paper
) -> None:
    by_hand(paper)
    with working(paper, settings_of(state_of(tmp_path / "state", trader))):
        until(lambda: known_deals(trader) == ["1000"])
        by_hand(paper)
        until(lambda: known_deals(trader) == ["1000", "1001"])


def test_the_balance_of_the_morning_counts_all_deals_however_many_reports_they_take(
    owner: User, trader: Agent, tmp_path: Path, paper: Paper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deals, "BATCH", 1)
    for _ in range(3):
        by_hand(paper)
    query = """select d.base_balance, b.last_balance - d.realized_pnl as morning
        from public.daily_pnl d join public.broker_connections b on b.id = d.broker_connection_id
        where d.user_id = %s and b.last_balance is not null"""
    with working(paper, settings_of(state_of(tmp_path / "state", trader))):
        until(lambda: bool(owner.service.rows(query, owner.user_id)))
        until(lambda: known_deals(trader) == ["1000", "1001", "1002"])
    [day] = owner.service.rows(query, owner.user_id)
    assert day["base_balance"] == day["morning"]


def test_a_deal_that_comes_into_the_history_late_is_found(
    trader: Agent, tmp_path: Path, paper: Paper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deals, "NEAR_SECONDS", 0.5)
    with working(paper, settings_of(state_of(tmp_path / "state", trader))):
        by_hand(paper)
        until(lambda: known_deals(trader) == ["1000"])
        paper.ahead = -timedelta(minutes=1)
        by_hand(paper)
        until(lambda: known_deals(trader) == ["1000", "1001"])


def test_deals_wait_in_the_spool_until_they_are_heard(
    trader: Agent, tmp_path: Path, paper: Paper, lossy: Lossy
) -> None:
    state = state_of(tmp_path / "state", trader, lossy.url)
    lossy.answer("/deals", b"HTTP/1.1 503 X\r\nContent-Length: 2\r\n\r\n{}", 1000)
    by_hand(paper)
    with working(paper, settings_of(state)):
        until(lambda: lossy.struck["/deals"] > 0)
    assert not known_deals(trader)
    lossy._faults.clear()
    paper.path.unlink()  # the terminal knows of it no more; the spool does
    with working(paper, settings_of(state)):
        until(lambda: known_deals(trader) == ["1000"])


def test_an_answer_that_is_too_large_to_send_is_a_failure_in_words(
    owner: User, trader: Agent, tmp_path: Path, paper: Paper, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused() -> tuple[int, str]:
        answer = owner.get("/api/v1/positions")
        return answer.status_code, answer.json().get("error_code")

    by_hand(paper)
    monkeypatch.setattr(paper, "positions", lambda found=paper.positions: list(found()) * 8000)
    with working(paper, settings_of(state_of(tmp_path / "state", trader))):
        until(lambda: refused() == (502, "answer_too_large"))


def test_the_deals_report_settles_an_unknown_order(
    owner: User, trader: Agent, tmp_path: Path, paper: Paper
) -> None:
    paper.faults = ["unknown_filled"]
    paper.hidden = True
    told = settings_of(state_of(tmp_path / "state", trader), trace_seconds=0, deals_seconds=60)
    query = "select last_balance from public.broker_connections where user_id = %s"
    with working(paper, told):
        until(lambda: owner.service.rows(query, owner.user_id)[0]["last_balance"] is not None)
        job_id = order(owner, trader)
        until(lambda: ended(owner, job_id)["status"] == "completed")
    assert len(paper.calls) == 1


def test_a_deal_that_was_told_before_its_order_became_unknown_settles_it(
    owner: User, trader: Agent, tmp_path: Path, paper: Paper
) -> None:
    """No deal is left to tell; the next report of the account does it."""
    paper.faults, paper.hidden = ["unknown_filled"], True
    told = settings_of(
        state_of(tmp_path / "state", trader), trace_seconds=600, account_seconds=1, drain_seconds=0
    )
    with working(paper, told):
        job_id = order(owner, trader)
        until(lambda: known_deals(trader) == ["1000"])
        assert look(owner, job_id)["status"] == "running"
        lapse(owner, job_id)
        until(lambda: look(owner, job_id)["status"] == "completed")
    assert look(owner, job_id)["output_data"]["resolved_by"] == "deals"
    unknown = "select 1 from public.trade_events where job_id = %s and event = 'unknown'"
    assert owner.service.rows(unknown, job_id)
    assert len(paper.calls) == 1


def test_a_deal_that_the_service_refuses_holds_no_other_up(
    trader: Agent, tmp_path: Path, paper: Paper
) -> None:
    by_hand(paper)
    paper._write({**paper.deals_made[0], "deal_id": "1001", "volume": "-1"})
    paper._write({**paper.deals_made[0], "deal_id": "1002"})
    with working(paper, settings_of(state_of(tmp_path / "state", trader))):
        until(lambda: known_deals(trader) == ["1000", "1002"])


def test_open_positions_and_watched_symbols_have_their_prices_pushed(
    owner: User, agent: Agent, tmp_path: Path, paper: Paper, service: Service
) -> None:
    import redis  # noqa: PLC0415

    store = redis.Redis.from_url(service._environment["REDIS_URL"])
    with working(paper, settings_of(state_of(tmp_path / "state", agent))):
        ended(owner, order(owner, agent))
        until(lambda: store.get(f"prices:{agent.agent_id}:EURUSD") is not None)
        assert store.get(f"prices:{agent.agent_id}:GBPUSD") is None
        store.zadd(f"interest:{agent.agent_id}", {"GBPUSD": 9_999_999_999_999})
        until(lambda: store.get(f"prices:{agent.agent_id}:GBPUSD") is not None)


def test_the_heartbeat_says_how_everything_is(agent: Agent, tmp_path: Path, paper: Paper) -> None:
    with working(paper, settings_of(state_of(tmp_path / "state", agent))):
        until(lambda: (seen(agent) or {}).get("terminal_connected") is True)
    metrics = seen(agent)
    assert metrics["terminal_connected"] is True
    assert metrics["account_login"] == "7001"
    assert abs(metrics["clock_skew_ms"]) < 20_000  # or as long as the machine stood still
    assert {
        *("cpu_percent", "memory_percent", "active_eas", "trade_allowed", "ping_ms"),
        *("queue_depth", "version"),
    } <= metrics.keys()


def seen(agent: Agent) -> Json:
    return agent.get(f"{agent.path}/status").json()["metrics"]


def test_systemd_is_told(
    agent: Agent, tmp_path: Path, paper: Paper, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        heard: list[bytes] = []
        with working(paper, settings_of(state_of(tmp_path / "state", agent))):
            while b"READY=1" not in heard:
                heard.append(listener.recv(100))
        while b"STOPPING=1" not in heard:
            heard.append(listener.recv(100))
    assert b"WATCHDOG=1" in heard


def test_the_watchdog_is_not_fed_while_the_service_is_silent(
    agent: Agent, tmp_path: Path, paper: Paper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So systemd ends an agent that hears nothing."""
    looks: list[float] = []

    def hours_later() -> float:
        looks.append(elapsed())
        return looks[-1] + 10_000

    monkeypatch.setattr(forex_agent.agent, "elapsed", hours_later)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "30000")
        heard: list[bytes] = []
        with working(paper, settings_of(state_of(tmp_path / "state", agent))):
            until(lambda: len(looks) >= 2)
        while b"STOPPING=1" not in heard:
            heard.append(listener.recv(100))
    assert b"WATCHDOG=1" not in heard


def test_nobody_counts_programs_that_nobody_can_see(agent: Agent, tmp_path: Path) -> None:
    programs = Programs(NoExperts(NotSent("not_sent", "no compiler")), tmp_path)
    assert asyncio.run(programs.active()) is None
    programs.close()


def test_without_systemd_nothing_is_sent() -> None:
    notify = Notify({})
    notify.send("READY=1")
    assert notify.watchdog_seconds is None
