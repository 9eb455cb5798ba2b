"""A process that is killed in the middle of an order leaves no trace of it, or the whole fill."""

from __future__ import annotations

import random
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

from forex_agent.simulated import BookState, read_book

KILLS = 24
# Opens and closes without pause; each line says what has been answered.
TRADER = """
import sys
from decimal import Decimal
from pathlib import Path
from forex_agent.simulated import RandomWalk, SimulatedTerminal
from forex_agent.terminal import Close, Order

path, life = Path(sys.argv[1]), sys.argv[2]
terminal = SimulatedTerminal(path, RandomWalk(1, ["EURUSD"]), deposit=Decimal(1_000_000))
terminal.connect()
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


def killed_after(path: Path, life: int, answers: int) -> list[str]:
    """Let a trader trade until it has had so many answers, kill it, return all it has had."""
    with subprocess.Popen(
        [sys.executable, "-c", TRADER, str(path), str(life)], stdout=subprocess.PIPE, text=True
    ) as trader:
        assert trader.stdout is not None
        heard = [trader.stdout.readline().strip() for _ in range(answers)]
        trader.kill()
        rest = trader.stdout.read().split()
    assert all(heard)
    return [*heard, *rest]


def test_a_kill_leaves_no_trace_or_the_whole_fill(tmp_path: Path) -> None:
    path, chance = tmp_path / "book.db", random.Random(4)  # noqa: S311  a test
    answered: list[str] = []
    for life in range(KILLS):
        answered += killed_after(path, life, chance.randrange(1, 30))
    state = read_book(path)
    fills = state.fills()
    assert all(len(deals) == 1 for deals in fills.values())
    assert set(answered) <= set(fills)
    # At most the one order that was under way when a life ended is filled without an answer.
    assert len(fills) - len(answered) <= KILLS
    add_up(state)


def add_up(state: BookState) -> None:
    money = sum(deal.profit + deal.commission + deal.swap for deal in state.deals)
    assert state.balance == state.initial + money
    left: dict[str, Decimal] = {}
    for deal in state.deals:
        sign = 1 if deal.entry == "in" else -1
        left[deal.position_id] = left.get(deal.position_id, Decimal(0)) + sign * deal.volume
    assert left == {str(one.ticket): one.volume for one in state.positions}
