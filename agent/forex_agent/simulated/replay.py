"""A market that plays files of real prices, at their pace or faster, again and again."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from forex_agent.simulated.clock import to_ms
from forex_agent.simulated.csv_files import Series, read_series, symbol_of
from forex_agent.simulated.market import Bar, Extremes, Quote
from forex_agent.simulated.symbols import Spec, usual

# A Monday. Fixed, so that the price goes on where it was when a process starts again.
_ANCHOR = datetime(2024, 1, 1, tzinfo=UTC)
_BLOCK = 256


class Replay:
    """The `*.csv` files of a folder; `csv_files` says what is in them.

    The files follow themselves without end in both directions, each symbol after its own length,
    so there are always bars of the past. Ticks carry the time at which they are played.
    """

    def __init__(
        self,
        folder: Path,
        *,
        speed: float = 1.0,
        start: datetime | None = None,
        specs: Sequence[Spec] = (),
    ) -> None:
        """Read all files; `BrokenLine` names what is wrong with one.

        `speed` 60 plays an hour in a minute. `start` is when each symbol's first line is played, by
        default a fixed moment. `specs` are conditions of your own for some symbols.
        """
        if not (math.isfinite(speed) and speed > 0):
            raise ValueError("speed: above 0")
        own = {spec.name: spec for spec in specs}
        files = _by_symbol(folder)
        self._specs = {name: own.get(name) or usual(name) for name in files}
        self._tracks = {
            name: _Track(read_series(paths, self._specs[name])) for name, paths in files.items()
        }
        self._speed = speed
        self._start = to_ms(start or _ANCHOR)

    @property
    def specs(self) -> Mapping[str, Spec]:
        """Return the symbols that the files have."""
        return self._specs

    def is_open(self, at: int) -> bool:  # noqa: ARG002  the protocol's
        """Return True: whenever it plays, it is open."""
        return True

    def quote(self, symbol: str, at: int) -> Quote | None:
        """Return the newest tick that was played by then."""
        track = self._tracks[symbol]
        index = track.played(self._place(at)) - 1
        bid, ask, place = track.tick(index)
        return Quote(bid, ask, min(at, self._start + math.ceil(place / self._speed)))

    def extremes(self, symbol: str, start: int, end: int) -> Extremes | None:
        """Return how far the ticks went that were played in that time."""
        track = self._tracks[symbol]
        first, last = self._played(track, start, end)
        if first >= last:
            return None
        bids, asks = track.bids.range(first, last), track.asks.range(first, last)
        return Extremes(*bids, *asks)

    def bar(self, symbol: str, start: int, end: int) -> Bar | None:
        """Return the ticks that were played in that time as one bar."""
        track = self._tracks[symbol]
        first, last = self._played(track, start, end)
        if first >= last:
            return None
        low, high = track.bids.range(first, last)
        return Bar(track.tick(first)[0], high, low, track.tick(last - 1)[0], last - first)

    def _played(self, track: _Track, start: int, end: int) -> tuple[int, int]:
        """Return the ticks of a stretch by their numbers, which go on from loop to loop."""
        return track.played(self._place(start - 1)), track.played(self._place(end - 1))

    def _place(self, at: int) -> int:
        """Return how far the replay is, in milliseconds of the files."""
        return math.floor((at - self._start) * self._speed)


class _Track:
    """One symbol's ticks without end."""

    def __init__(self, series: Series) -> None:
        self._times = series.times
        self._period = series.period
        self.bids = _Prices(series.bids)
        self.asks = _Prices(series.asks)

    def played(self, place: int) -> int:
        """Return how many ticks there are up to a place, counted from the first loop's first."""
        loop, offset = divmod(place, self._period)
        return loop * len(self._times) + bisect_right(self._times, offset)

    def tick(self, number: int) -> tuple[int, int, int]:
        """Return bid, ask and place of a tick."""
        loop, index = divmod(number, len(self._times))
        return self.bids[index], self.asks[index], loop * self._period + self._times[index]


class _Prices:
    """Prices whose extremes over any stretch are found without looking at each."""

    def __init__(self, values: Sequence[int]) -> None:
        self._values = values
        blocks = [values[at : at + _BLOCK] for at in range(0, len(values), _BLOCK)]
        self._lows = [min(block) for block in blocks]
        self._highs = [max(block) for block in blocks]

    def __getitem__(self, index: int) -> int:
        return self._values[index]

    def range(self, first: int, last: int) -> tuple[int, int]:
        """Return the lowest and highest of the numbers `first … last - 1`, which loop."""
        count = len(self._values)
        if last - first >= count:
            return min(self._lows), max(self._highs)
        begin = first % count
        end = begin + last - first
        if end <= count:
            return self._within(begin, end)
        head, tail = self._within(begin, count), self._within(0, end - count)
        return min(head[0], tail[0]), max(head[1], tail[1])

    def _within(self, begin: int, end: int) -> tuple[int, int]:
        left, right = -(-begin // _BLOCK), end // _BLOCK
        if left >= right:
            part = self._values[begin:end]
            return min(part), max(part)
        edges = [*self._values[begin : left * _BLOCK], *self._values[right * _BLOCK : end]]
        lows, highs = self._lows[left:right], self._highs[left:right]
        return min([*edges, *lows]), max([*edges, *highs])


def _by_symbol(folder: Path) -> Mapping[str, Sequence[Path]]:
    """Return the folder's files by symbol; a folder without any is wrong usage."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*.csv")):
        found.setdefault(symbol_of(path), []).append(path)
    if not found:
        raise ValueError(f"folder: no *.csv file in {folder}")
    return found
