"""What the tests of the simulated terminal share: a clock that stands and prices by hand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from forex_agent.simulated import Faults, Market, Replay, SimulatedTerminal, Spec, Terms
from forex_agent.simulated.clock import ManualClock
from forex_agent.simulated.symbols import known
from forex_agent.terminal import Fill, Order, Side

# A Monday, so that a day passes without a weekend.
MONDAY = datetime(2026, 3, 2, 8, tzinfo=UTC)
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
PLAIN = Terms(commission=Decimal(0), slippage=0)


def played(
    folder: Path,
    bids: Sequence[str],
    *,
    symbol: str = "EURUSD",
    spread: str = "0.00010",
    specs: Sequence[Spec] = (),
) -> Replay:
    """Return a market whose bids follow each other second by second from MONDAY on."""
    write_ticks(folder, symbol, bids, spread)
    return Replay(folder, start=MONDAY, specs=specs or [known(symbol)])


def write_ticks(folder: Path, symbol: str, bids: Sequence[str], spread: str) -> None:
    """Write a file of ticks, one a second."""
    folder.mkdir(exist_ok=True)
    lines = ["timestamp,bid,ask"]
    for second, bid in enumerate(bids):
        at = (MONDAY + timedelta(seconds=second)).isoformat()
        lines.append(f"{at},{bid},{Decimal(bid) + Decimal(spread)}")
    (folder / f"{symbol.lower()}-ticks.csv").write_text("\n".join(lines) + "\n")


def opened(
    path: Path,
    market: Market,
    clock: ManualClock,
    terms: Terms = PLAIN,
    *,
    faults: Faults | None = None,
    deposit: Decimal = Decimal(10_000),
    currency: str = "USD",
    leverage: int = 100,
) -> SimulatedTerminal:
    """Return a connected terminal."""
    terminal = SimulatedTerminal(
        path,
        market,
        clock=clock,
        terms=terms,
        faults=faults,
        deposit=deposit,
        currency=currency,
        leverage=leverage,
    )
    terminal.connect()
    return terminal


def bought(
    terminal: SimulatedTerminal,
    volume: str = "1",
    *,
    side: Side = "buy",
    sl: str | None = None,
    tp: str | None = None,
    comment: str = "order",
) -> Fill:
    """Open a position in EURUSD."""
    return terminal.send(
        Order(
            symbol="EURUSD",
            side=side,
            volume=Decimal(volume),
            sl=None if sl is None else Decimal(sl),
            tp=None if tp is None else Decimal(tp),
            comment=comment,
        )
    )
