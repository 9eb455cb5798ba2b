"""Which deals and orders belong to a comment, which the broker may have cut off or replaced.

Sure: the same comment; one that was cut off, but not too short; a deal of an order whose comment
matches; and the order's number, where the terminal had named it before the answer was lost.

Else, of an order that this driver has sent, a deal of the same symbol, side, volume and magic in
the minutes after it whose comment is no job's: likely, and only where there is exactly one. Never
without a magic: a person trades with none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from forex_agent.mt5.numbers import exact
from forex_agent.mt5.requests import Request

# Of the 26 characters of a job's id; 16 are 80 bits, and no two jobs share them.
CUT_OFF = 16
JOB_COMMENT = 26
EARLIER, LATER = timedelta(seconds=5), timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Sent:
    """A request that went to `order_send`, when, and the order's number if the answer named it."""

    request: Request
    at: datetime
    order: int = 0


def same(found: str, wanted: str) -> bool:
    """Tell whether a comment is the wanted one, whole or cut off."""
    return found == wanted or (len(found) >= CUT_OFF and wanted.startswith(found))


def named(rows: Sequence[Any], wanted: str) -> list[Any]:
    """Return the rows with that comment."""
    return [row for row in rows if same(row.comment, wanted)]


def deals_of(deals: Sequence[Any], orders: Sequence[Any], wanted: str, order: int) -> list[Any]:
    """Return the deals that surely belong to the comment; `order` is its order's number or 0."""
    numbers = {row.ticket for row in named(orders, wanted)} | ({order} if order else set())
    return [row for row in deals if row.order in numbers or same(row.comment, wanted)]


def likely(deals: Sequence[Any], sent: Sent, utc: dict[int, datetime]) -> list[Any]:
    """Return the one deal that is as the request was, or nothing; `utc` has the deals' times."""
    found = list(_alike(deals, sent, utc)) if sent.request["magic"] else []
    return found if len(found) == 1 else []


def _alike(deals: Sequence[Any], sent: Sent, utc: dict[int, datetime]) -> Iterator[Any]:
    request = sent.request
    for row in deals:
        if (
            (row.symbol, row.type, row.magic)
            == (request["symbol"], request["type"], request["magic"])
            and exact(row.volume) == exact(request["volume"])
            and ("position" not in request or row.position_id == request["position"])
            and sent.at - EARLIER <= utc[row.ticket] <= sent.at + LATER
            and len(row.comment) != JOB_COMMENT
        ):
            yield row
