"""`forex-agent run`, with points at which it dies: the file KILL_AT names one.

The agent itself knows nothing of it: its journal, its book and its terminal are wrapped.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from forex_agent.cli import main
from forex_agent.journal import Journal
from forex_agent.simulated.book import Book
from forex_agent.simulated.terminal import SimulatedTerminal
from forex_agent.terminal import Trace

from tests.faults.trades.fuse import Fuse

POINTS = (
    "before received",
    "after received",
    "before intent",
    "after intent",
    "after sent",
    "in fill",
    "after fill",
    "before outcome",
    "after outcome",
    "before acked",
    "after acked",
)


def wire(fuse: Fuse) -> None:
    """Lead the work past the fuse."""
    for step in ("received", "intent", "sent", "outcome", "acked"):
        _around(fuse, Journal, step, before=f"before {step}", after=f"after {step}")
    for call in ("send", "close_position"):
        _around(fuse, SimulatedTerminal, call, before="", after="after fill")
    _in_transactions_with_deals(fuse)


def _around(fuse: Fuse, owner: type, name: str, *, before: str, after: str) -> None:
    real: Callable[..., Any] = getattr(owner, name)

    def wrapped(*args: Any, **named: Any) -> Any:
        fuse.passed(before)
        found = real(*args, **named)
        fuse.passed(after)
        return found

    setattr(owner, name, wrapped)


def _in_transactions_with_deals(fuse: Fuse) -> None:
    """`in fill`: the broker's book has the deal, and has not committed it."""
    real_transaction, real_add = Book.transaction, Book.add_deal
    added: list[bool] = []

    def add_deal(*args: Any, **named: Any) -> str:
        added.append(True)
        return real_add(*args, **named)

    @contextmanager
    def transaction(book: Book) -> Iterator[None]:
        with real_transaction(book):
            added.clear()
            yield
            if added:
                fuse.passed("in fill")

    setattr(Book, "add_deal", add_deal)  # noqa: B010 - the type checker forbids the plain form
    setattr(Book, "transaction", transaction)  # noqa: B010


def forget() -> None:
    """Plant a bug: an agent that keeps no note of sending, and does not find its order again."""
    Journal.sent = lambda *_: None  # type: ignore[method-assign]
    SimulatedTerminal.find = lambda *_: Trace(deals=[], open=False)  # type: ignore[method-assign]


if __name__ == "__main__":
    if os.environ.get("PLANTED_BUG"):
        forget()
    wire(Fuse(Path(os.environ["KILL_AT"])))
    sys.exit(main(sys.argv[1:]))
