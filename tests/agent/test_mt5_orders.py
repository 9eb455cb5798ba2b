"""Orders through the real driver: what exactly goes to `order_send`, and how often."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from forex_agent.mt5 import MT5Settings, MT5Terminal
from forex_agent.retcodes import RETCODES
from forex_agent.terminal import Close, Fill, NotSent, Order, Rejected, Unknown

from tests.agent.mt5_package import (
    DONE,
    NOW,
    PARTIAL,
    AccountInfo,
    CheckResult,
    DealInfo,
    FakePackage,
    OrderInfo,
    PositionInfo,
    SendResult,
    SymbolInfo,
    TerminalInfo,
    TickInfo,
)

COMMENT = "AGMVX2F3YJ7QXKLMNOPQRSTUVW"
ORDER = Order(
    symbol="EURUSD", side="buy", volume=Decimal("0.1"), comment=COMMENT, magic=77, deviation=15
)
CLOSE = Close(ticket="501", comment=COMMENT, deviation=15)
AMBIGUOUS = [code for code, one in RETCODES.items() if one.verdict == "ambiguous"]
REFUSED = [
    code
    for code, one in RETCODES.items()
    if one.verdict in {"refused", "wait", "requote"} and code != 10030
]
DISCONNECTED = (-10004, "No IPC connection")


@pytest.fixture
def package() -> FakePackage:
    package = FakePackage()
    package.positions.append(PositionInfo(501, volume=0.3))
    return package


@pytest.fixture
def terminal(package: FakePackage) -> MT5Terminal:
    return connected(package)


def connected(package: FakePackage, settings: MT5Settings | None = None) -> MT5Terminal:
    terminal = MT5Terminal(settings or MT5Settings(), package, now=lambda: NOW, pause=float)
    terminal.connect()
    return terminal


def test_the_request_of_an_order_is_exactly_this(
    package: FakePackage, terminal: MT5Terminal
) -> None:
    order = Order(
        symbol="EURUSD",
        side="buy",
        volume=Decimal("0.10"),
        sl=Decimal("1.0800049"),
        tp=Decimal("1.1"),
        magic=77,
        comment=COMMENT,
        deviation=15,
    )
    terminal.send(order)
    assert package.requests == package.checked
    assert package.requests == [
        {
            "action": 1,
            "symbol": "EURUSD",
            "volume": 0.1,
            "type": 0,
            "price": 1.08512,
            "sl": 1.08,
            "tp": 1.1,
            "deviation": 15,
            "magic": 77,
            "comment": COMMENT,
            "type_time": 0,
            "type_filling": 0,
        }
    ]
    assert [type(package.requests[0][name]) for name in ("volume", "price", "sl", "tp")] == (
        [float] * 4
    )


def test_a_sell_is_at_the_bid_and_has_no_stops(package: FakePackage, terminal: MT5Terminal) -> None:
    terminal.send(Order(symbol="EURUSD", side="sell", volume=Decimal("0.1")))
    [request] = package.requests
    assert (request["type"], request["price"], request["sl"], request["tp"]) == (1, 1.085, 0, 0)


@pytest.mark.parametrize("held, kind, price", [(0, 1, 1.085), (1, 0, 1.08512)])
def test_the_request_of_a_close_names_the_position_and_takes_the_other_price(
    package: FakePackage, terminal: MT5Terminal, held: int, kind: int, price: float
) -> None:
    package.positions[0] = PositionInfo(501, type=held, volume=0.3, magic=78)
    fill = terminal.close_position(CLOSE)
    assert package.requests == [
        {
            "action": 1,
            "symbol": "EURUSD",
            "volume": 0.3,
            "type": kind,
            "price": price,
            "deviation": 15,
            "magic": 78,
            "comment": COMMENT,
            "type_time": 0,
            "type_filling": 0,
            "position": 501,
        }
    ]
    assert (fill.position_id, fill.pnl) == ("501", Decimal("12.3"))


def test_a_part_of_a_position_can_be_closed(package: FakePackage, terminal: MT5Terminal) -> None:
    fill = terminal.close_position(Close(ticket="501", volume=Decimal("0.1")))
    assert package.requests[0]["volume"] == 0.1
    assert fill.volume == Decimal("0.1")


def test_a_fill_says_what_its_deal_says(package: FakePackage, terminal: MT5Terminal) -> None:
    assert terminal.send(ORDER) == Fill(
        order_id="9001",
        deal_id="7001",
        position_id="9001",
        symbol="EURUSD",
        side="buy",
        volume=Decimal("0.1"),
        price=Decimal("1.08512"),
        pnl=Decimal(0),
        commission=Decimal("-0.4"),
        swap=Decimal(0),
        retcode=DONE,
        retcode_name="DONE",
    )


def test_a_partial_fill_reports_the_real_volume(
    package: FakePackage, terminal: MT5Terminal
) -> None:
    package.deals.append(DealInfo(7001, 9001, 9001, volume=0.04))
    package.answers.append(SendResult(PARTIAL, 7001, 9001, 0.04, 1.08512))
    fill = terminal.send(ORDER)
    assert (fill.volume, fill.retcode_name) == (Decimal("0.04"), "DONE_PARTIAL")


def test_a_fill_of_several_deals_counts_each_amount_once(
    package: FakePackage, terminal: MT5Terminal
) -> None:
    package.deals.append(DealInfo(7001, 9001, 9001, volume=0.04, price=1.085, commission=-0.1))
    package.deals.append(DealInfo(7002, 9001, 9001, volume=0.06, price=1.086, commission=-0.2))
    package.answers.append(SendResult(DONE, 7002, 9001, 0.1, 1.0856))
    fill = terminal.send(ORDER)
    assert (fill.volume, fill.price) == (Decimal("0.10"), Decimal("1.0856"))
    assert (fill.deal_id, fill.commission) == ("7002", Decimal("-0.25"))


def test_the_deals_of_a_fill_are_waited_for(package: FakePackage) -> None:
    waits: list[float] = []

    def pause(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            package.broken.pop("history_deals_get")

    terminal = MT5Terminal(MT5Settings(), package, now=lambda: NOW, pause=pause)
    terminal.connect()
    package.broken["history_deals_get"] = None
    assert terminal.send(ORDER).deal_id == "7001"
    assert len(waits) == 3


def test_all_deals_of_a_fill_are_waited_for(package: FakePackage) -> None:
    later = DealInfo(7002, 9001, 9001, volume=0.06)
    package.deals.append(DealInfo(7001, 9001, 9001, volume=0.04))
    package.answers.append(SendResult(DONE, 7001, 9001, 0.1, 1.08512))

    def pause(seconds: float) -> None:
        if seconds:
            package.deals = [package.deals[0], later]

    terminal = MT5Terminal(MT5Settings(), package, now=lambda: NOW, pause=pause)
    terminal.connect()
    assert terminal.send(ORDER).volume == Decimal("0.10")


# -- how often order_send is called ----------------------------------------------------------------


@pytest.mark.parametrize("retcode", REFUSED)
@pytest.mark.parametrize("order", [ORDER, CLOSE], ids=["open", "close"])
def test_a_definitive_no_is_rejected_after_one_call(
    package: FakePackage, terminal: MT5Terminal, order: Order | Close, retcode: int
) -> None:
    package.answers.append(SendResult(retcode, comment="words of the broker"))
    with pytest.raises(Rejected, match="words of the broker") as refused:
        do(terminal, order)
    assert len(package.requests) == 1
    assert refused.value.retcode == retcode
    assert refused.value.requote == (retcode in {10004, 10020, 10021})


@pytest.mark.parametrize("order", [ORDER, CLOSE], ids=["open", "close"])
def test_the_last_look_comes_after_the_terminals_own_and_before_each_order_send(
    package: FakePackage, terminal: MT5Terminal, order: Order | Close
) -> None:
    looks: list[int] = []

    def look() -> None:
        looks.append(len(package.requests))
        if len(looks) == 2:
            raise NotSent("expired", "too late")

    package.answers.append(SendResult(10030))
    with pytest.raises(NotSent, match="too late") as refused:
        do(terminal, replace(order, last_look=look))
    assert refused.value.code == "expired"
    assert looks == [0, 1]
    assert len(package.requests) == 1


@pytest.mark.parametrize("retcode", [*AMBIGUOUS, 0, 10099])
@pytest.mark.parametrize("order", [ORDER, CLOSE], ids=["open", "close"])
def test_an_ambiguous_answer_is_unknown_after_one_call(
    package: FakePackage, terminal: MT5Terminal, order: Order | Close, retcode: int
) -> None:
    package.answers.append(SendResult(retcode))
    with pytest.raises(Unknown) as unknown:
        do(terminal, order)
    assert unknown.value.retcode == retcode
    assert len(package.requests) == 1


def test_every_retcode_is_in_one_of_the_tables() -> None:
    assert {*AMBIGUOUS, *REFUSED, DONE, PARTIAL, 10030} == RETCODES.keys()
    assert {10008, 10011, 10012, 10031} <= set(AMBIGUOUS)


@pytest.mark.parametrize("number", [-1, -2, -8, -10004, -10005, 1])
def test_no_answer_of_order_send_is_unknown_whatever_last_error_says(
    package: FakePackage, terminal: MT5Terminal, number: int
) -> None:
    package.broken["order_send"] = None
    package.error = (number, "what it was")
    with pytest.raises(Unknown, match=str(number)):
        terminal.send(ORDER)
    assert len(package.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [SystemError("returned a result with an exception set"), OSError("pipe"), object(), 10009],
    ids=["SystemError", "OSError", "no fields", "number"],
)
def test_a_surprise_in_order_send_is_unknown(
    package: FakePackage, terminal: MT5Terminal, answer: object
) -> None:
    package.broken["order_send"] = answer
    with pytest.raises(Unknown):
        terminal.send(ORDER)
    assert len(package.requests) == 1


@pytest.mark.parametrize("how", [None, SystemError("gone"), ()], ids=["None", "error", "empty"])
def test_a_fill_whose_deals_cannot_be_seen_is_unknown(
    package: FakePackage, terminal: MT5Terminal, how: object
) -> None:
    package.broken["history_deals_get"] = how
    with pytest.raises(Unknown) as unknown:
        terminal.send(ORDER)
    assert unknown.value.retcode == DONE
    assert len(package.requests) == 1


BEFORE = [
    "terminal_info",
    "account_info",
    "symbol_info",
    "symbol_info_tick",
    "order_check",
]


@pytest.mark.parametrize("how", [None, RuntimeError("boom")], ids=["None", "exception"])
@pytest.mark.parametrize(
    "order, name",
    [*((ORDER, name) for name in BEFORE), *((CLOSE, name) for name in [*BEFORE, "positions_get"])],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_fails_before_is_not_sent(
    package: FakePackage, terminal: MT5Terminal, order: Order | Close, name: str, how: object
) -> None:
    package.broken[name] = how
    package.error = DISCONNECTED
    with pytest.raises(NotSent) as error:
        do(terminal, order)
    assert error.value.code == ("disconnected" if how is None else "not_sent")
    assert package.requests == []
    assert name in package.calls


@pytest.mark.parametrize(
    "change, code",
    [
        ({"terminal": TerminalInfo(connected=False)}, "disconnected"),
        ({"terminal": TerminalInfo(trade_allowed=False)}, "trade_disabled"),
        ({"terminal": TerminalInfo(tradeapi_disabled=True)}, "trade_disabled"),
        ({"account": AccountInfo(trade_allowed=False)}, "trade_disabled"),
        ({"account": AccountInfo(trade_expert=False)}, "trade_disabled"),
        ({"account": AccountInfo(login=6)}, "not_sent"),
        ({"symbols": {}}, "unknown_symbol"),
        ({"symbols": {"EURUSD": SymbolInfo(trade_mode=0)}}, "trade_disabled"),
        ({"ticks": {"EURUSD": TickInfo(bid=0.0, ask=0.0)}}, "market_closed"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("order", [ORDER, CLOSE], ids=["open", "close"])
def test_what_forbids_trading_is_seen_before(
    package: FakePackage, terminal: MT5Terminal, change: dict[str, Any], code: str, order: Order
) -> None:
    for name, value in change.items():
        setattr(package, name, value)
    with pytest.raises(NotSent) as error:
        do(terminal, order)
    assert error.value.code == code
    assert package.requests == []


@pytest.mark.parametrize(
    "mode, side, allowed",
    [(1, "buy", 1), (1, "sell", 0), (2, "buy", 0), (2, "sell", 1), (3, "buy", 0)],
)
def test_a_symbol_may_be_for_one_side_or_for_closing(
    package: FakePackage, terminal: MT5Terminal, mode: int, side: Any, allowed: int
) -> None:
    package.symbols["EURUSD"] = SymbolInfo(trade_mode=mode)
    order = Order(symbol="EURUSD", side=side, volume=Decimal("0.1"))
    if allowed:
        assert terminal.send(order).side == side
    else:
        with pytest.raises(NotSent, match="only"):
            terminal.send(order)
    assert len(package.requests) == allowed
    assert terminal.close_position(CLOSE).position_id == "501"


@pytest.mark.parametrize("volume", ["0.015", "0.001", "50.01", "0", "-0.1"])
def test_a_volume_is_refused_never_rounded(
    package: FakePackage, terminal: MT5Terminal, volume: str
) -> None:
    orders = (
        Order(symbol="EURUSD", side="buy", volume=Decimal(volume)),
        Close(ticket="501", volume=Decimal(volume)),
    )
    for order in orders:
        with pytest.raises(NotSent) as error:
            do(terminal, order)
        assert error.value.code == "volume_out_of_range"
    assert package.requests == []


def test_not_more_than_the_position_is_closed(package: FakePackage, terminal: MT5Terminal) -> None:
    with pytest.raises(NotSent, match=r"has 0\.3") as error:
        terminal.close_position(Close(ticket="501", volume=Decimal("0.31")))
    assert error.value.code == "volume_out_of_range"
    assert package.requests == []


@pytest.mark.parametrize("ticket", ["502", "", "-501", "x", "\u0665"])
def test_a_position_that_is_not_there(
    package: FakePackage, terminal: MT5Terminal, ticket: str
) -> None:
    with pytest.raises(NotSent) as error:
        terminal.close_position(Close(ticket=ticket))
    assert error.value.code == "position_not_found"
    assert package.requests == []


@pytest.mark.parametrize("comment", ["x" * 32, "é"])
def test_a_comment_that_would_not_arrive_is_refused(
    package: FakePackage, terminal: MT5Terminal, comment: str
) -> None:
    with pytest.raises(NotSent, match="comment"):
        terminal.send(Order(symbol="EURUSD", side="buy", volume=Decimal(1), comment=comment))
    assert package.requests == []


# -- order_check and fillings ----------------------------------------------------------------------


@pytest.mark.parametrize("retcode", REFUSED)
def test_a_no_of_the_check_costs_no_order(
    package: FakePackage, terminal: MT5Terminal, retcode: int
) -> None:
    package.checks.append(CheckResult(retcode, "no"))
    with pytest.raises(Rejected) as refused:
        terminal.send(ORDER)
    assert refused.value.retcode == retcode
    assert package.requests == []


@pytest.mark.parametrize("retcode", [*AMBIGUOUS, 10099])
def test_an_unclear_check_is_not_sent(
    package: FakePackage, terminal: MT5Terminal, retcode: int
) -> None:
    package.checks.append(CheckResult(retcode, "hm"))
    with pytest.raises(NotSent):
        terminal.send(ORDER)
    assert package.requests == []


@pytest.mark.parametrize(
    "mask, execution, expected",
    [(1, 2, [0]), (2, 2, [1]), (3, 2, [0, 1]), (0, 2, [2]), (2, 3, [1, 2]), (3, 1, [0, 1, 2])],
)
def test_the_fillings_that_the_symbol_allows_are_tried_each_once(
    package: FakePackage, terminal: MT5Terminal, mask: int, execution: int, expected: list[int]
) -> None:
    package.symbols["EURUSD"] = SymbolInfo(filling_mode=mask, trade_exemode=execution)
    package.answers.extend(SendResult(10030, comment="Unsupported filling mode") for _ in expected)
    with pytest.raises(Rejected) as refused:
        terminal.send(ORDER)
    assert refused.value.code == "unsupported_filling"
    assert [request["type_filling"] for request in package.requests] == expected


def test_after_another_filling_there_is_one_fill(
    package: FakePackage, terminal: MT5Terminal
) -> None:
    package.answers.append(SendResult(10030))
    assert terminal.send(ORDER).deal_id == "7002"
    assert [request["type_filling"] for request in package.requests] == [0, 1]


def test_a_filling_that_the_check_refuses_is_not_sent(
    package: FakePackage, terminal: MT5Terminal
) -> None:
    package.checks.append(CheckResult(10030))
    terminal.send(ORDER)
    assert [request["type_filling"] for request in package.requests] == [1]


@pytest.mark.parametrize("second", [10012, 10031, 10006, None])
def test_nothing_follows_the_second_fillings_answer(
    package: FakePackage, terminal: MT5Terminal, second: int | None
) -> None:
    package.answers.extend([SendResult(10030), second and SendResult(second)])
    with pytest.raises(Rejected if second == 10006 else Unknown):
        terminal.send(ORDER)
    assert len(package.requests) == 2


# -- finding an order again ------------------------------------------------------------------------

LOST = SendResult(10012, comment="timeout")


def lose(package: FakePackage, terminal: MT5Terminal, answer: SendResult = LOST) -> None:
    package.answers.append(answer)
    with pytest.raises(Unknown):
        terminal.send(ORDER)


def found(terminal: MT5Terminal, since: datetime = NOW) -> tuple[list[str], bool, bool]:
    trace = terminal.find(COMMENT, since)
    return [deal.deal_id for deal in trace.deals], trace.open, trace.sure


@pytest.mark.parametrize("comment", [COMMENT, COMMENT[:25], COMMENT[:16]])
def test_an_order_is_found_by_its_comment_though_it_was_cut_off(
    package: FakePackage, terminal: MT5Terminal, comment: str
) -> None:
    package.deals.append(DealInfo(1, 2, 3, comment=comment))
    assert found(terminal) == (["1"], False, True)


@pytest.mark.parametrize("comment", [COMMENT[:15], "", "B" + COMMENT[1:], COMMENT + "X"])
def test_another_comment_is_another_order(
    package: FakePackage, terminal: MT5Terminal, comment: str
) -> None:
    package.deals.append(DealInfo(1, 2, 3, comment=comment, magic=77))
    assert found(terminal) == ([], False, True)


def test_a_deal_is_found_by_the_comment_of_its_order(
    package: FakePackage, terminal: MT5Terminal
) -> None:
    package.deals.append(DealInfo(1, 2, 3, comment="[rewritten]"))
    package.old_orders.append(OrderInfo(2, COMMENT))
    assert found(terminal) == (["1"], False, True)


def test_a_deal_is_found_by_the_order_number_of_a_lost_answer(
    package: FakePackage, terminal: MT5Terminal
) -> None:
    lose(package, terminal, SendResult(10008, order=2))
    package.deals.append(DealInfo(1, 2, 3, comment="[rewritten]", volume=9.0))
    assert found(terminal) == (["1"], False, True)


def test_a_deal_that_fits_in_everything_else_is_likely_but_not_sure(
    package: FakePackage, terminal: MT5Terminal
) -> None:
    lose(package, terminal)
    package.deals.append(DealInfo(1, 2, 3, comment="broker", magic=77))
    assert found(terminal) == (["1"], False, False)


@pytest.mark.parametrize(
    "changes",
    [
        {"symbol": "GBPUSD"},
        {"type": 1},
        {"volume": 0.2},
        {"magic": 78},
        {"time_msc": DealInfo(0, 0, 0).time_msc + 121_000},
        {"time_msc": DealInfo(0, 0, 0).time_msc - 6_000},
        {"comment": "B" * 26},
    ],
    ids=repr,
)
def test_a_deal_that_differs_is_not_taken(
    package: FakePackage, terminal: MT5Terminal, changes: dict[str, Any]
) -> None:
    lose(package, terminal)
    package.deals.append(DealInfo(1, 2, 3, magic=77)._replace(**changes))
    assert found(terminal) == ([], False, True)


def test_of_two_that_fit_none_is_taken(package: FakePackage, terminal: MT5Terminal) -> None:
    lose(package, terminal)
    package.deals.extend([DealInfo(1, 2, 3, magic=77), DealInfo(4, 5, 6, magic=77)])
    assert found(terminal) == ([], False, True)


def test_without_a_magic_nothing_is_guessed(package: FakePackage, terminal: MT5Terminal) -> None:
    package.answers.append(LOST)
    with pytest.raises(Unknown):
        terminal.send(Order(symbol="EURUSD", side="buy", volume=Decimal("0.1"), comment=COMMENT))
    package.deals.append(DealInfo(1, 2, 3, magic=0))
    assert found(terminal) == ([], False, True)


def test_after_a_refusal_nothing_is_guessed(package: FakePackage, terminal: MT5Terminal) -> None:
    package.answers.append(SendResult(10006))
    with pytest.raises(Rejected):
        terminal.send(ORDER)
    package.deals.append(DealInfo(1, 2, 3, magic=77))
    assert found(terminal) == ([], False, True)


@pytest.mark.parametrize("where", ["orders", "positions"])
def test_an_order_that_is_still_open_has_a_trace(
    package: FakePackage, terminal: MT5Terminal, where: str
) -> None:
    row = OrderInfo(2, COMMENT) if where == "orders" else PositionInfo(2, comment=COMMENT)
    getattr(package, where).append(row)
    assert found(terminal) == ([], True, True)


@pytest.mark.parametrize(
    "name", ["history_orders_get", "history_deals_get", "orders_get", "positions_get"]
)
def test_a_look_that_failed_is_never_no_trace(
    package: FakePackage, terminal: MT5Terminal, name: str
) -> None:
    package.broken[name] = None
    with pytest.raises(NotSent):
        found(terminal)


def test_a_terminal_without_its_broker_knows_no_traces(
    package: FakePackage, terminal: MT5Terminal
) -> None:
    package.terminal = TerminalInfo(connected=False)
    with pytest.raises(NotSent, match="no connection"):
        found(terminal)


def test_the_history_is_asked_for_in_the_brokers_time_with_a_day_to_spare(
    package: FakePackage, terminal: MT5Terminal
) -> None:
    found(terminal)
    day = 86400
    for start, end in package.spans:
        assert start <= NOW.timestamp() - day
        assert end >= NOW.timestamp() + day


def do(terminal: MT5Terminal, order: Order | Close) -> Fill:
    if isinstance(order, Order):
        return terminal.send(order)
    return terminal.close_position(order)
