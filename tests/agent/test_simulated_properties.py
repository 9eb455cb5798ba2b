"""Whatever is traded and however time passes, the book adds up."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from forex_agent.simulated import BookState, ManualClock, RandomWalk, Spec, Terms, read_book
from forex_agent.simulated.clock import from_ms
from forex_agent.simulated.money import cents
from forex_agent.terminal import Close, Deal, Order, Rejected, Side
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.agent.simulated import LONG_AGO, MONDAY, bought, opened, played

MARKET = RandomWalk(5, ["EURUSD", "USDJPY", "XAUUSD"])
SYMBOLS = st.sampled_from(sorted(MARKET.specs))
SIDES = st.sampled_from(["buy", "sell"])
LOTS = st.integers(1, 60).map(lambda hundredths: Decimal(hundredths) / 100)
DISTANCES = st.none() | st.integers(20, 400)


class Account(RuleBasedStateMachine):
    """A trader who does anything, and an auditor who adds up after each step."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self._path = Path(self._folder.name) / "book.db"
        self._clock = ManualClock(datetime(2026, 3, 4, 20, tzinfo=UTC))
        self._open()
        self._sent = 0
        self._margins: dict[str, Decimal] = {}

    def _open(self) -> None:
        terms = Terms(slippage=5)
        self._terminal = opened(
            self._path, MARKET, self._clock, terms, deposit=Decimal(5000), leverage=200
        )

    def teardown(self) -> None:
        self._terminal.close()
        self._folder.cleanup()

    @rule(symbol=SYMBOLS, side=SIDES, volume=LOTS, sl=DISTANCES, tp=DISTANCES)
    def send(
        self, symbol: str, side: Side, volume: Decimal, sl: int | None, tp: int | None
    ) -> None:
        self._sent += 1
        order = self._order(symbol, side, volume, sl, tp)
        before = self._terminal.account()
        try:
            fill = self._terminal.send(order)
        except Rejected as refusal:
            assert refusal.code in {"no_money", "invalid_stops"}  # noqa: PT017  either is right
            assert self._terminal.account() == before
            return
        spec = MARKET.specs[symbol]
        self._margins[fill.position_id] = (
            spec.contract_size * fill.price * self._dollars(spec) / 200
        )

    def _order(
        self, symbol: str, side: Side, volume: Decimal, sl: int | None, tp: int | None
    ) -> Order:
        spec, tick = MARKET.specs[symbol], self._terminal.ticks([symbol])[symbol]
        price, sign = (tick.bid, 1) if side == "buy" else (tick.ask, -1)
        return Order(
            symbol=symbol,
            side=side,
            volume=volume,
            sl=None if sl is None else price - sign * sl * spec.point,
            tp=None if tp is None else price + sign * tp * spec.point,
            comment=f"order {self._sent}",
        )

    def _dollars(self, spec: Spec) -> Decimal:
        """Return what a unit of the currency a symbol is paid in is worth."""
        if spec.quote == "USD":
            return Decimal(1)
        return 1 / self._terminal.ticks(["USDJPY"])["USDJPY"].bid

    @precondition(lambda self: self._terminal.positions())
    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        position = data.draw(st.sampled_from(self._terminal.positions()))
        steps = int(position.volume * 100)
        volume = data.draw(st.none() | st.integers(1, steps).map(lambda n: Decimal(n) / 100))
        closed = self._terminal.close_position(Close(ticket=position.ticket, volume=volume))
        assert closed.volume == (position.volume if volume is None else volume)
        left = {one.ticket: one.volume for one in self._terminal.positions()}
        assert left.get(position.ticket, Decimal(0)) == position.volume - closed.volume

    @rule(seconds=st.sampled_from([0.1, 1, 30, 600, 7200, 90_000]))
    def wait(self, seconds: float) -> None:
        self._clock.advance(seconds)

    @rule()
    def die_and_come_back(self) -> None:
        before = self._terminal.account(), self._terminal.positions()
        self._terminal.close()
        self._open()
        assert (self._terminal.account(), self._terminal.positions()) == before

    @invariant()
    def adds_up(self) -> None:
        account, positions = self._terminal.account(), self._terminal.positions()
        state = read_book(self._path)
        assert account.balance == state.balance == state.initial + _money(state)
        floating = sum((one.profit + one.swap for one in positions), Decimal(0))
        assert account.equity == account.balance + floating
        margins = (cents(one.volume * self._margins[one.ticket], "USD") for one in positions)
        assert account.margin_used == sum(margins, Decimal(0)) >= 0
        assert account.margin_available == account.equity - account.margin_used
        _volumes_match(state)
        _stops_are_kept(state)
        _every_deal_has_its_order(self._path, state)
        for one in positions:
            sign = 1 if one.side == "buy" else -1
            assert one.sl is None or (one.current_price - one.sl) * sign > 0
            assert one.tp is None or (one.tp - one.current_price) * sign > 0
        if account.margin_used:
            assert account.equity / account.margin_used > Decimal("0.5")


