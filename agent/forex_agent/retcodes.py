"""MetaTrader's answers to a trade request, and what each means for an order. Both drivers use it.

The one decision that matters is `Verdict`: only a definitive refusal may be called a failure.
Whatever leaves open whether the broker did it is `ambiguous`; so is a number we do not know.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from forex_agent.terminal import Rejected, Unknown

Verdict: TypeAlias = Literal["done", "requote", "wait", "refused", "ambiguous"]


@dataclass(frozen=True, slots=True)
class Retcode:
    """One answer.

    `verdict`: `done`: filled, wholly or in part; `requote`: the price had moved, nothing was done,
    ask again with a fresh one; `wait`: nothing was done, ask again later; `refused`: nothing was
    done, nothing will be; `ambiguous`: look for traces, never send again.
    `code` is the agent's error code for it.
    """

    number: int
    name: str
    verdict: Verdict
    code: str
    meaning: str


REQUOTE = 10004
REJECT = 10006
PLACED = 10008
DONE = 10009
DONE_PARTIAL = 10010
TIMEOUT = 10012
INVALID = 10013
INVALID_VOLUME = 10014
INVALID_STOPS = 10016
TRADE_DISABLED = 10017
MARKET_CLOSED = 10018
NO_MONEY = 10019
PRICE_OFF = 10021
CLIENT_DISABLES_AT = 10027
INVALID_FILL = 10030
CONNECTION = 10031
POSITION_CLOSED = 10036
INVALID_CLOSE_VOLUME = 10038

_ALL = (
    Retcode(REQUOTE, "REQUOTE", "requote", "requote", "the price has moved"),
    Retcode(REJECT, "REJECT", "refused", "rejected", "the broker refuses the request"),
    Retcode(10007, "CANCEL", "refused", "rejected", "the request was cancelled by the trader"),
    # A market order that is only placed may still be filled: it is not a fill, nor a refusal.
    Retcode(PLACED, "PLACED", "ambiguous", "timeout", "the order is placed, not yet filled"),
    Retcode(DONE, "DONE", "done", "", "done"),
    Retcode(DONE_PARTIAL, "DONE_PARTIAL", "done", "", "done in part"),
    Retcode(10011, "ERROR", "ambiguous", "timeout", "the request could not be processed"),
    Retcode(TIMEOUT, "TIMEOUT", "ambiguous", "timeout", "the broker did not answer in time"),
    Retcode(INVALID, "INVALID", "refused", "invalid_input", "the request is invalid"),
    Retcode(
        INVALID_VOLUME,
        "INVALID_VOLUME",
        "refused",
        "volume_out_of_range",
        "the volume is not one of those that the symbol allows",
    ),
    Retcode(10015, "INVALID_PRICE", "refused", "rejected", "the price is invalid"),
    Retcode(
        INVALID_STOPS,
        "INVALID_STOPS",
        "refused",
        "invalid_stops",
        "SL or TP is on the wrong side of the price, or too near",
    ),
    Retcode(
        TRADE_DISABLED, "TRADE_DISABLED", "refused", "trade_disabled", "trading is not allowed"
    ),
    Retcode(MARKET_CLOSED, "MARKET_CLOSED", "refused", "market_closed", "the market is closed"),
    Retcode(NO_MONEY, "NO_MONEY", "refused", "no_money", "the account has too little free margin"),
    Retcode(10020, "PRICE_CHANGED", "requote", "requote", "the price has changed"),
    Retcode(PRICE_OFF, "PRICE_OFF", "requote", "requote", "there is no price to trade at"),
    Retcode(10022, "INVALID_EXPIRATION", "refused", "invalid_input", "the expiry is invalid"),
    Retcode(10023, "ORDER_CHANGED", "ambiguous", "timeout", "the order's state has changed"),
    Retcode(10024, "TOO_MANY_REQUESTS", "wait", "rejected", "too many requests"),
    # For a market order no change means no fill.
    Retcode(10025, "NO_CHANGES", "refused", "rejected", "the request changes nothing"),
    Retcode(
        10026,
        "SERVER_DISABLES_AT",
        "refused",
        "trade_disabled",
        "the broker does not allow automated trading",
    ),
    Retcode(
        CLIENT_DISABLES_AT,
        "CLIENT_DISABLES_AT",
        "refused",
        "trade_disabled",
        "AutoTrading is switched off in the terminal",
    ),
    Retcode(10028, "LOCKED", "ambiguous", "timeout", "the request is locked, being processed"),
    Retcode(10029, "FROZEN", "refused", "rejected", "the order or position is frozen"),
    Retcode(
        INVALID_FILL,
        "INVALID_FILL",
        "refused",
        "unsupported_filling",
        "the symbol does not allow this filling mode",
    ),
    Retcode(CONNECTION, "CONNECTION", "ambiguous", "timeout", "the terminal lost the trade server"),
    Retcode(10032, "ONLY_REAL", "refused", "trade_disabled", "only real accounts may do this"),
    Retcode(10033, "LIMIT_ORDERS", "refused", "rejected", "too many pending orders"),
    Retcode(
        10034,
        "LIMIT_VOLUME",
        "refused",
        "volume_out_of_range",
        "the symbol's limit of volume is reached",
    ),
    Retcode(10035, "INVALID_ORDER", "refused", "invalid_input", "the order's type is not allowed"),
    Retcode(
        POSITION_CLOSED,
        "POSITION_CLOSED",
        "refused",
        "position_not_found",
        "the position is closed already",
    ),
    Retcode(
        INVALID_CLOSE_VOLUME,
        "INVALID_CLOSE_VOLUME",
        "refused",
        "volume_out_of_range",
        "the volume to close is more than the position has, or not one that the symbol allows",
    ),
    Retcode(
        10039, "CLOSE_ORDER_EXIST", "refused", "rejected", "the position is being closed already"
    ),
    Retcode(10040, "LIMIT_POSITIONS", "refused", "rejected", "too many open positions"),
    Retcode(10041, "REJECT_CANCEL", "refused", "rejected", "the order was cancelled"),
    Retcode(10042, "LONG_ONLY", "refused", "trade_disabled", "only buying is allowed"),
    Retcode(10043, "SHORT_ONLY", "refused", "trade_disabled", "only selling is allowed"),
    Retcode(10044, "CLOSE_ONLY", "refused", "trade_disabled", "only closing is allowed"),
    Retcode(10045, "FIFO_CLOSE", "refused", "rejected", "the oldest position must close first"),
    Retcode(10046, "HEDGE_PROHIBITED", "refused", "rejected", "opposite positions are not allowed"),
)

RETCODES = {retcode.number: retcode for retcode in _ALL}


def retcode(number: int) -> Retcode:
    """Return what the number means; one that is not in the table is `ambiguous`."""
    known = RETCODES.get(number)
    return known or Retcode(
        number, f"RETCODE_{number}", "ambiguous", "timeout", f"unknown return code {number}"
    )


def failure(number: int, message: str | None = None) -> Rejected | Unknown:
    """Make the error for an answer that is not `done`; `message` stands for the table's words."""
    answer = retcode(number)
    words = message or answer.meaning
    if answer.verdict == "ambiguous":
        return Unknown(words, retcode=number)
    return Rejected(
        answer.code,
        words,
        retcode=number,
        retcode_name=answer.name,
        requote=answer.verdict == "requote",
    )
