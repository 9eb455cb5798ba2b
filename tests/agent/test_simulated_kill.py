"""A process that is killed in the middle of an order leaves no trace of it, or the whole fill."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from decimal import Decimal
from pathlib import Path

from forex_agent.simulated import BookState, read_book

LIVES = 8
# Opens and closes without pause; each line says what has been answered. With a second number the
# process kills itself before the SQL statement of that number, which is in the midst of an order.
TRADER = """
import itertools, os, signal, sys
from decimal import Decimal
from pathlib import Path
from forex_agent.simulated import RandomWalk, SimulatedTerminal
from forex_agent.terminal import Close, Order

path, life, last = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
terminal = SimulatedTerminal(path, RandomWalk(1, ["EURUSD"]), deposit=Decimal(1_000_000))
terminal.connect()
statements = itertools.count(1)

def die(statement):
    if next(statements) == last:
        os.kill(os.getpid(), signal.SIGKILL)

terminal._session.book._db.set_trace_callback(die)
for number in range(100_000):
    name = f"{life}-{number}"
    fill = terminal.send(
        Order(symbol="EURUSD", side="buy", volume=Decimal("0.02"), comment=name)
    )
    print(name, flush=True)
    terminal.close_position(
        Close(ticket=fill.position_id, volume=Decimal("0.01"), comment=name + "-out")
    )
    print(name + "-out", flush=True)
"""


def trader(path: Path, life: int, last: int) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", TRADER, str(path), str(life), str(last)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def killed_after(path: Path, life: int, answers: int) -> list[str]:
    """Let a trader trade until it has had so many answers, kill it, return all it has had."""
    with trader(path, life, 0) as trading:
        assert trading.stdout is not None
        heard = [trading.stdout.readline().strip() for _ in range(answers)]
        trading.kill()
        rest = trading.stdout.read().split()
    assert all(heard)
    return [*heard, *rest]


def test_a_kill_at_any_time_leaves_no_trace_or_the_whole_fill(tmp_path: Path) -> None:
    path, chance = tmp_path / "book.db", random.Random(4)  # noqa: S311  a test
    answered: list[str] = []
    for life in range(LIVES):
        answered += killed_after(path, life, chance.randrange(1, 30))
    fills = whole(path)
    assert answered
    assert set(answered) <= fills
    # At most the one order that was under way when a life ended is filled without an answer.
    assert len(fills) - len(answered) <= LIVES


def test_a_kill_before_each_statement_leaves_no_trace_or_the_whole_fill(tmp_path: Path) -> None:
    """One life after the other dies a statement later, until an open and a close are both done."""
    found: list[set[str]] = []
    while not found or len(found[-1]) < 3:
        last = len(found) + 1
        path = tmp_path / f"{last}.db"
        with trader(path, 0, last) as trading:
            assert trading.stdout is not None
            answered = set(trading.stdout.read().split())
        found.append(whole(path))
        assert answered <= found[-1]
    assert {"0-0"} in found
    assert {"0-0", "0-0-out"} in found
    # Several statements make a fill, so several lives died in the midst of one.
    assert found.count(set()) > 5
    assert found.count({"0-0"}) > 5


def whole(path: Path) -> set[str]:
    """Check that the book holds whole fills only, one for each comment; return the comments."""
    state = read_book(path)
    fills = state.fills()
    assert all(len(deals) == 1 for deals in fills.values())
    add_up(state)
    with closing(sqlite3.connect(path)) as db:
        orders = {comment for (comment,) in db.execute("select comment from orders")}
    assert orders == set(fills)
    return orders


def add_up(state: BookState) -> None:
    money = sum(deal.profit + deal.commission + deal.swap for deal in state.deals)
    assert state.balance == state.initial + money
    left: dict[str, Decimal] = {}
    for deal in state.deals:
        sign = 1 if deal.entry == "in" else -1
        left[deal.position_id] = left.get(deal.position_id, Decimal(0)) + sign * deal.volume
    assert left == {str(one.ticket): one.volume for one in state.positions}
