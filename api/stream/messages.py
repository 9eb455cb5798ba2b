"""What is said over the connection: our messages as complete frames, and the client's, checked."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import orjson
from websockets.frames import Frame, Opcode

from api.models.base import INSTRUMENT

UNAUTHORISED, SLOW, TOO_MANY, BAD_MESSAGE = 4001, 4008, 4029, 4400
GOING_AWAY, OVERLOADED = 1001, 1013

LONGEST_MESSAGE = 4096  # bytes of a client's message
MOST_INSTRUMENTS = 128  # that one connection watches
STALE_SECONDS = 10.0

_INSTRUMENT = re.compile(INSTRUMENT)


class Closing(Exception):
    """The connection ends with this code."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Quote:
    """One price of one instrument; `ts` is when it was pushed, in milliseconds since 1970."""

    bid: float
    ask: float
    ts: int

    @property
    def stale(self) -> bool:
        """Tell whether it is older than ten seconds."""
        return time.time() - self.ts / 1000 > STALE_SECONDS


def read_quote(data: bytes) -> Quote:
    """Read what is kept and published in Redis; ValueError where it is no price."""
    match orjson.loads(data):
        case {"bid": float() | int() as bid, "ask": float() | int() as ask, "ts": int(ts)}:
            return Quote(bid, ask, ts)
    raise ValueError("a price is an object with bid, ask and ts")


def frame(message: Mapping[str, Any]) -> bytes:
    """Return the message as a WebSocket text frame, for any number of clients."""
    return Frame(Opcode.TEXT, orjson.dumps(message)).serialize(mask=False)


def tick(instrument: str, quote: Quote, **flags: bool) -> bytes:
    """Return the frame of a price; flags that are false are left out."""
    said = {name: True for name, so in flags.items() if so}
    return frame({"type": "tick", "instrument": instrument, "data": asdict(quote), **said})


def heartbeat() -> bytes:
    return frame({"type": "heartbeat", "ts": time.time_ns() // 1_000_000})


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks for: with instruments, or with a token."""

    action: Literal["subscribe", "unsubscribe", "auth"]
    instruments: tuple[str, ...] = ()
    token: str = ""


def read_request(message: Mapping[str, Any]) -> Request:
    """Read a client's message as ASGI hands it over; Closing 4400 where it breaks a rule."""
    text = message.get("text")
    if text is None or len(text.encode()) > LONGEST_MESSAGE:
        raise Closing(BAD_MESSAGE, f"a message is text of at most {LONGEST_MESSAGE} bytes")
    try:
        said = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Closing(BAD_MESSAGE, "a message is JSON") from error
    match said:
        case {"action": "auth", "token": str(token)}:
            return Request("auth", token=token)
        case {"action": "subscribe" | "unsubscribe" as action, "instruments": [_, *_] as names}:
            return Request(action, tuple(dict.fromkeys(map(instrument, names))))
    raise Closing(BAD_MESSAGE, "action is subscribe, unsubscribe (instruments) or auth (token)")


def instrument(name: object) -> str:
    """Return a name that an instrument can have; Closing 4400 for others."""
    if not (isinstance(name, str) and _INSTRUMENT.fullmatch(name)):
        raise Closing(BAD_MESSAGE, "no such instrument can be")
    return name
