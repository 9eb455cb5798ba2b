"""The account's book: an SQLite file that outlives the process that writes it.

Everything that an order changes is changed in one transaction. `synchronous = off` is enough
against the death of a process, not of the machine: this is play money. Readers may look in at any
time (write-ahead log), and processes may follow one another without a word.
"""

from __future__ import annotations

import re
import sqlite3
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from forex_agent.simulated.clock import from_ms
from forex_agent.terminal import Deal, Reason, Side

_BUSY_SECONDS = 10.0
_TICKET = re.compile("[1-9][0-9]{0,17}")


class Held(NamedTuple):
    """A position as the book keeps it: prices in points, times in milliseconds.

    A tuple, since all open positions are read at every call.
    """

    ticket: int
    symbol: str
    side: Side
    volume: Decimal
    open_price: int
    sl: int | None
    tp: int | None
    margin_per_lot: Decimal
    swap: Decimal
    magic: int
    comment: str
    opened: int
    checked: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NewOrder:
    """An order on its way into the book; `position_id` is None for one that opens.

    `due` is set for one that is only placed, and filled at that time.
    """

    position_id: int | None
    symbol: str
    side: Side
    volume: Decimal
    magic: int
    comment: str
    reason: Reason
    created: int
    sl: Decimal | None = None
    tp: Decimal | None = None
    due: int | None = None


