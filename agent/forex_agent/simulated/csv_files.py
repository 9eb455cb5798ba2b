"""Reads price files: ticks (`timestamp,bid,ask`) or bars (`timestamp,open,high,low,close`).

Timestamps are ISO 8601 with an offset, ascending; prices are plain decimals. A name begins with the
symbol; that of a bar file also holds `bid` or `ask`, and the two files belong together:
`gbpusd-m1-bid-2012.csv`, `gbpusd-m1-ask-2012.csv`, `usdjpy-ticks.csv`. Where a bar's ask is below
its bid, it is played as the bid.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from forex_agent.simulated.clock import to_ms
from forex_agent.simulated.symbols import Spec

TICKS = ("timestamp", "bid", "ask")
BARS = ("timestamp", "open", "high", "low", "close")
_PRICE = re.compile(r"([0-9]+)(?:\.([0-9]*))?", re.ASCII)
_SYMBOL = re.compile(r"[A-Za-z]{3,}", re.ASCII)
_SIDE = re.compile(r"(?<![a-z])(bid|ask)(?![a-z])", re.IGNORECASE)
# A bar is replayed as four ticks, a quarter of its length apart.
_QUARTERS = 4
_MINUTE = 60_000
# From the last tick of a file to its first, where the replay begins again.
_LOOP_GAP = 1000


class BrokenLine(ValueError):
    """A file of prices that cannot be used; the message names file, line, column and rule."""

    def __init__(self, path: Path, line: int, column: str, rule: str) -> None:
        super().__init__(f"{path.name}, line {line}, {column}: {rule}")
        self.path = path
        self.line = line
        self.column = column
        self.rule = rule


@dataclass(frozen=True, slots=True)
class Series:
    """A symbol's ticks: milliseconds since the first one and prices in points.

    `period` is the time after which the first tick may follow again.
    """

    times: Sequence[int]
    bids: Sequence[int]
    asks: Sequence[int]
    period: int


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    at: int
    prices: Sequence[int]


def symbol_of(path: Path) -> str:
    """Return the symbol that a file's name begins with."""
    found = _SYMBOL.match(path.name)
    if found is None:
        raise BrokenLine(path, 0, "name", "begins with the symbol, such as eurusd-ticks.csv")
    return found[0].upper()


def read_series(paths: Sequence[Path], spec: Spec) -> Series:
    """Read all files of one symbol: ticks, or bars of bid with those of ask."""
    ticks = [path for path in paths if _columns(path) == TICKS]
    if len(ticks) == 1 and len(paths) == 1:
        return _tick_series(ticks[0], spec)
    if not ticks:
        return _bar_series(paths, spec)
    raise BrokenLine(paths[-1], 1, "header", f"one file of ticks for {spec.name}, and no bars")


def _columns(path: Path) -> Sequence[str]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        header = tuple(column.strip().lower() for column in next(csv.reader(file), []))
    if header not in {TICKS, BARS}:
        raise BrokenLine(path, 1, "header", f"{','.join(TICKS)} or {','.join(BARS)}")
    return header


def _tick_series(path: Path, spec: Spec) -> Series:
    rows = list(_rows(path, TICKS, spec))
    for row in rows:
        _not_crossed(path, row, row.prices[0], row.prices[1])
    first = rows[0].at
    return Series(
        [row.at - first for row in rows],
        [row.prices[0] for row in rows],
        [row.prices[1] for row in rows],
        rows[-1].at - first + _LOOP_GAP,
    )


