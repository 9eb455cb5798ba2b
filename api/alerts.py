"""Reads alerts: whatever TradingView sends becomes what can be decided, and nothing is refused.

Names of fields are looked up without regard to case, numbers may be quoted, and a placeholder that
TradingView left unfilled (`{{ticker}}`) counts as not said. What is said and cannot be read is not
taken for unsaid: a volume becomes 0, a stop -1 and a symbol, unfilled or not, the empty text, which
no gate lets pass: a close of one symbol must not become a close of all.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson

from jobengine._db import holds_nul

SYMBOL = ("symbol", "ticker", "pair", "instrument")
ACTION = ("action", "side", "order")
VOLUME = ("volume", "lots", "qty", "contracts", "quantity")
STOP = ("sl", "stop_loss", "stoploss")
TARGET = ("tp", "take_profit", "takeprofit")
PRICE = ("price", "close")
ID = ("id", "alert_id", "alerttimestamp")

ACTIONS = {
    **dict.fromkeys(("buy", "long"), "buy"),
    **dict.fromkeys(("sell", "short"), "sell"),
    **dict.fromkeys(("close", "exit", "flat", "closeall", "exitall"), "close"),
    **dict.fromkeys(("closelong", "exitlong", "closebuy"), "close_long"),
    **dict.fromkeys(("closeshort", "exitshort", "closesell"), "close_short"),
}
BODY_BYTES = 64 * 1024
SHOWN_CHARACTERS = 1000  # of a body that is too long
HIGHEST = Decimal(99_999_999_999)
LONGEST_ID = 200
EXACT = 2**53  # a JSON number from here on may be another
UNREADABLE_VOLUME = Decimal(0)
UNREADABLE_STOP = Decimal(-1)
UNREADABLE_SYMBOL = ""
_EXCHANGE = re.compile(r"[A-Za-z0-9_]+:")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._#+&/!$^-]{0,31}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """What an alert says; None: nothing that can be read.

    `payload` is the whole of it, `dedup_key` the same for the same alert: `id:` and the id that it
    carries, else `body:` and the hash of its body.
    """

    payload: dict[str, Any]
    dedup_key: str
    symbol: str | None
    action: str | None
    volume: Decimal | None
    sl: Decimal | None
    tp: Decimal | None
    price: Decimal | None


def read(body: str) -> Alert:
    """Read an alert's body; never fails."""
    payload = _payload(body)
    said = {str(name).strip().lower(): value for name, value in payload.items()}
    return Alert(
        payload=_storable(payload, body),
        dedup_key=_key(_first(said, ID), body),
        symbol=_symbol(said),
        action=_action(_first(said, ACTION)),
        volume=_volume(_first(said, VOLUME)),
        sl=_stop(_first(said, STOP)),
        tp=_stop(_first(said, TARGET)),
        price=_price(_first(said, PRICE)),
    )


def _payload(body: str) -> dict[str, Any]:
    if len(body.encode()) > BODY_BYTES:
        return {"_raw": body[:SHOWN_CHARACTERS], "_truncated": True}
    found = _json(body.removeprefix("\ufeff"))
    return found if isinstance(found, dict) else {"_raw": body}


def _json(text: str) -> Any:
    """Read JSON, and what TradingView makes of it: a plot without a value is filled in as NaN."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        if "NaN" not in text:
            return None
    try:
        return orjson.loads(orjson.dumps(json.loads(text, parse_constant=str)))
    except (ValueError, TypeError, RecursionError):
        return None


def _storable(payload: dict[str, Any], body: str) -> dict[str, Any]:
    """Return the payload as it can be kept: without U+0000, and no deeper than orjson writes."""
    try:
        kept = not holds_nul(orjson.dumps(payload))
    except orjson.JSONEncodeError:
        kept = False
    return payload if kept else {"_raw": body[:BODY_BYTES].replace("\x00", "\ufffd")}


def _first(said: dict[str, Any], names: tuple[str, ...]) -> Any:
    """Return the first of these that is said; a placeholder that was not filled is not."""
    for name in names:
        value = said.get(name)
        if value not in (None, "") and not (isinstance(value, str) and "{{" in value):
            return value
    return None


def _key(given: Any, body: str) -> str:
    if isinstance(given, float) and abs(given) >= EXACT:
        return f"id:{_hash(body)}"  # digits were lost: two ids may look alike
    if isinstance(given, str | int | float) and not isinstance(given, bool):
        text = str(given).strip()
        short = len(text) <= LONGEST_ID and "\x00" not in text
        return f"id:{text if short else _hash(text)}"
    return f"body:{_hash(body)}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _symbol(said: dict[str, Any]) -> str | None:
    """Read the symbol; of all that is said, it alone is also said by a placeholder."""
    value = _first(said, SYMBOL)
    if value is None and not any(said.get(name) for name in SYMBOL):
        return None
    name = _EXCHANGE.sub("", value.strip(), count=1) if isinstance(value, str) else ""
    return name if _NAME.fullmatch(name) else UNREADABLE_SYMBOL


def _action(value: Any) -> str | None:
    if not isinstance(value, str):
        return None
    return ACTIONS.get(re.sub(r"[\s_-]", "", value).lower())


def _volume(value: Any) -> Decimal | None:
    if value is None:
        return None
    number = _number(value)
    return number if number is not None and number > 0 else UNREADABLE_VOLUME


def _stop(value: Any) -> Decimal | None:
    """Read a stop; 0 is the terminal's word for none."""
    if value is None:
        return None
    number = _number(value)
    if number is None or number < 0:
        return UNREADABLE_STOP
    return number or None


def _price(value: Any) -> Decimal | None:
    number = _number(value)
    return number if number is not None and number >= 0 else None


def _number(value: Any) -> Decimal | None:
    """Return the number, with 8 decimals at most; None where there is none in range."""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return None
    text = str(value).strip()
    if "_" in text:
        return None  # Python's way to write a number, nobody else's
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    if not number.is_finite() or abs(number) > HIGHEST:
        return None
    return round(number, 8)
