"""The broker's side: fills, stops, margin, swaps, by the book and the market.

Every method runs inside a transaction of the book that the caller holds, so what it does happens
wholly or not at all. Refusals are the numbers of `retcodes`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from forex_agent import retcodes
from forex_agent.simulated.book import Book, Held, NewOrder
from forex_agent.simulated.clock import from_ms
from forex_agent.simulated.market import Market, Quote
from forex_agent.simulated.money import Exchange, NoRate, cents, direction
from forex_agent.simulated.symbols import Spec
from forex_agent.terminal import Account, Close, Deal, Fill, Order, Position, Reason, Side

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the broker asks for: commission per lot and deal, in the account's currency.

    `stop_out` is the margin level in percent at which positions are closed; `slippage` the most
    points that a market order is filled worse than its price.
    """

    commission: Decimal = Decimal("3.50")
    stop_out: Decimal = Decimal(50)
    slippage: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a position, or a part of it, ends: a price in points and why."""

    volume: Decimal
    price: int
    at: int
    comment: str
    reason: Reason


class Broker:
    """One account at one market."""

    def __init__(self, book: Book, market: Market, terms: Terms) -> None:
        """The book has its account already."""
        self._book = book
        self._market = market
        self._terms = terms
        self._currency, self._leverage = book.terms()
        self._exchange = Exchange(market, self._currency)

    def account(self, now: int, open_now: Sequence[Held] | None = None) -> Account:
        """Return the money: equity = balance + open profits and swaps; margin as bound at opening.

        Opposite positions bind margin each; there is no relief for hedges. `open_now` is for a
        caller that has just read the positions.
        """
        held = self._book.held() if open_now is None else open_now
        balance = self._book.balance()
        equity = balance + sum((self.floating(one, now) + one.swap for one in held), _ZERO)
        margin = sum((self._margin(one.volume, one.margin_per_lot) for one in held), _ZERO)
        return Account(
            balance=balance,
            equity=equity,
            margin_used=margin,
            margin_available=equity - margin,
            currency=self._currency,
            leverage=self._leverage,
        )

    def positions(self, now: int) -> Sequence[Position]:
        """Return the open positions at the prices of now."""
        return [self._position(held, now) for held in self._book.held()]

    def _position(self, held: Held, now: int) -> Position:
        spec = self._market.specs[held.symbol]
        return Position(
            ticket=str(held.ticket),
            symbol=held.symbol,
            side=held.side,
            volume=held.volume,
            open_price=spec.decimal(held.open_price),
            current_price=spec.decimal(self.exit_price(held, now)),
            sl=None if held.sl is None else spec.decimal(held.sl),
            tp=None if held.tp is None else spec.decimal(held.tp),
            profit=self.floating(held, now),
            swap=held.swap,
            open_time=from_ms(held.opened),
            magic=held.magic,
            comment=held.comment,
        )

    def exit_price(self, held: Held, now: int) -> int:
        """Return the price at which it would be closed; its own where the market has none."""
        quote = self._market.quote(held.symbol, now)
        if quote is None:
            return held.open_price
        return quote.bid if held.side == "buy" else quote.ask

    def floating(self, held: Held, now: int) -> Decimal:
        return self._profit(held, held.volume, self.exit_price(held, now), now)

    def _profit(self, held: Held, volume: Decimal, price: int, now: int) -> Decimal:
        spec = self._market.specs[held.symbol]
        moved = price - held.open_price
        return self._cents(self._exchange.profit(spec, held.side, volume, moved, now))

    def _margin(self, volume: Decimal, per_lot: Decimal) -> Decimal:
        return self._cents(volume * per_lot)

    def _cents(self, amount: Decimal) -> Decimal:
        return cents(amount, self._currency)

    def open(
        self,
        order: Order,
        now: int,
        *,
        fraction: Decimal | None = None,
        placed: int | None = None,
    ) -> Fill:
        """Fill a market order that opens, by `fraction` where not all of it finds a counterpart.

        `placed` is the id of one that is in the book already.
        """
        spec = self._market.specs[order.symbol]
        quote = self._tradable(spec, now)
        _check_volume(spec, order.volume)
        sl, tp = _points(spec, order.sl), _points(spec, order.tp)
        _check_stops(spec, quote, order.side, sl, tp)
        volume = _filled(spec, order.volume, fraction)
        price = self._price(order.side, quote, order.deviation, order.comment)
        per_lot = self._affordable(spec, volume, price, now)
        held = Held(
            ticket=placed or self._book.add_order(opening(order, now), volume),
            symbol=order.symbol,
            side=order.side,
            volume=volume,
            open_price=price,
            sl=sl,
            tp=tp,
            margin_per_lot=per_lot,
            swap=_ZERO,
            magic=order.magic,
            comment=order.comment,
            opened=now,
            checked=now + 1,
        )
        return self._opened(held, order.volume)

    def _opened(self, held: Held, asked: Decimal) -> Fill:
        spec = self._market.specs[held.symbol]
        self._book.add_position(held)
        deal = Deal(
            deal_id="",
            order_id=str(held.ticket),
            position_id=str(held.ticket),
            symbol=held.symbol,
            side=held.side,
            entry="in",
            volume=held.volume,
            price=spec.decimal(held.open_price),
            profit=_ZERO,
            commission=self._commission(held.volume),
            swap=_ZERO,
            magic=held.magic,
            comment=held.comment,
            reason="expert",
            time=from_ms(held.opened),
        )
        return _fill(deal, self._book.add_deal(deal, held.opened), asked)

    def held(self, ticket: str) -> Held:
        """Return an open position; `Rejected` where there is none."""
        held = self._book.position(ticket)
        if held is None:
            raise retcodes.failure(retcodes.POSITION_CLOSED, f"ticket: no open position {ticket!r}")
        return held

    def close(
        self,
        close: Close,
        now: int,
        *,
        fraction: Decimal | None = None,
        placed: int | None = None,
    ) -> Fill:
        """Fill a market order that closes a position, wholly where no volume is asked for."""
        held = self.held(close.ticket)
        spec = self._market.specs[held.symbol]
        quote = self._tradable(spec, now, closing=True)
        wanted = held.volume if close.volume is None else close.volume
        if wanted != held.volume:
            _check_close_volume(spec, held, wanted)
        volume = _filled(spec, wanted, fraction)
        price = self._price(_opposite(held.side), quote, close.deviation, close.comment)
        leaving = Exit(volume=volume, price=price, at=now, comment=close.comment, reason="expert")
        return self.leave(held, leaving, wanted, placed)

    def leave(self, held: Held, leaving: Exit, asked: Decimal, placed: int | None = None) -> Fill:
        """End a position or a part of it: order, deal, balance, what is left."""
        spec = self._market.specs[held.symbol]
        order_id = placed or self._book.add_order(_leaving(held, leaving, asked), leaving.volume)
        remaining = held.volume - leaving.volume
        swap = self._cents(held.swap * leaving.volume / held.volume)
        self._book.shrink(held.ticket, remaining, held.swap - swap)
        deal = Deal(
            deal_id="",
            order_id=str(order_id),
            position_id=str(held.ticket),
            symbol=held.symbol,
            side=_opposite(held.side),
            entry="out",
            volume=leaving.volume,
            price=spec.decimal(leaving.price),
            profit=self._profit(held, leaving.volume, leaving.price, leaving.at),
            commission=self._commission(leaving.volume),
            swap=swap,
            magic=held.magic,
            comment=leaving.comment,
            reason=leaving.reason,
            time=from_ms(leaving.at),
        )
        return _fill(deal, self._book.add_deal(deal, leaving.at), asked)

    def _commission(self, volume: Decimal) -> Decimal:
        return -self._cents(volume * self._terms.commission)

    def _tradable(self, spec: Spec, now: int, *, closing: bool = False) -> Quote:
        if not spec.trade_allowed and not closing:
            raise retcodes.failure(
                retcodes.TRADE_DISABLED, f"symbol: {spec.name} may not be traded"
            )
        if not self._market.is_open(now):
            raise retcodes.failure(retcodes.MARKET_CLOSED)
        if not spec.fillings:
            raise retcodes.failure(retcodes.INVALID_FILL)
        quote = self._market.quote(spec.name, now)
        if quote is None:
            raise retcodes.failure(retcodes.PRICE_OFF)
        return quote

    def _price(self, side: Side, quote: Quote, deviation: int, comment: str) -> int:
        """Return the price with what it slipped, which the comment and the tick decide."""
        digest = hashlib.blake2b(f"{quote.at}/{comment}".encode(), digest_size=4).digest()
        slip = int.from_bytes(digest) % (self._terms.slippage + 1)
        if slip > deviation:
            raise retcodes.failure(
                retcodes.REQUOTE, f"the price has moved by {slip} points, {deviation} are allowed"
            )
        return quote.ask + slip if side == "buy" else quote.bid - slip

    def _affordable(self, spec: Spec, volume: Decimal, price: int, now: int) -> Decimal:
        """Return what a lot binds, if the free margin has that much."""
        try:
            per_lot = self._exchange.margin_per_lot(spec, price, self._leverage, now)
        except NoRate as no_rate:
            raise retcodes.failure(retcodes.TRADE_DISABLED, f"symbol: {no_rate}") from no_rate
        needed = self._margin(volume, per_lot)
        free = self.account(now).margin_available
        if needed > free:
            raise retcodes.failure(
                retcodes.NO_MONEY, f"the order needs {needed} {self._currency}, {free} are free"
            )
        return per_lot


def _opposite(side: Side) -> Side:
    return "sell" if side == "buy" else "buy"


def opening(order: Order, now: int, due: int | None = None) -> NewOrder:
    """Return an order as the book keeps it; `due` where it is filled later."""
    return NewOrder(
        position_id=None,
        symbol=order.symbol,
        side=order.side,
        volume=order.volume,
        magic=order.magic,
        comment=order.comment,
        reason="expert",
        created=now,
        sl=order.sl,
        tp=order.tp,
        due=due,
    )


def closing(held: Held, close: Close, now: int, due: int) -> NewOrder:
    """Return an order that closes as the book keeps it, to be filled when it is due."""
    return NewOrder(
        position_id=held.ticket,
        symbol=held.symbol,
        side=_opposite(held.side),
        volume=held.volume if close.volume is None else close.volume,
        magic=held.magic,
        comment=close.comment,
        reason="expert",
        created=now,
        due=due,
    )


def _leaving(held: Held, leaving: Exit, asked: Decimal) -> NewOrder:
    return NewOrder(
        position_id=held.ticket,
        symbol=held.symbol,
        side=_opposite(held.side),
        volume=asked,
        magic=held.magic,
        comment=leaving.comment,
        reason=leaving.reason,
        created=leaving.at,
    )


def _points(spec: Spec, price: Decimal | None) -> int | None:
    """Return a price in points, rounded to the symbol's digits; none for none or zero."""
    if price is None or price == 0:
        return None
    if not price.is_finite() or price < 0:
        raise retcodes.failure(retcodes.INVALID_STOPS, "sl, tp: prices above 0")
    return round(price / spec.point)


