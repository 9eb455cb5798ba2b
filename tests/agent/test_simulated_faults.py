"""Each fault does to the caller and to the book exactly what it says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from forex_agent.simulated import Faults, ManualClock, SimulatedTerminal, clear, inject, read_book
from forex_agent.simulated.__main__ import main
from forex_agent.simulated.faults import KINDS, Kind
from forex_agent.simulated.symbols import known
from forex_agent.terminal import Close, NotSent, Rejected, Unknown

from tests.agent.simulated import LONG_AGO, MONDAY, bought, opened, played

STANDING = ["1.10000"] * 600


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(MONDAY)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "book.db"


@pytest.fixture
def terminal(tmp_path: Path, path: Path, clock: ManualClock) -> SimulatedTerminal:
    return opened(path, played(tmp_path / "d", STANDING), clock)


def fills(path: Path) -> Mapping[str, int]:
    return {comment: len(deals) for comment, deals in read_book(path).fills().items()}


def test_requote_leaves_nothing_and_the_next_try_is_filled(
    path: Path, terminal: SimulatedTerminal
) -> None:
    inject(path, "requote", times=2)
    for _ in range(2):
        with pytest.raises(Rejected) as refusal:
            bought(terminal)
        assert (refusal.value.code, refusal.value.requote) == ("requote", True)
        assert fills(path) == {}
    bought(terminal)
    assert fills(path) == {"order": 1}


def test_autotrading_is_switched_off_and_on_while_the_terminal_runs(
    path: Path, terminal: SimulatedTerminal
) -> None:
    assert terminal.status().trade_allowed
    inject(path, "autotrading_off", times=None)
    assert not terminal.status().trade_allowed
    for _ in range(2):
        with pytest.raises(Rejected) as refusal:
            bought(terminal)
        assert (refusal.value.code, refusal.value.retcode) == ("trade_disabled", 10027)
    clear(path, "autotrading_off")
    assert terminal.status().trade_allowed
    bought(terminal)
    assert fills(path) == {"order": 1}


def test_a_timeout_may_have_been_filled(path: Path, terminal: SimulatedTerminal) -> None:
    inject(path, "timeout_filled")
    with pytest.raises(Unknown) as unknown:
        bought(terminal)
    assert unknown.value.retcode == 10012
    assert len(terminal.find("order", MONDAY).deals) == 1


def test_a_timeout_may_not_have_been_filled(path: Path, terminal: SimulatedTerminal) -> None:
    inject(path, "timeout_unfilled")
    with pytest.raises(Unknown):
        bought(terminal)
    trace = terminal.find("order", MONDAY)
    assert (len(trace.deals), trace.open) == (0, False)


def test_a_close_may_time_out_as_well(path: Path, terminal: SimulatedTerminal) -> None:
    fill = bought(terminal)
    inject(path, "timeout_filled")
    with pytest.raises(Unknown):
        terminal.close_position(Close(ticket=fill.position_id, comment="out"))
    assert terminal.positions() == []
    assert [deal.entry for deal in terminal.find("out", MONDAY).deals] == ["out"]


def test_a_late_fill_is_open_at_the_broker_until_it_is_done(
    path: Path, terminal: SimulatedTerminal, clock: ManualClock
) -> None:
    inject(path, "late_fill", seconds=5)
    with pytest.raises(Unknown):
        bought(terminal, sl="1.09000")
    clock.advance(4)
    trace = terminal.find("order", MONDAY)
    assert (len(trace.deals), trace.open) == (0, True)
    clock.advance(2)
    trace = terminal.find("order", MONDAY)
    assert (len(trace.deals), trace.open) == (1, False)
    assert trace.deals[0].time == MONDAY + timedelta(seconds=5)
    (position,) = terminal.positions()
    assert (position.sl, position.ticket) == (Decimal("1.09000"), trace.deals[0].position_id)


def test_a_late_close_is_done_and_a_late_order_may_be_refused(
    path: Path, terminal: SimulatedTerminal, clock: ManualClock
) -> None:
    fill = bought(terminal)
    inject(path, "late_fill", seconds=1, times=2)
    with pytest.raises(Unknown):
        terminal.close_position(Close(ticket=fill.position_id, comment="out"))
    with pytest.raises(Unknown):
        bought(terminal, "99", comment="dear")
    clock.advance(1)
    assert terminal.positions() == []
    assert len(terminal.find("out", MONDAY).deals) == 1
    trace = terminal.find("dear", MONDAY)
    assert (len(trace.deals), trace.open) == (0, False)


def test_a_partial_fill_reports_its_own_volume(path: Path, terminal: SimulatedTerminal) -> None:
    inject(path, "partial")
    fill = bought(terminal, "0.05")
    assert (fill.volume, fill.retcode, fill.retcode_name) == (
        Decimal("0.02"),
        10010,
        "DONE_PARTIAL",
    )
    assert terminal.positions()[0].volume == Decimal("0.02")


def test_all_or_nothing_is_never_filled_in_part(
    tmp_path: Path, path: Path, clock: ManualClock
) -> None:
    whole = replace(known("EURUSD"), fillings=("fok",))
    terminal = opened(path, played(tmp_path / "d", STANDING, specs=[whole]), clock)
    inject(path, "partial")
    with pytest.raises(Rejected) as refusal:
        bought(terminal, "0.05")
    assert refusal.value.code == "rejected"
    assert fills(path) == {}


def test_a_hang_blocks_and_then_goes_on(
    path: Path, terminal: SimulatedTerminal, clock: ManualClock
) -> None:
    inject(path, "hang", seconds=45)
    terminal.account()  # not a trade
    before = clock.now()
    bought(terminal)
    assert clock.now() - before == 45_000
    assert fills(path) == {"order": 1}


def test_slow_answers_may_strike_every_call(
    path: Path, terminal: SimulatedTerminal, clock: ManualClock
) -> None:
    inject(path, "slow", seconds=2, times=3, calls="all")
    before = clock.now()
    for _ in range(4):
        terminal.ticks(["EURUSD"])
    assert clock.now() - before == 6_000


def test_a_lost_connection_comes_back_when_its_time_is_over(
    path: Path, terminal: SimulatedTerminal, clock: ManualClock
) -> None:
    inject(path, "disconnect", seconds=10)
    with pytest.raises(NotSent) as away:
        bought(terminal)
    assert away.value.code == "disconnected"
    assert not terminal.status().connected
    with pytest.raises(NotSent):
        terminal.connect()
    clock.advance(10)
    terminal.connect()
    assert terminal.status().connected
    assert fills(path) == {}


def test_a_connection_that_is_cut_stays_so_until_cleared(
    path: Path, terminal: SimulatedTerminal
) -> None:
    inject(path, "disconnect", times=None, seconds=0)
    assert not terminal.status().connected
    for call in (terminal.account, terminal.connect, terminal.connect):
        with pytest.raises(NotSent):
            call()
    clear(path)
    terminal.connect()
    assert terminal.status().connected


def test_a_restarted_terminal_keeps_its_book_and_asks_to_be_connected(
    path: Path, terminal: SimulatedTerminal
) -> None:
    bought(terminal)
    inject(path, "restart")
    for _ in range(2):
        with pytest.raises(NotSent):
            terminal.positions()
    terminal.connect()
    assert len(terminal.positions()) == 1


def outcomes(folder: Path, faults: Faults) -> list[str]:
    """Send 300 orders, each tried again after a requote, and say what became of each try."""
    market = played(folder / "d", STANDING)
    terminal = opened(folder / "book.db", market, ManualClock(MONDAY), faults=faults)
    found = []
    for number in range(300):
        try:
            bought(terminal, "0.01", comment=f"o{number}")
        except (Rejected, Unknown) as error:
            found.append(type(error).__name__)
        else:
            found.append("filled")
    return found


def test_a_plan_strikes_as_often_as_it_says_and_the_same_each_time(tmp_path: Path) -> None:
    plan = Faults(seed=5, chances={"requote": 0.2, "timeout_filled": 0.1})
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    first, second = (outcomes(tmp_path / name, plan) for name in ("one", "two"))
    assert first == second
    counts = Counter(first)
    assert 30 <= counts["Rejected"] <= 90
    assert 10 <= counts["Unknown"] <= 55
    booked = read_book(tmp_path / "one" / "book.db").fills()
    assert len(booked) == counts["filled"] + counts["Unknown"]


@pytest.mark.parametrize(
    "chances, rule",
    [
        ({"nonsense": 0.1}, "kind"),
        ({"requote": 0.7, "hang": 0.4}, "chances"),
        ({"requote": -0.1}, "chances"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(chances: Mapping[Kind, float], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        Faults(chances=chances)


def test_a_switch_that_cannot_be_is_refused(path: Path) -> None:
    with pytest.raises(ValueError, match="times"):
        inject(path, "requote", times=0)
    with pytest.raises(ValueError, match="seconds"):
        inject(path, "hang", seconds=-1)
    with pytest.raises(ValueError, match="calls"):
        inject(path, "requote", calls="all")
    with pytest.raises(ValueError, match="calls"):
        inject(path, "restart", calls="trade")


@pytest.mark.parametrize("kind", KINDS)
def test_no_fault_ever_fills_twice(
    path: Path, terminal: SimulatedTerminal, clock: ManualClock, kind: Kind
) -> None:
    inject(path, kind, seconds=1)
    try:
        bought(terminal, "0.05")
    except (Rejected, Unknown, NotSent):
        clock.advance(10)
        terminal.connect()
    assert len(terminal.find("order", LONG_AGO).deals) <= 1
    assert terminal.account().balance == read_book(path).balance


def test_the_command_line_switches_faults_and_shows_the_book(
    path: Path, terminal: SimulatedTerminal, capsys: pytest.CaptureFixture[str]
) -> None:
    main([str(path), "inject", "autotrading_off", "--always"])
    assert not terminal.status().trade_allowed
    main([str(path), "clear"])
    bought(terminal)
    main([str(path), "show"])
    shown = capsys.readouterr().out
    assert "position 1 buy 1 EURUSD" in shown
    assert "deal 1 in buy 1 EURUSD 1.10010" in shown
    with pytest.raises(SystemExit, match="BOOK"):
        main([str(path.with_name("none.db")), "show"])
    with pytest.raises(SystemExit, match="times"):
        main([str(path), "inject", "requote", "--times", "0"])
