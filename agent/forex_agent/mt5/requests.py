"""The requests that go to `order_check` and `order_send`, and what must hold before they go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from forex_agent.mt5 import constants, numbers
from forex_agent.mt5.constants import ORDER_FILLING
from forex_agent.terminal import Close, NotSent, Order, Side, Symbol

COMMENT_MAX = 31  # characters; a longer one makes `order_send` fail


@dataclass(frozen=True, slots=True)
class Market:
    """A symbol as it is now: its rules, its row and its newest prices."""

    rules: Symbol
    row: Any
    bid: float
    ask: float


Request = dict[str, Any]


def opening(order: Order, market: Market) -> Request:
    """Return the request of a market order, all but its filling."""
    _may_open(order.side, market)
    return {
        "action": constants.TRADE_ACTION_DEAL,
        "symbol": order.symbol,
        "volume": numbers.volume(order.volume, market.rules),
        **_side(order.side, market),
        "sl": _stop(order.sl, market),
        "tp": _stop(order.tp, market),
        "deviation": order.deviation,
        "magic": order.magic,
        "comment": checked_comment(order.comment),
        "type_time": constants.ORDER_TIME_GTC,
    }


def closing(close: Close, position: Any, market: Market) -> Request:
    """Return the request that closes a position: the opposite side, at that side's price.

    The position's magic goes along, so that the deal belongs to the same strategy.
    """
    _may_trade(market)
    held = numbers.exact(position.volume)
    wanted = held if close.volume is None else close.volume
    if wanted > held:
        raise NotSent("volume_out_of_range", f"volume {wanted}: the position has {held}")
    bought = position.type == constants.POSITION_TYPE_BUY
    return {
        "action": constants.TRADE_ACTION_DEAL,
        "symbol": position.symbol,
        "volume": numbers.multiple(wanted, market.rules),
        **_side("sell" if bought else "buy", market),
        "deviation": close.deviation,
        "magic": int(position.magic),
        "comment": checked_comment(close.comment),
        "type_time": constants.ORDER_TIME_GTC,
        "position": int(position.ticket),
    }


def with_fillings(request: Request, symbol: Symbol) -> Iterator[Request]:
    """Yield the request once for each filling that the symbol allows, the preferred first."""
    for filling in symbol.fillings:
        yield {**request, "type_filling": ORDER_FILLING[filling]}


def ticket(text: str) -> int:
    """Return the number of a ticket; `NotSent` (`position_not_found`) where it is none."""
    if not (text.isascii() and text.isdecimal()):
        raise NotSent("position_not_found", f"position {text}: a ticket is a number")
    return int(text)


def checked_comment(comment: str) -> str:
    """Refuse a comment that the terminal would refuse or cut off: it could not be found again."""
    if len(comment) > COMMENT_MAX or not comment.isascii():
        raise NotSent("invalid_input", f"comment: at most {COMMENT_MAX} ASCII characters")
    return comment


def _side(side: Side, market: Market) -> Request:
    """Return type and price: a buy is at the ask, a sell at the bid."""
    if side == "buy":
        return {"type": constants.ORDER_TYPE_BUY, "price": market.ask}
    return {"type": constants.ORDER_TYPE_SELL, "price": market.bid}


def _stop(value: Any, market: Market) -> float:
    """Return SL or TP as the terminal wants it: 0 where there is none."""
    return 0.0 if value is None else numbers.price(value, market.rules.digits)


def _may_open(side: Side, market: Market) -> None:
    _may_trade(market)
    mode = market.row.trade_mode
    only = {
        constants.SYMBOL_TRADE_MODE_CLOSEONLY: "closing",
        constants.SYMBOL_TRADE_MODE_LONGONLY: "buying" if side == "sell" else None,
        constants.SYMBOL_TRADE_MODE_SHORTONLY: "selling" if side == "buy" else None,
    }.get(mode)
    if only:
        raise NotSent("trade_disabled", f"{market.rules.name}: the broker allows {only} only")


def _may_trade(market: Market) -> None:
    if market.row.trade_mode == constants.SYMBOL_TRADE_MODE_DISABLED:
        raise NotSent("trade_disabled", f"{market.rules.name}: the broker allows no trading")