class Book:
    """One open book; of one thread at a time."""

    def __init__(self, path: Path) -> None:
        """Open or make the file; the folder must exist."""
        self._db = sqlite3.connect(
            path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        weakref.finalize(self, self._db.close)
        self._db.row_factory = sqlite3.Row
        self._db.execute("pragma journal_mode = wal")
        self._db.execute("pragma synchronous = off")
        schema = resources.files("forex_agent.simulated").joinpath("schema.sql")
        self._db.executescript(schema.read_text(encoding="utf-8"))

    def close(self) -> None:
        """Close the file; no error where it is closed."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Do all of it or nothing, and alone."""
        self._db.execute("begin immediate")
        try:
            yield
        except BaseException:
            self._db.execute("rollback")
            raise
        self._db.execute("commit")

    def execute(self, statement: str, *values: object) -> list[sqlite3.Row]:
        """Run one statement and return its rows."""
        return self._db.execute(statement, values).fetchall()

    def open_account(self, currency: str, leverage: int, deposit: Decimal) -> None:
        """Make the account where the book has none; one that exists keeps its own terms."""
        self.execute(
            "insert into account values (1, ?, ?, ?, ?) on conflict do nothing",
            currency,
            leverage,
            str(deposit),
            str(deposit),
        )

    def terms(self) -> tuple[str, int]:
        """Return the account's currency and leverage."""
        (row,) = self.execute("select currency, leverage from account")
        return row["currency"], row["leverage"]

    def balance(self) -> Decimal:
        """Return what the account holds without open profits."""
        (row,) = self.execute("select balance from account")
        return Decimal(row["balance"])

    def held(self) -> list[Held]:
        """Return the open positions, oldest first."""
        return [_held(row) for row in self.execute("select * from positions order by ticket")]

    def position(self, ticket: str) -> Held | None:
        """Return one open position; anything that is no ticket of ours has none."""
        if not _TICKET.fullmatch(ticket):
            return None
        rows = self.execute("select * from positions where ticket = ?", int(ticket))
        return _held(rows[0]) if rows else None

    def add_order(self, order: NewOrder, filled: Decimal) -> int:
        """Write an order down and return its id."""
        state = "filled" if filled == order.volume else "partial"
        (row,) = self.execute(
            "insert into orders (position_id, symbol, side, volume, filled, magic, comment,"
            " reason, state, created, due, sl, tp)"
            " values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) returning order_id",
            order.position_id or 0,
            order.symbol,
            order.side,
            str(order.volume),
            str(filled),
            order.magic,
            order.comment,
            order.reason,
            "placed" if order.due is not None else state,
            order.created,
            order.due,
            _text(order.sl),
            _text(order.tp),
        )
        order_id: int = row["order_id"]
        if order.position_id is None:
            self.execute("update orders set position_id = order_id where order_id = ?", order_id)
        return order_id

    def due_orders(self, until: int) -> list[tuple[int, NewOrder]]:
        """Return the placed orders that are due by then, with their ids, first due first."""
        rows = self.execute(
            "select * from orders where state = 'placed' and due <= ? order by due, order_id", until
        )
        return [(row["order_id"], _order(row)) for row in rows]

    def decide(self, order_id: int, filled: Decimal) -> None:
        """End a placed order: filled by so much, refused where that is nothing."""
        self.execute(
            "update orders set filled = ?, state = ? where order_id = ?",
            str(filled),
            "filled" if filled else "refused",
            order_id,
        )

    def add_position(self, held: Held) -> None:
        """Write a new position down."""
        self.execute(
            "insert into positions values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            held.ticket,
            held.symbol,
            held.side,
            str(held.volume),
            held.open_price,
            held.sl,
            held.tp,
            str(held.margin_per_lot),
            str(held.swap),
            held.magic,
            held.comment,
            held.opened,
            held.checked,
        )

    def shrink(self, ticket: int, volume: Decimal, swap: Decimal) -> None:
        """Leave that much of a position, nothing where the volume is zero."""
        if volume == 0:
            self.execute("delete from positions where ticket = ?", ticket)
            return
        self.execute(
            "update positions set volume = ?, swap = ? where ticket = ?",
            str(volume),
            str(swap),
            ticket,
        )

    def set_swap(self, ticket: int, swap: Decimal) -> None:
        """Set what a position has paid or earned over night."""
        self.execute("update positions set swap = ? where ticket = ?", str(swap), ticket)

    def checked(self, until: int) -> None:
        """Note that the ticks before `until` have had their effect on all positions."""
        self.execute("update positions set checked = ? where checked < ?", until, until)

    def add_deal(self, deal: Deal, time: int) -> str:
        """Write a deal down, put its money into the balance and return its id."""
        (row,) = self.execute(
            "insert into deals (order_id, position_id, symbol, side, entry, volume, price, profit,"
            " commission, swap, magic, comment, reason, time)"
            " values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) returning deal_id",
            int(deal.order_id),
            int(deal.position_id),
            deal.symbol,
            deal.side,
            deal.entry,
            str(deal.volume),
            str(deal.price),
            str(deal.profit),
            str(deal.commission),
            str(deal.swap),
            deal.magic,
            deal.comment,
            deal.reason,
            time,
        )
        balance = self.balance() + deal.profit + deal.commission + deal.swap
        self.execute("update account set balance = ?", str(balance))
        return str(row["deal_id"])

    def deals(self, since: int) -> list[Deal]:
        """Return the deals from that time on, oldest first."""
        rows = self.execute("select * from deals where time >= ? order by deal_id", since)
        return [_deal(row) for row in rows]

    def deals_of(self, comment: str, since: int) -> list[Deal]:
        """Return the deals with that comment from that time on, oldest first."""
        rows = self.execute(
            "select * from deals where comment = ? and time >= ? order by deal_id", comment, since
        )
        return [_deal(row) for row in rows]

    def switches(self) -> list[sqlite3.Row]:
        """Return the faults that are switched on."""
        return self.execute("select * from faults where remaining is null or remaining > 0")

    def spend(self, kind: str) -> bool:
        """Use a fault up by one; False where nothing was left of it."""
        return bool(
            self.execute(
                "update faults set remaining = remaining - 1"
                " where kind = ? and (remaining is null or remaining > 0) returning kind",
                kind,
            )
        )

    def placed(self, comment: str) -> bool:
        """Tell whether an order with that comment is not decided yet."""
        return bool(
            self.execute(
                "select 1 from orders where comment = ? and state = 'placed' limit 1", comment
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BookState:
    """All that a book holds at one moment, for whoever judges it."""

    currency: str
    leverage: int
    initial: Decimal
    balance: Decimal
    positions: Sequence[Held]
    deals: Sequence[Deal]

    def fills(self) -> Mapping[str, Sequence[Deal]]:
        """Return the deals by their comment: an order's trace."""
        found: dict[str, list[Deal]] = {}
        for deal in self.deals:
            found.setdefault(deal.comment, []).append(deal)
        return found


def read_book(path: Path) -> BookState:
    """Read the book of an account, also while a terminal writes it; changes nothing."""
    db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=_BUSY_SECONDS)
    db.row_factory = sqlite3.Row
    try:
        db.execute("begin")  # one snapshot for all three
        account = db.execute("select * from account").fetchone()
        positions = db.execute("select * from positions order by ticket").fetchall()
        deals = db.execute("select * from deals order by deal_id").fetchall()
    finally:
        db.close()
    return BookState(
        currency=account["currency"],
        leverage=account["leverage"],
        initial=Decimal(account["initial"]),
        balance=Decimal(account["balance"]),
        positions=[_held(row) for row in positions],
        deals=[_deal(row) for row in deals],
    )


def _text(value: Decimal | None) -> str | None:
    return None if value is None else str(value)


def _order(row: sqlite3.Row) -> NewOrder:
    opens = row["position_id"] == row["order_id"]
    return NewOrder(
        position_id=None if opens else row["position_id"],
        symbol=row["symbol"],
        side=row["side"],
        volume=Decimal(row["volume"]),
        magic=row["magic"],
        comment=row["comment"],
        reason=row["reason"],
        created=row["created"],
        sl=None if row["sl"] is None else Decimal(row["sl"]),
        tp=None if row["tp"] is None else Decimal(row["tp"]),
        due=row["due"],
    )


def _held(row: sqlite3.Row) -> Held:
    fields: dict[str, Any] = dict(row)
    for name in ("volume", "margin_per_lot", "swap"):
        fields[name] = Decimal(fields[name])
    return Held(**fields)


def _deal(row: sqlite3.Row) -> Deal:
    fields: dict[str, Any] = dict(row)
    for name in ("deal_id", "order_id", "position_id"):
        fields[name] = str(fields[name])
    for name in ("volume", "price", "profit", "commission", "swap"):
        fields[name] = Decimal(fields[name])
    fields["time"] = from_ms(fields["time"])
    return Deal(**fields)
