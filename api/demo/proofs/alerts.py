"""Alerts: each is one signal, and what the signal says is what the terminals' own books have."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from http import HTTPStatus

from forex_agent.terminal import Deal

from api import models
from api.demo.alerts import Posted
from api.demo.evidence import Evidence

OK = (HTTPStatus.OK, "ok")
DIGITS = Decimal("1e-8")


def traded_once(evidence: Evidence) -> Iterator[str]:
    """Every alert is one signal that ended as it had to; every signal was an alert."""
    followed = evidence.followed()
    for posted, signal in followed:
        if signal is None:
            if posted.alert.expected is not None:
                yield f"{_name(posted)} left no signal"
        elif (problem := _wrong(evidence, posted, signal)) is not None:
            yield f"{_name(posted)}: {problem}"
    known = {signal.id for _, signal in followed if signal}
    for signal in evidence.signals:
        if signal.id not in known:
            yield f"signal {signal.id} is of no alert"


def _wrong(evidence: Evidence, posted: Posted, signal: models.Signal) -> str | None:
    """Say what is wrong with an alert's signal."""
    became = signal.error_message if signal.status == "discarded" else signal.status
    if became != posted.alert.expected:
        return f"{signal.status} ({signal.reason}), not {posted.alert.expected}"
    deals = _deals(evidence, signal)
    if signal.status == "executed":
        return _not_one_trade(evidence, posted, signal, [name for name, _ in deals])
    if deals or not signal.reason:
        return f"{len(deals)} deals, for the reason {signal.reason}"
    return None


def _not_one_trade(
    evidence: Evidence, posted: Posted, signal: models.Signal, books: list[str]
) -> str | None:
    """Say what is wrong with the deals: one per order, and one order unless it closes."""
    orders = sum(job.parent_id == signal.id for job in evidence.jobs.values())
    if not orders or (orders > 1 and signal.action != "close"):
        return f"{orders} orders"
    if books != [posted.alert.agent.name] * orders:
        return f"{orders} orders, with deals in the books of {', '.join(books) or 'nobody'}"
    return None


def strangers_leave_nothing(evidence: Evidence) -> Iterator[str]:
    """All were answered alike, and of those with nobody's secret there is no signal."""
    for posted in evidence.posted:
        if posted.answer != OK:
            yield f"{_name(posted)} was answered {posted.answer}"
    if not any(posted.alert.to == "nobody" for posted in evidence.posted):
        yield "no alert had an unknown secret"
    if evidence.strangers:
        yield f"{evidence.strangers} signals of alerts with an unknown secret"


def same_price(evidence: Evidence) -> Iterator[str]:
    """A signal's price is that of its deals, their mean by volume; without a deal it has none."""
    for signal in evidence.signals:
        deals = [deal for _, deal in _deals(evidence, signal)]
        price = _mean(deals) if deals else None
        if price != signal.fill_price:
            yield f"signal {signal.id} has {signal.fill_price}, the book {price}"


def _mean(deals: list[Deal]) -> Decimal:
    """Return the price with the digits of a signal's."""
    worth = sum((deal.price * deal.volume for deal in deals), Decimal(0))
    mean = worth / sum((deal.volume for deal in deals), Decimal(0))
    return mean.quantize(DIGITS, ROUND_HALF_UP)


def _deals(evidence: Evidence, signal: models.Signal) -> list[tuple[str, Deal]]:
    """Return the deals of the signal's orders, with the name of the agent whose book has them."""
    comments = {job.comment for job in evidence.jobs.values() if job.parent_id == signal.id}
    return [(agent.name, deal) for agent, deal in evidence.deals() if deal.comment in comments]


def _name(posted: Posted) -> str:
    return f"{posted.alert.agent.name}'s {posted.alert.words}"