def _check_volume(spec: Spec, volume: Decimal) -> None:
    if not (
        volume.is_finite()
        and spec.volume_min <= volume <= spec.volume_max
        and volume % spec.volume_step == 0
    ):
        raise retcodes.failure(
            retcodes.INVALID_VOLUME,
            f"volume: {spec.volume_min} to {spec.volume_max} in steps of {spec.volume_step}",
        )


def _check_close_volume(spec: Spec, held: Held, volume: Decimal) -> None:
    if not (volume.is_finite() and 0 < volume <= held.volume and volume % spec.volume_step == 0):
        raise retcodes.failure(
            retcodes.INVALID_CLOSE_VOLUME,
            f"volume: at most {held.volume} in steps of {spec.volume_step}",
        )


def _check_stops(spec: Spec, quote: Quote, side: Side, sl: int | None, tp: int | None) -> None:
    """SL and TP are on their sides of the price that closes, by the stops level at least."""
    closing = quote.bid if side == "buy" else quote.ask
    sign, least = direction(side), max(spec.stops_level, 1)
    for name, level, wanted in (("sl", sl, -sign), ("tp", tp, sign)):
        if level is not None and (level - closing) * wanted < least:
            raise retcodes.failure(
                retcodes.INVALID_STOPS,
                f"{name}: {'below' if wanted < 0 else 'above'} {spec.decimal(closing)}"
                f" by {least} points at least",
            )


def _filled(spec: Spec, volume: Decimal, fraction: Decimal | None) -> Decimal:
    """Return how much finds a counterpart: `fraction` of it in whole steps, or all."""
    if fraction is None or volume <= spec.volume_min:
        return volume
    if set(spec.fillings) == {"fok"}:
        raise retcodes.failure(retcodes.REJECT, "too little volume, and only all or nothing")
    part = volume * fraction // spec.volume_step * spec.volume_step
    return max(part, spec.volume_min)


def _fill(deal: Deal, deal_id: str, asked: Decimal) -> Fill:
    number = retcodes.DONE if deal.volume == asked else retcodes.DONE_PARTIAL
    return Fill(
        order_id=deal.order_id,
        deal_id=deal_id,
        position_id=deal.position_id,
        symbol=deal.symbol,
        side=deal.side,
        volume=deal.volume,
        price=deal.price,
        pnl=deal.profit,
        commission=deal.commission,
        swap=deal.swap,
        retcode=number,
        retcode_name=retcodes.retcode(number).name,
    )
