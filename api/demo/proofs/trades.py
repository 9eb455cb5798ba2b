"""Trades: judged by the terminals' own books, which know nothing of jobs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from uuid import UUID

from forex_agent.simulated import BookState

from api.demo.evidence import Account, Evidence

FILLED = {"filled", "partially_filled", "closed"}
STOPPED = ("closed", "sl")


def as_expected(evidence: Evidence) -> Iterator[str]:
    """What the user was told is what the database says, and what had to come."""
    for placed in evidence.placed:
        job = evidence.jobs.get(placed.order_id)
        if placed.status not in placed.order.expected:
            yield f"{placed.order.words} of {placed.order.agent.name}: {placed.last}"
        elif job is None or job.order_status != placed.status:
            stands = job and job.order_status
            yield f"{placed.order_id}: the user was told {placed.status}, it is {stands}"


def one_order_per_key(evidence: Evidence) -> Iterator[str]:
    """However often it was asked for, through whatever death, a key has one order."""
    seen: dict[UUID, str] = {}
    for placed in evidence.placed:
        key = placed.order.key
        if len(set(placed.order_ids)) != 1 or seen.setdefault(placed.order_id, key) != key:
            yield f"{key} made {len(set(placed.order_ids))} orders"
        if placed.order.requests > 1 and not placed.replayed:
            yield f"{key}: no answer said that it was a repeat"
    if not any(placed.order.requests > 1 for placed in evidence.placed):
        yield "nobody asked twice"
    asked = evidence.created | seen.keys()
    signals = {signal.id for signal in evidence.signals}
    for job in evidence.orders().values():
        if job.job_id not in asked and job.parent_id not in signals:
            yield f"nobody asked for {job.job_id}"


def filled_once(evidence: Evidence) -> Iterator[str]:
    """No order has two deals in the books."""
    fills = Counter(deal.comment for _, deal in evidence.deals() if deal.comment)
    orders = evidence.orders()
    for comment, count in fills.items():
        if comment in orders and count > 1:
            yield f"{orders[comment].job_id} was filled {count} times"


def fills_known(evidence: Evidence) -> Iterator[str]:
    """Every deal of an order is its result, every filled order has its deal, and all are told."""
    orders = evidence.orders()
    found = set()
    for agent, deal in evidence.deals():
        job = orders.get(deal.comment)
        if job is None:
            if deal.entry == "in":
                yield f"{agent.name}: deal {deal.deal_id} is of no order"
        elif (agent.agent_id, deal.deal_id) != (job.agent_id, job.deal_id):
            yield f"{agent.name}: deal {deal.deal_id} is not what {job.job_id} has"
        elif (float(deal.price), float(deal.volume)) != (job.fill_price, job.filled_volume):
            yield f"{job.job_id}: {deal.volume} at {deal.price} in the book"
        else:
            found.add(deal.comment)
    for comment, job in orders.items():
        if job.order_status in FILLED and comment not in found:
            yield f"{job.job_id} is {job.order_status}, and in no book"
    for account in evidence.accounts:
        if account.deals.keys() != {deal.deal_id for deal in account.book.deals}:
            yield f"{account.agent.name}: {len(account.deals)} deals of {len(account.book.deals)}"


def stops_noticed(evidence: Evidence) -> Iterator[str]:
    """The service knows of every stop-loss in the books, and there was one."""
    hits = 0
    for account in evidence.accounts:
        for deal in account.book.deals:
            if deal.reason == "sl":
                hits += 1
                if account.deals.get(deal.deal_id) != STOPPED:
                    yield f"{account.agent.name}: the stop-loss {deal.deal_id} is not known"
    if not hits:
        yield "no stop-loss was hit"


def same_positions(evidence: Evidence) -> Iterator[str]:
    for account in evidence.accounts:
        told = {_position(one) for one in account.positions}
        if told != (kept := _held(account.book)):
            yield f"{account.agent.name}: {sorted(told ^ kept)} on one side only"
        if Decimal(str(account.balance["balance"])) != account.book.balance:
            yield f"{account.agent.name}: {account.balance}, the book has {account.book.balance}"


def _position(told: dict[str, Any]) -> tuple[str, str, str, Decimal]:
    return told["ticket"], told["symbol"], told["side"], Decimal(str(told["volume"])).normalize()


def _held(book: BookState) -> set[tuple[str, str, str, Decimal]]:
    return {
        (str(one.ticket), one.symbol, one.side, one.volume.normalize()) for one in book.positions
    }


def same_pnl(evidence: Evidence) -> Iterator[str]:
    for account in evidence.accounts:
        if (counted := account.pnl) != (summed := _earned(account)):
            yield f"{account.agent.name}: {counted}, by the book {summed}"


def _earned(account: Account) -> dict[str, Decimal]:
    """Return profit, commission and swap of the book's deals by day; users' days are UTC's."""
    found: defaultdict[str, Decimal] = defaultdict(Decimal)
    for deal in account.book.deals:
        found[deal.time.date().isoformat()] += deal.profit + deal.commission + deal.swap
    return dict(found)


def killed_amid(evidence: Evidence) -> Iterator[str]:
    """An agent and the service died while the broker had orders that nobody had reported."""
    expected = {"the service": 1, **{agent.name: 1 for agent in evidence.agents}}
    if evidence.kills.keys() - expected.keys() or len(evidence.kills) != 2:  # noqa: PLR2004
        yield f"killed were {', '.join(evidence.kills) or 'none'}"
    for name, orders in evidence.kills.items():
        if not orders:
            yield f"{name} was killed while no order was under way"
