"""A random market that is a function of its seed and the time, of nothing else.

A walk that adds step to step would have to be walked again after every start, and could not tell a
bar of ten years ago. Here time is a tree instead: a year's open, high, low and close are drawn from
the seed, and each part is drawn from its parent so that the parts' bars add up to the parent's.
Any tick and any bar is found by going down the tree; ranges shrink with the root of the time, as
in a random walk.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from forex_agent.simulated.market import Bar, Extremes, Quote
from forex_agent.simulated.symbols import KNOWN, Spec, known

TICK_MS = 500
_DAY = 86_400_000
# Parts of each level: a year of 364 days into 13 months of 4 weeks … 2 s into 4 ticks.
_PARTS = (13, 4, 7, 6, 4, 12, 5, 6, 5, 4)
_SPANS = tuple(364 * _DAY // math.prod(_PARTS[:level]) for level in range(len(_PARTS) + 1))
_LEAF = len(_PARTS) - 1
# The tree's years begin on a Sunday, as MetaTrader's weeks do.
_ORIGIN = -4 * _DAY
_YEARLY_DRIFT = 0.08
# The range of a random walk is 1.6 times its deviation.
_STEP = 1 / 1.6
_UNIFORM = 1 / 65536


class _Node(NamedTuple):
    open: float
    high: float
    low: float
    close: float


_Split: TypeAlias = Callable[[int, int], Sequence[_Node]]


class RandomWalk:
    """Prices for `symbols`, two ticks a second, with a fixed spread.

    The same seed gives the same ticks, for ever and on every machine; each symbol has a walk of
    its own, so cross rates do not agree with each other as a real broker's do.
    """

    def __init__(self, seed: int, symbols: Sequence[str | Spec] = ()) -> None:
        """`symbols` are known names or conditions of your own; none means all that are known."""
        specs = [known(name) if isinstance(name, str) else name for name in symbols or KNOWN]
        self._specs = {spec.name: spec for spec in specs}
        self._trees = {spec.name: _Tree(seed, spec) for spec in specs}

    @property
    def specs(self) -> Mapping[str, Spec]:
        """Return its symbols."""
        return self._specs

    def is_open(self, at: int) -> bool:  # noqa: ARG002  the protocol's
        """Return True: it never closes; see `WeekendClosed`."""
        return True

    def quote(self, symbol: str, at: int) -> Quote | None:
        """Return the tick of that half second."""
        bid = self._trees[symbol].tick(at // TICK_MS)
        return Quote(bid, bid + self._specs[symbol].spread, at - at % TICK_MS)

    def extremes(self, symbol: str, start: int, end: int) -> Extremes | None:
        """Return how far the ticks that began in that time went."""
        found = self.bar(symbol, start, end)
        if found is None:
            return None
        spread = self._specs[symbol].spread
        return Extremes(found.low, found.high, found.low + spread, found.high + spread)

    def bar(self, symbol: str, start: int, end: int) -> Bar | None:
        """Return the ticks that began in that time as one bar."""
        first, last = -(-start // TICK_MS), -(-end // TICK_MS)
        if first >= last:
            return None
        return self._trees[symbol].bar(first * TICK_MS, last * TICK_MS)


class _Tree:
    def __init__(self, seed: int, spec: Spec) -> None:
        self._spec = spec
        self._scale = 10.0**spec.digits
        self._hash = hashlib.shake_128(f"{seed}/{spec.name}/".encode())
        self._children: _Split = lru_cache(2048)(self._split)
        self._newest: tuple[int, tuple[int, ...]] = (0, ())

    def tick(self, slot: int) -> int:
        """Return the price of a slot, counted from 1970; that of the newest slots is at hand."""
        leaf, part = divmod(slot - _ORIGIN // TICK_MS, _PARTS[_LEAF])
        if self._newest[0] != leaf or not self._newest[1]:
            ticks = tuple(round(node.open) for node in self._children(_LEAF, leaf))
            self._newest = (leaf, ticks)
        return self._newest[1][part]

    def bar(self, start: int, end: int) -> Bar:
        """Return the whole slots of a stretch that is not empty."""
        nodes = list(self._cover(start - _ORIGIN, end - _ORIGIN))
        return Bar(
            round(nodes[0].open),
            round(max(node.high for node in nodes)),
            round(min(node.low for node in nodes)),
            round(nodes[-1].close),
            (end - start) // TICK_MS,
        )

    def _cover(self, start: int, end: int) -> Iterator[_Node]:
        """Yield the largest nodes that make up the stretch."""
        for year in range(start // _SPANS[0], -(-end // _SPANS[0])):
            yield from self._within(0, year, start, end)

    def _within(self, level: int, index: int, start: int, end: int) -> Iterator[_Node]:
        span = _SPANS[level]
        begin = index * span
        if start <= begin and begin + span <= end:
            yield self._node(level, index)
            return
        part, count = _SPANS[level + 1], _PARTS[level]
        first = max(0, (start - begin) // part)
        last = min(count, -(-(end - begin) // part))
        for child in range(first, last):
            yield from self._within(level + 1, index * count + child, start, end)

    def _node(self, level: int, index: int) -> _Node:
        if level == 0:
            return self._year(index)
        parent, part = divmod(index, _PARTS[level - 1])
        return self._children(level - 1, parent)[part]

    def _year(self, index: int) -> _Node:
        begin, end = self._turn(index), self._turn(index + 1)
        up, down = self._draw(-2, index, 2)
        reach = self._spec.volatility * max(begin, end) / 2
        high = max(begin, end) + reach * (0.3 + 0.7 * up)
        low = min(begin, end) - min(reach * (0.3 + 0.7 * down), min(begin, end) / 2)
        return _Node(begin, high, low, end)

    def _turn(self, index: int) -> float:
        (drift,) = self._draw(-1, index, 1)
        return self._spec.price * self._scale * (1 + _YEARLY_DRIFT * (2 * drift - 1))

    def _split(self, level: int, index: int) -> Sequence[_Node]:
        node, count = self._node(level, index), _PARTS[level]
        draws = self._draw(level, index, 3 * count)
        if level == _LEAF:
            return _ticks(node, draws)
        return _parts(node, count, draws)

    def _draw(self, level: int, index: int, count: int) -> list[float]:
        """Return numbers in [0, 1) that depend on the seed and the place alone."""
        state = self._hash.copy()
        state.update(struct.pack("<bq", level, index))
        digest = state.digest(2 * count)
        return [number * _UNIFORM for number in struct.unpack(f"<{count}H", digest)]


def _parts(node: _Node, count: int, draws: Sequence[float]) -> Sequence[_Node]:
    """Cut a node into `count` whose bars add up to it."""
    step = (node.high - node.low) * _STEP / math.sqrt(count)
    turns = _bridge(node, count, step, draws)
    highs, lows = [], []
    for part in range(count):
        begin, end = turns[part], turns[part + 1]
        above, below = draws[count + part], draws[2 * count + part]
        highs.append(min(node.high, max(begin, end) + 0.8 * step * above))
        lows.append(max(node.low, min(begin, end) - 0.8 * step * below))
    highs[highs.index(max(highs))] = node.high
    lows[lows.index(min(lows))] = node.low
    return [_Node(turns[i], highs[i], lows[i], turns[i + 1]) for i in range(count)]


def _bridge(node: _Node, count: int, step: float, draws: Sequence[float]) -> list[float]:
    """Walk from the node's open to its close and stay within its range."""
    moves = [step * 3.4 * (draws[part] - 0.5) for part in range(count)]
    lean = (node.close - node.open - sum(moves)) / count
    turns, price = [node.open], node.open
    for part in range(count - 1):
        price += moves[part] + lean
        turns.append(_reflected(price, node.low, node.high))
    return [*turns, node.close]


def _reflected(price: float, low: float, high: float) -> float:
    if price > high:
        price = 2 * high - price
    elif price < low:
        price = 2 * low - price
    return min(high, max(low, price))


def _ticks(node: _Node, draws: Sequence[float]) -> Sequence[_Node]:
    """Cut the smallest node into ticks: its open, its extremes in either order, its close."""
    between = (node.high, node.low) if draws[0] < 0.5 else (node.low, node.high)  # noqa: PLR2004  even odds
    return [_Node(price, price, price, price) for price in (node.open, *between, node.close)]
