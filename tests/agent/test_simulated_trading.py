"""The simulated account does what a hedging account at a broker does."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from forex_agent.simulated import (
    RandomWalk,
    Replay,
    SimulatedTerminal,
    Terms,
    WeekendClosed,
    read_book,
)
from forex_agent.simulated.clock import ManualClock
from forex_agent.simulated.symbols import known
from forex_agent.terminal import Close, NotSent, Order, Rejected

from tests.agent.simulated import LONG_AGO, MONDAY, PLAIN, bought, opened, played, write_ticks

STANDING = ["1.10000"] * 600


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(MONDAY)


def test_a_buy_is_filled_at_the_ask_and_closed_at_the_bid(
    tmp_path: Path, clock: ManualClock
) -> None:
    terminal = opened(tmp_path / "book.db", played(tmp_path / "d", ["1.10000", "1.10100"]), clock)
    fill = bought(terminal)
    clock.advance(1)
    (position,) = terminal.positions()
    closed = terminal.close_position(Close(ticket=fill.position_id, comment="out"))

    assert fill.price == Decimal("1.10010")
    assert position.current_price == closed.price == Decimal("1.10100")
    assert position.profit == closed.pnl == Decimal("90.00")
    assert (closed.side, closed.position_id) == ("sell", fill.position_id)
    assert terminal.account().balance == Decimal("10090.00")
    assert terminal.positions() == []


def test_a_sell_is_filled_at_the_bid_and_closed_at_the_ask(
    tmp_path: Path, clock: ManualClock
) -> None:
    terminal = opened(tmp_path / "book.db", played(tmp_path / "d", ["1.10000", "1.09900"]), clock)
    fill = bought(terminal, side="sell")
    clock.advance(1)
    closed = terminal.close_position(Close(ticket=fill.position_id))
    assert (fill.price, closed.price) == (Decimal("1.10000"), Decimal("1.09910"))
    assert closed.pnl == Decimal("90.00")


def test_opposite_positions_stand_side_by_side(tmp_path: Path, clock: ManualClock) -> None:
    terminal = opened(tmp_path / "book.db", played(tmp_path / "d", STANDING), clock)
    bought(terminal)
    bought(terminal, side="sell")
    assert [position.side for position in terminal.positions()] == ["buy", "sell"]


def test_margin_is_contract_times_price_by_leverage(tmp_path: Path, clock: ManualClock) -> None:
    terminal = opened(tmp_path / "book.db", played(tmp_path / "d", STANDING), clock)
    bought(terminal, "0.5")
    account = terminal.account()
    assert account.margin_used == Decimal("550.05")  # 0.5 x 100,000 x 1.10010 / 100
    assert account.equity == Decimal("9995.00")
    assert account.margin_available == account.equity - account.margin_used


def test_profit_in_another_currency_is_changed_at_the_markets_rate(
    tmp_path: Path, clock: ManualClock
) -> None:
    market = played(tmp_path / "d", ["150.000", "151.000"], symbol="USDJPY", spread="0.000")
    terminal = opened(tmp_path / "book.db", market, clock)
    fill = terminal.send(Order(symbol="USDJPY", side="buy", volume=Decimal(1)))
    clock.advance(1)
    closed = terminal.close_position(Close(ticket=fill.position_id))
    assert closed.pnl == Decimal("662.25")  # 100,000 JPY at 151


def test_a_cross_is_changed_by_way_of_the_dollar(tmp_path: Path, clock: ManualClock) -> None:
    for symbol, bids in {
        "EURJPY": ["160", "161"],
        "USDJPY": ["150"] * 2,
        "EURUSD": ["2"] * 2,
    }.items():
        write_ticks(tmp_path / "d", symbol, bids, "0")
    market = Replay(tmp_path / "d", start=MONDAY)
    terminal = opened(tmp_path / "book.db", market, clock, currency="EUR")
    fill = terminal.send(Order(symbol="EURJPY", side="buy", volume=Decimal("0.1")))
    clock.advance(1)
    # 10,000 JPY; EURJPY leads there directly, at 161.
    assert terminal.close_position(Close(ticket=fill.position_id)).pnl == Decimal("62.11")


def test_commission_is_paid_by_each_deal(tmp_path: Path, clock: ManualClock) -> None:
    terms = replace(PLAIN, commission=Decimal("3.50"))
    terminal = opened(tmp_path / "book.db", played(tmp_path / "d", STANDING), clock, terms)
    fill = bought(terminal, "2")
    closed = terminal.close_position(Close(ticket=fill.position_id))
    assert (fill.commission, closed.commission) == (Decimal("-7.00"), Decimal("-7.00"))
    assert terminal.account().balance == Decimal(10_000) - 14 + closed.pnl


def test_swap_is_booked_each_night_and_three_times_on_wednesday(
    tmp_path: Path, clock: ManualClock
) -> None:
    terminal = opened(tmp_path / "book.db", played(tmp_path / "d", STANDING), clock)
    fill = bought(terminal)
    swaps = []
    for _ in range(7):  # nights from Monday to Tuesday … from Sunday to Monday
        clock.advance(86_400)
        swaps.append(terminal.positions()[0].swap)
    nightly = [after - before for before, after in zip([Decimal(0), *swaps], swaps, strict=False)]
    assert nightly == [-6, -6, -18, -6, -6, 0, 0]
    closed = terminal.close_position(Close(ticket=fill.position_id))
    assert closed.swap == Decimal(-42)
    assert terminal.account().balance == Decimal(10_000) + closed.pnl - 42


def test_an_account_that_was_left_alone_is_brought_up_to_date(
    tmp_path: Path, clock: ManualClock
) -> None:
    market = played(tmp_path / "d", STANDING)
    terminal = opened(tmp_path / "book.db", market, clock)
    bought(terminal)
    terminal.close()
    clock.advance(7 * 86_400)
    terminal.connect()
    assert terminal.positions()[0].swap == -42


def test_an_sl_is_filled_at_the_first_tick_at_or_beyond_it(
    tmp_path: Path, clock: ManualClock
) -> None:
    bids = ["1.10000", "1.09960", "1.09890", "1.09950", "1.10200"]
    terminal = opened(tmp_path / "book.db", played(tmp_path / "d", bids), clock)
    fill = bought(terminal, sl="1.09900", tp="1.10150")
    clock.advance(4)  # nobody looked in between
    assert terminal.positions() == []
    deal = terminal.deals(LONG_AGO)[-1]
    assert (deal.reason, deal.comment) == ("sl", "[sl 1.09900]")
    assert (deal.price, deal.time) == (Decimal("1.09890"), MONDAY + timedelta(seconds=2))
    assert deal.position_id == fill.position_id
    assert deal.profit == Decimal("-120.00")


@pytest.mark.parametrize("side", ["buy", "sell"])
def test_a_tp_is_filled_at_its_price_or_better(
    tmp_path: Path, clock: ManualClock, side: str
) -> None:
    up = ["1.10000", "1.10050", "1.10170"]
    bids = up if side == "buy" else ["1.10000", "1.09950", "1.09830"]
    terminal = opened(tmp_path / "book.db", played(tmp_path / "d", bids), clock)
    if side == "buy":
        bought(terminal, tp="1.10160")
    else:
        bought(terminal, side="sell", tp="1.09850")
    clock.advance(2)
    assert terminal.positions() == []
    deal = terminal.deals(LONG_AGO)[-1]
    assert deal.reason == "tp"
    assert deal.price == Decimal("1.10170" if side == "buy" else "1.09840")


def test_the_worst_position_is_closed_at_the_stop_out(tmp_path: Path, clock: ManualClock) -> None:
    bids = ["1.10000", "1.09500", "1.09100"]
    terminal = opened(
        tmp_path / "book.db", played(tmp_path / "d", bids), clock, deposit=Decimal(3000)
    )
    bought(terminal, "2", comment="large")
    bought(terminal, "0.1", comment="small")
    clock.advance(2)
    assert [position.comment for position in terminal.positions()] == ["small"]
    deal = terminal.deals(LONG_AGO)[-1]
    assert deal.reason == "stop_out"
    assert deal.comment.startswith("[so ")


def test_a_partial_close_leaves_the_rest(tmp_path: Path, clock: ManualClock) -> None:
    terminal = opened(tmp_path / "book.db", played(tmp_path / "d", STANDING), clock)
    fill = bought(terminal, "1")
    part = terminal.close_position(
        Close(ticket=fill.position_id, volume=Decimal("0.3"), comment="part")
    )
    (position,) = terminal.positions()
    assert (part.volume, position.volume) == (Decimal("0.3"), Decimal("0.7"))
    assert (part.retcode_name, position.ticket) == ("DONE", fill.position_id)
    assert [deal.entry for deal in terminal.find("part", LONG_AGO).deals] == ["out"]


def test_an_order_is_found_by_its_comment_and_not_by_anothers(
    tmp_path: Path, clock: ManualClock
) -> None:
    terminal = opened(tmp_path / "book.db", played(tmp_path / "d", STANDING), clock)
    fill = bought(terminal, comment="mine")
    trace = terminal.find("mine", MONDAY)
    assert [deal.deal_id for deal in trace.deals] == [fill.deal_id]
    assert not trace.open
    assert not terminal.find("other", MONDAY).deals
    assert not terminal.find("mine", MONDAY + timedelta(seconds=1)).deals
    assert [deal.magic for deal in terminal.deals(MONDAY)] == [0]


REFUSED = [
    (Order(symbol="EURUSD", side="buy", volume=Decimal(0)), "volume_out_of_range", 10014),
    (Order(symbol="EURUSD", side="buy", volume=Decimal("0.001")), "volume_out_of_range", 10014),
    (Order(symbol="EURUSD", side="buy", volume=Decimal("0.015")), "volume_out_of_range", 10014),
    (Order(symbol="EURUSD", side="buy", volume=Decimal(101)), "volume_out_of_range", 10014),
    (Order(symbol="EURUSD", side="buy", volume=Decimal("nan")), "volume_out_of_range", 10014),
    (Order(symbol="EURUSD", side="buy", volume=Decimal(50)), "no_money", 10019),
    (
        Order(symbol="EURUSD", side="buy", volume=Decimal(1), sl=Decimal("1.2")),
        "invalid_stops",
        10016,
    ),
    (
        Order(symbol="EURUSD", side="buy", volume=Decimal(1), tp=Decimal("1.1")),
        "invalid_stops",
        10016,
    ),
    # The stops level is 10 points: nine away from the bid are too near, ten are not.
    (
        Order(symbol="EURUSD", side="buy", volume=Decimal(1), sl=Decimal("1.09991")),
        "invalid_stops",
        10016,
    ),
    (
        Order(symbol="EURUSD", side="sell", volume=Decimal(1), sl=Decimal("1.10019")),
        "invalid_stops",
        10016,
    ),
    (
        Order(symbol="EURUSD", side="buy", volume=Decimal(1), sl=Decimal(-1)),
        "invalid_stops",
        10016,
    ),
]


@pytest.mark.parametrize("order, code, number", REFUSED)
def test_a_refused_order_leaves_no_trace(
    tmp_path: Path, clock: ManualClock, order: Order, code: str, number: int
) -> None:
    terminal = opened(tmp_path / "book.db", played(tmp_path / "d", STANDING), clock)
    with pytest.raises(Rejected) as refusal:
        terminal.send(order)
    assert (refusal.value.code, refusal.value.retcode) == (code, number)
    state = read_book(tmp_path / "book.db")
    assert (state.deals, state.positions, state.balance) == ([], [], Decimal(10_000))


def test_stops_at_exactly_the_stops_level_are_taken(tmp_path: Path, clock: ManualClock) -> None:
    terminal = opened(tmp_path / "book.db", played(tmp_path / "d", STANDING), clock)
    bought(terminal, sl="1.09990", tp="1.10010")
    (position,) = terminal.positions()
    assert (position.sl, position.tp) == (Decimal("1.09990"), Decimal("1.10010"))


def test_slippage_beyond_the_deviation_is_a_requote(tmp_path: Path, clock: ManualClock) -> None:
    terms = replace(PLAIN, slippage=50)
    terminal = opened(tmp_path / "book.db", played(tmp_path / "d", STANDING), clock, terms)
    prices, refusals = [], []
    for number in range(40):
        order = Order(
            symbol="EURUSD", side="buy", volume=Decimal("0.01"), comment=str(number), deviation=20
        )
        try:
            prices.append(terminal.send(order).price)
        except Rejected as refusal:
            refusals.append(refusal)
    assert prices
    assert all(Decimal("1.10010") <= price <= Decimal("1.10030") for price in prices)
    assert {(refusal.code, refusal.requote) for refusal in refusals} == {("requote", True)}


def test_a_symbol_may_be_closed_to_trading(tmp_path: Path, clock: ManualClock) -> None:
    closed = replace(known("EURUSD"), trade_allowed=False)
    terminal = opened(tmp_path / "book.db", played(tmp_path / "d", STANDING, specs=[closed]), clock)
    with pytest.raises(Rejected) as refusal:
        bought(terminal)
    assert refusal.value.code == "trade_disabled"


def test_a_symbol_without_a_filling_mode_cannot_be_traded(
    tmp_path: Path, clock: ManualClock
) -> None:
    unfillable = replace(known("EURUSD"), fillings=())
    terminal = opened(
        tmp_path / "book.db", played(tmp_path / "d", STANDING, specs=[unfillable]), clock
    )
    with pytest.raises(Rejected) as refusal:
        bought(terminal)
    assert (refusal.value.code, refusal.value.retcode) == ("unsupported_filling", 10030)


def test_a_currency_that_cannot_be_changed_is_not_traded(
    tmp_path: Path, clock: ManualClock
) -> None:
    market = played(tmp_path / "d", STANDING)
    terminal = opened(tmp_path / "book.db", market, clock, currency="JPY")
    with pytest.raises(Rejected, match="from USD to JPY") as refusal:
        bought(terminal)
    assert refusal.value.code == "trade_disabled"


def test_nothing_is_traded_at_weekends(tmp_path: Path, clock: ManualClock) -> None:
    market = WeekendClosed(RandomWalk(1, ["EURUSD"]))
    terminal = opened(tmp_path / "book.db", market, clock)
    fill = bought(terminal)
    clock.advance(5 * 86_400)  # Saturday
    friday = terminal.ticks(["EURUSD"])["EURUSD"]
    clock.advance(3600)
    assert terminal.ticks(["EURUSD"])["EURUSD"] == friday
    with pytest.raises(Rejected) as refusal:
        bought(terminal)
    assert (refusal.value.code, refusal.value.retcode) == ("market_closed", 10018)
    with pytest.raises(Rejected, match="closed"):
        terminal.close_position(Close(ticket=fill.position_id))
    clock.advance(2 * 86_400)
    terminal.close_position(Close(ticket=fill.position_id))


@pytest.mark.parametrize("ticket", ["2", "", "x", "-1", "1.0", "01", "9" * 40])
def test_a_position_that_is_not_there_is_not_closed(
    tmp_path: Path, clock: ManualClock, ticket: str
) -> None:
    terminal = opened(tmp_path / "book.db", played(tmp_path / "d", STANDING), clock)
    bought(terminal)
    with pytest.raises(Rejected) as refusal:
        terminal.close_position(Close(ticket=ticket))
    assert (refusal.value.code, refusal.value.retcode) == ("position_not_found", 10036)


@pytest.mark.parametrize("volume", ["0", "-1", "1.01", "0.005", "nan"])
def test_not_more_is_closed_than_there_is(tmp_path: Path, clock: ManualClock, volume: str) -> None:
    terminal = opened(tmp_path / "book.db", played(tmp_path / "d", STANDING), clock)
    fill = bought(terminal)
    with pytest.raises(Rejected) as refusal:
        terminal.close_position(Close(ticket=fill.position_id, volume=Decimal(volume)))
    assert (refusal.value.code, refusal.value.retcode) == ("volume_out_of_range", 10038)


def test_what_reaches_no_broker_is_not_sent(tmp_path: Path, clock: ManualClock) -> None:
    terminal = opened(tmp_path / "book.db", played(tmp_path / "d", STANDING), clock)
    with pytest.raises(NotSent) as unknown:
        terminal.send(Order(symbol="NOPE", side="buy", volume=Decimal(1)))
    with pytest.raises(NotSent) as long:
        bought(terminal, comment="x" * 32)
    with pytest.raises(NotSent) as frame:
        terminal.candles("EURUSD", "M7", 1)
    with pytest.raises(NotSent) as count:
        terminal.candles("EURUSD", "M1", 5001)
    codes = [error.value.code for error in (unknown, long, frame, count)]
    assert codes == ["unknown_symbol", "invalid_input", "invalid_input", "invalid_input"]
    assert terminal.ticks(["NOPE"]) == {}


def test_a_terminal_that_is_not_connected_says_so(tmp_path: Path, clock: ManualClock) -> None:
    terminal = SimulatedTerminal(tmp_path / "book.db", RandomWalk(1), clock=clock)
    assert not terminal.status().connected
    with pytest.raises(NotSent) as away:
        terminal.account()
    assert away.value.code == "disconnected"
    terminal.connect()
    assert terminal.status().connected
    terminal.close()
    assert not terminal.status().connected


def test_a_book_that_is_opened_again_has_the_same_state(tmp_path: Path, clock: ManualClock) -> None:
    market = played(tmp_path / "d", STANDING)
    terminal = opened(tmp_path / "book.db", market, clock, Terms())
    fill = bought(terminal, sl="1.09000", comment="kept")
    terminal.close_position(Close(ticket=fill.position_id, volume=Decimal("0.4")))
    before = (terminal.account(), terminal.positions(), terminal.deals(LONG_AGO))
    again = opened(tmp_path / "book.db", market, clock, deposit=Decimal(5), leverage=7)
    assert (again.account(), again.positions(), again.deals(LONG_AGO)) == before
