"""The way of each alert: the milliseconds from hop to hop, and what it became."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from api import models
from api.demo.alerts import Posted
from api.demo.evidence import Evidence

NOTHING = "nothing"
STEPS = ("decided", "claimed", "sent", "filled", "total")
HEAD = (
    f" {'at ms':>5}  {'agent':<7} {'alert':<26}"
    + "".join(f" {step:>7}" for step in STEPS)
    + "   became"
)


@dataclass(frozen=True, slots=True)
class Way:
    """An alert; `at_ms` since the demo's first event, the others from each hop to the next.

    None: it never came to that; `became` is the signal's status, or `nothing`.
    """

    at_ms: float
    agent: str
    alert: str
    became: str
    reason: str | None = None
    price: float | None = None
    decided: float | None = None
    claimed: float | None = None
    sent: float | None = None
    filled: float | None = None
    total: float | None = None


def ways(evidence: Evidence) -> list[Way]:
    """Return the alerts' ways in the order in which they came."""
    return list(_ways(evidence, evidence.events[0].at))


def _ways(evidence: Evidence, zero: float) -> Iterator[Way]:
    for posted, signal in evidence.followed():
        at_ms = round(1000 * (posted.sent_at - zero), 1)
        name, words = posted.alert.agent.name, posted.alert.words
        yield _way(at_ms, posted, signal) if signal else Way(at_ms, name, words, NOTHING)


def _way(at_ms: float, posted: Posted, signal: models.Signal) -> Way:
    """Return the way by the service's own word."""
    return Way(
        at_ms,
        posted.alert.agent.name,
        posted.alert.words,
        signal.status,
        signal.reason,
        _float(signal.fill_price),
        decided=_float(signal.decided_ms),
        claimed=_float(signal.claimed_ms),
        sent=_float(signal.sent_ms),
        filled=_float(signal.filled_ms),
        total=_float(signal.total_ms),
    )


def _float(number: Decimal | None) -> float | None:
    return None if number is None else float(number)


def way_line(way: Way) -> str:
    """Return the way as a line of the table."""
    hops = "".join(
        f" {'' if at is None else f'{at:.1f}':>7}"
        for at in (way.decided, way.claimed, way.sent, way.filled, way.total)
    )
    return f"{way.at_ms:6.0f}  {way.agent:<7} {way.alert:<26}{hops}   {_became(way)}"


def _became(way: Way) -> str:
    """Return in words what it became."""
    if way.price is not None:
        return f"{way.became} at {way.price:.10g}"
    return f"{way.became}: {way.reason or 'no signal, no order'}"
