"""What a call of the package means for an order: before it is sent, and from then on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TypeVar

from forex_agent.mt5.constants import RES_S_OK
from forex_agent.mt5.package import Package
from forex_agent.terminal import NotSent, Rejected, TerminalError, Unknown

T = TypeVar("T")
# last_error's number → the agent's error code; the others are `not_sent`.
CODES = {
    -6: "disconnected",  # authorization failed
    -8: "trade_disabled",  # AutoTrading is off
    -10000: "disconnected",  # -10000 … -10004: the line to the terminal's process
    -10001: "disconnected",
    -10002: "disconnected",
    -10003: "disconnected",
    -10004: "disconnected",
    -10005: "timeout",
}


@contextlib.contextmanager
def nothing_sent(secret: str | None = None) -> Iterator[None]:
    """Turn every surprise into `NotSent`: for what happens before an order is sent, and reads.

    The secret stands neither in the message nor in a traceback.
    """
    try:
        yield
    except TerminalError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, nothing has been sent
        message = _without(f"{type(error).__name__}: {error}", secret)
        raise NotSent("not_sent", message) from (None if secret else error)


@contextlib.contextmanager
def maybe_sent(retcode: int | None = None) -> Iterator[None]:
    """Turn every error into `Unknown`: from `order_send` on, only the broker's no is a no."""
    try:
        yield
    except (Unknown, Rejected):
        raise
    except Exception as error:
        raise Unknown(f"{type(error).__name__}: {error}", retcode=retcode) from error


def answered(package: Package, what: str, answer: T | None) -> T:
    """Return the answer, or raise `NotSent` with the package's own word for why there is none.

    An empty sequence is an answer: there are none. None and False never are.
    """
    if answer is None or answer is False:
        raise failed(package, what)
    return answer


def failed(package: Package, what: str, *, secret: str | None = None) -> NotSent:
    """Make the error of a call that failed; never with the secret in it."""
    number, words = last_error(package)
    message = f"{what}: {words} ({number})"
    return NotSent(CODES.get(number, "not_sent"), _without(message, secret))


def last_error(package: Package) -> tuple[int, str]:
    """Return number and words; where there is no error either, say that."""
    number, words = package.last_error()
    return (number, words) if number != RES_S_OK else (number, "no answer, and no error either")


def _without(text: str, secret: str | None) -> str:
    return text.replace(secret, "…") if secret else text