def _money(state: BookState) -> Decimal:
    return sum((deal.profit + deal.commission + deal.swap for deal in state.deals), Decimal(0))


def _volumes_match(state: BookState) -> None:
    """A position is what went in less what went out, and what is closed is gone."""
    left: dict[str, Decimal] = {}
    for deal in state.deals:
        sign = 1 if deal.entry == "in" else -1
        left[deal.position_id] = left.get(deal.position_id, Decimal(0)) + sign * deal.volume
    held = {str(one.ticket): one.volume for one in state.positions}
    assert {ticket: volume for ticket, volume in left.items() if volume} == held


def _stops_are_kept(state: BookState) -> None:
    """An SL is never filled at a better price than its level, a TP never at a worse one."""
    for deal in state.deals:
        if deal.reason in {"sl", "tp"}:
            level = Decimal(deal.comment.split()[1].rstrip("]"))
            gain = (deal.price - level) * (1 if deal.side == "sell" else -1)
            assert gain <= 0 if deal.reason == "sl" else gain >= 0
            assert _opening_of(state, deal).time <= deal.time


def _opening_of(state: BookState, deal: Deal) -> Deal:
    return next(one for one in state.deals if one.position_id == deal.position_id)


def _every_deal_has_its_order(path: Path, state: BookState) -> None:
    with closing(sqlite3.connect(path)) as db:
        orders = {
            str(order_id): (symbol, side, Decimal(filled))
            for order_id, symbol, side, filled in db.execute(
                "select order_id, symbol, side, filled from orders"
            )
        }
    deals = {deal.order_id: (deal.symbol, deal.side, deal.volume) for deal in state.deals}
    assert deals == orders
    assert len(deals) == len(state.deals)


TestAccount = Account.TestCase
TestAccount.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@given(parts=st.lists(st.integers(1, 40), min_size=1, max_size=8), move=st.integers(-3000, 3000))
@settings(max_examples=40, deadline=None)
def test_partial_closes_net_to_what_one_close_makes(parts: list[int], move: int) -> None:
    """At the same prices, within half a cent for each of the deals, which are rounded alone."""
    with tempfile.TemporaryDirectory() as name:
        bids = ["1.10000", str(Decimal("1.1") + Decimal(move) / 100_000)]
        clock = ManualClock(MONDAY)
        terminal = opened(
            Path(name) / "book.db",
            played(Path(name) / "data", bids),
            clock,
            deposit=Decimal(10_000_000),
        )
        total = Decimal(sum(parts)) / 100
        whole, pieces = bought(terminal, str(total)), bought(terminal, str(total))
        clock.advance(1)
        at_once = terminal.close_position(Close(ticket=whole.position_id)).pnl
        made = Decimal(0)
        for part in parts:
            volume = Decimal(part) / 100
            made += terminal.close_position(Close(ticket=pieces.position_id, volume=volume)).pnl
        assert terminal.positions() == []
        assert abs(made - at_once) <= Decimal("0.005") * (len(parts) + 1)
        assert len(terminal.deals(LONG_AGO)) == 3 + len(parts)
        terminal.close()


@given(steps=st.lists(st.sampled_from([0.5, 7, 3600, 40_000]), min_size=1, max_size=12))
@settings(max_examples=25, deadline=None)
def test_looking_often_or_seldom_makes_no_difference(steps: list[float]) -> None:
    """Stops and swaps come from the time that passed, not from who looked when."""
    with tempfile.TemporaryDirectory() as name:
        outcomes = []
        for file, often in (("a.db", True), ("b.db", False)):
            clock = ManualClock(MONDAY)
            terminal = opened(Path(name) / file, MARKET, clock)
            tick = terminal.ticks(["EURUSD"])["EURUSD"]
            near, far = str(tick.bid - Decimal("0.0005")), str(tick.bid + Decimal("0.0040"))
            bought(terminal, "0.1", sl=near, tp=far)
            for seconds in steps:
                clock.advance(seconds)
                if often:
                    terminal.account()
            outcomes.append((terminal.account(), terminal.deals(from_ms(0))))
            terminal.close()
        assert outcomes[0] == outcomes[1]
