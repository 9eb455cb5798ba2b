"""What the passing of time does to an account: stops, nights, late fills, the stop-out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from functools import partial
from typing import NamedTuple

from forex_agent.simulated.book import Book, Held, NewOrder
from forex_agent.simulated.broker import Broker, Exit, Terms
from forex_agent.simulated.clock import from_ms
from forex_agent.simulated.market import Extremes, Market, first_hit
from forex_agent.simulated.money import Exchange, cents
from forex_agent.terminal import Close, Fill, Order, Reason, Rejected

_DAY = 86_400_000
_WEDNESDAY, _SATURDAY = 2, 5
_PERCENT = 100


class _Event(NamedTuple):
    """Something that happened; ticks before `resume` have had their effect after it."""

    at: int
    rank: int
    resume: int
    act: Callable[[], object]


class Passage:
    """Brings an account up to the present, inside a transaction that the caller holds."""

    def __init__(self, book: Book, market: Market, terms: Terms, broker: Broker) -> None:
        self._book = book
        self._market = market
        self._terms = terms
        self._broker = broker
        self._currency, _ = book.terms()
        self._exchange = Exchange(market, self._currency)

    def until(self, now: int) -> None:
        """Do what has happened since the last time, in its order, up to and with `now`.

        A stop is filled at the first tick that reaches it, so an SL never at a better price than
        its level and a TP never at a worse one. The margin level is looked at as it is now.
        """
        held = self._book.held()
        while (event := self._first(held, now)) is not None:
            event.act()
            self._book.checked(event.resume)
            held = self._book.held()
        if held:
            self._book.checked(now + 1)
            if self._market.is_open(now):
                self._stop_out(held, now)

    def _first(self, held: Sequence[Held], now: int) -> _Event | None:
        events = [*self._due(now), *self._nights(held, now), *self._stops(held, now)]
        return min(events, key=lambda event: (event.at, event.rank), default=None)

    def _due(self, now: int) -> Iterator[_Event]:
        for order_id, order in self._book.due_orders(now)[:1]:
            at = order.due or now
            yield _Event(at, 1, at, partial(self._fill_late, order_id, order, at))

    def _fill_late(self, order_id: int, order: NewOrder, at: int) -> None:
        """Fill a placed order, or note that it was refused after all."""
        try:
            fill = self._fill(order_id, order, at)
        except Rejected:
            self._book.decide(order_id, Decimal(0))
        else:
            self._book.decide(order_id, fill.volume)

    def _fill(self, order_id: int, order: NewOrder, at: int) -> Fill:
        if order.position_id is not None:
            close = Close(ticket=str(order.position_id), volume=order.volume, comment=order.comment)
            return self._broker.close(close, at, placed=order_id)
        wanted = Order(
            symbol=order.symbol,
            side=order.side,
            volume=order.volume,
            sl=order.sl,
            tp=order.tp,
            magic=order.magic,
            comment=order.comment,
        )
        return self._broker.open(wanted, at, placed=order_id)

    def _nights(self, held: Sequence[Held], now: int) -> Iterator[_Event]:
        """Yield the first midnight; its own ticks' stops come before it."""
        if not held:
            return
        midnight = -(-held[0].checked // _DAY) * _DAY
        if midnight <= now:
            act = partial(self._roll_over, held, midnight)
            yield _Event(midnight, 2, midnight + 1, act)

    def _roll_over(self, held: Sequence[Held], midnight: int) -> None:
        """Book the swap of the night; Wednesday's counts for the weekend's, which are free."""
        weekday = from_ms(midnight - 1).weekday()
        nights = 3 if weekday == _WEDNESDAY else int(weekday < _SATURDAY)
        for one in held if nights else ():
            spec = self._market.specs[one.symbol]
            swap = self._exchange.swap(spec, one.side, one.volume, nights, midnight)
            self._book.set_swap(one.ticket, one.swap + cents(swap, self._currency))

    def _stops(self, held: Sequence[Held], now: int) -> Iterator[_Event]:
        for one in held:
            if one.sl is None and one.tp is None:
                continue
            quote = first_hit(self._market, one.symbol, one.checked, now + 1, _reaches(one))
            if quote is not None:
                leaving = self._stopped(
                    one, quote.bid if one.side == "buy" else quote.ask, quote.at
                )
                act = partial(self._broker.leave, one, leaving, leaving.volume)
                yield _Event(quote.at, 0, quote.at, act)

    def _stopped(self, held: Held, price: int, at: int) -> Exit:
        spec = self._market.specs[held.symbol]
        low, high = (held.sl, held.tp) if held.side == "buy" else (held.tp, held.sl)
        level = low if low is not None and price <= low else high
        reason: Reason = "sl" if level == held.sl else "tp"
        comment = f"[{reason} {spec.decimal(level or 0)}]"
        return Exit(volume=held.volume, price=price, at=at, comment=comment, reason=reason)

    def _stop_out(self, held: Sequence[Held], now: int) -> None:
        """Close the position with the largest loss, again until the margin level suffices."""
        while True:
            account = self._broker.account(now, held)
            if not account.margin_used:
                return
            level = account.equity / account.margin_used * _PERCENT
            if level > self._terms.stop_out:
                return
            self._close_worst(held, now, f"[so {level:.2f}%]")
            held = self._book.held()

    def _close_worst(self, held: Sequence[Held], now: int, comment: str) -> None:
        worst = min(held, key=lambda one: self._broker.floating(one, now) + one.swap)
        price = self._broker.exit_price(worst, now)
        leaving = Exit(volume=worst.volume, price=price, at=now, comment=comment, reason="stop_out")
        self._broker.leave(worst, leaving, worst.volume)


def _reaches(held: Held) -> Callable[[Extremes], bool]:
    """Return whether a stretch of ticks reaches one of a position's stops."""
    buy = held.side == "buy"
    low, high = (held.sl, held.tp) if buy else (held.tp, held.sl)

    def reached(ticks: Extremes) -> bool:
        lowest = ticks.bid_low if buy else ticks.ask_low
        highest = ticks.bid_high if buy else ticks.ask_high
        return (low is not None and lowest <= low) or (high is not None and highest >= high)

    return reached