def _bar_series(paths: Sequence[Path], spec: Spec) -> Series:
    bid_path, ask_path = _sides(paths, spec)
    bids, asks = (list(_rows(path, BARS, spec)) for path in (bid_path, ask_path))
    length = min((b.at - a.at for a, b in pairwise(bids)), default=_MINUTE)
    times: list[int] = []
    prices: list[tuple[int, int]] = []
    for bid, ask in zip(bids, asks, strict=False):
        if bid.at != ask.at:
            raise BrokenLine(ask_path, ask.line, "timestamp", f"as in {bid_path.name}")
        times += [bid.at - bids[0].at + part * length // _QUARTERS for part in range(_QUARTERS)]
        # Minute bars of real data cross now and then, their extremes being of different moments.
        prices += [
            (low, max(low, high))
            for low, high in zip(_path(bid, bid), _path(bid, ask), strict=True)
        ]
    if len(bids) != len(asks):
        raise BrokenLine(ask_path, asks[-1].line, "timestamp", f"as many as in {bid_path.name}")
    period = bids[-1].at - bids[0].at + length
    return Series(times, [pair[0] for pair in prices], [pair[1] for pair in prices], period)


def _sides(paths: Sequence[Path], spec: Spec) -> tuple[Path, Path]:
    sides = {found[0].lower(): path for path in paths if (found := _SIDE.search(path.name))}
    if len(paths) != len(("bid", "ask")) or set(sides) != {"bid", "ask"}:
        raise BrokenLine(
            paths[0], 0, "name", f"one file of bars for {spec.name} has bid in its name, one ask"
        )
    return sides["bid"], sides["ask"]


def _path(shape: _Row, row: _Row) -> tuple[int, int, int, int]:
    """Return a bar as four prices; a rising one goes down first, a falling one up."""
    start, high, low, end = row.prices
    rising = shape.prices[3] >= shape.prices[0]
    return (start, low, high, end) if rising else (start, high, low, end)


def _rows(path: Path, columns: Sequence[str], spec: Spec) -> Iterator[_Row]:
    """Yield the lines of a file, checked; a file without any is broken."""
    last: _Row | None = None
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        next(reader)
        for cells in reader:
            if not cells:
                continue
            row = _row(path, reader.line_num, columns, cells, spec)
            _after(path, last, row, strictly=columns == BARS)
            yield row
            last = row
    if last is None:
        raise BrokenLine(path, 2, "timestamp", "at least one line of prices")


def _row(path: Path, line: int, columns: Sequence[str], cells: Sequence[str], spec: Spec) -> _Row:
    if len(cells) != len(columns):
        raise BrokenLine(path, line, columns[-1], f"{len(columns)} columns, not {len(cells)}")

    def cell(column: int, read: Callable[[str], int]) -> int:
        try:
            return read(cells[column].strip())
        except ValueError as error:
            raise BrokenLine(path, line, columns[column], str(error)) from error

    prices = [cell(column, spec_points(spec)) for column in range(1, len(columns))]
    row = _Row(line, cell(0, _moment), prices)
    if columns == BARS and not prices[2] <= min(prices[0], prices[3]):
        raise BrokenLine(path, line, "low", "not above open and close")
    if columns == BARS and not prices[1] >= max(prices[0], prices[3]):
        raise BrokenLine(path, line, "high", "not below open and close")
    return row


def _moment(text: str) -> int:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"a time of ISO 8601, not {text!r}") from None
    if at.tzinfo is None:
        raise ValueError("a time with its offset, such as +00:00")
    return to_ms(at)


def spec_points(spec: Spec) -> Callable[[str], int]:
    """Return what reads a symbol's price as points."""

    def read(text: str) -> int:
        found = _PRICE.fullmatch(text)
        decimals = (found[2] or "").rstrip("0") if found else ""
        if found is None or len(decimals) > spec.digits:
            raise ValueError(f"a price with at most {spec.digits} decimals, not {text!r}")
        points = int(found[1] + decimals.ljust(spec.digits, "0"))
        if points == 0:
            raise ValueError("a price above 0")
        return points

    return read


def _after(path: Path, last: _Row | None, row: _Row, *, strictly: bool) -> None:
    if last is None or row.at > last.at or (row.at == last.at and not strictly):
        return
    raise BrokenLine(path, row.line, "timestamp", "not before the line above, bars after it")


def _not_crossed(path: Path, row: _Row, bid: int, ask: int) -> None:
    if ask < bid:
        raise BrokenLine(path, row.line, "ask", "not below the bid")
