"""Sets two reports against each other: `python -m benchmarks.compare OLD.json NEW.json`.

Ends with 1 where a figure has become worse by more than its tolerance, with 2 where the reports
cannot be compared, else with 0. Compared are the medians of all ratios, and of rates, median
latencies and what a job costs, per case. The tolerance is the mean of both spreads (half of least
to most, over the median), but at least 15 %: a noisy figure has to change more.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

Report: TypeAlias = Mapping[str, Any]

TOLERANCE = 0.15
# What must be equal, or figures say nothing of each other.
_SAME = {
    "machine": ("processor", "cores", "memory"),
    "server": None,
    "run": ("size", "seconds"),
}


@dataclass(frozen=True, slots=True)
class Figure:
    """The samples of a figure, and whether more of it is better."""

    values: Sequence[float]
    more: bool

    @property
    def spread(self) -> float:
        """Half of the way from the least to the most, over the median."""
        middle = median(self.values)
        return (max(self.values) - min(self.values)) / 2 / abs(middle) if middle else 0.0


@dataclass(frozen=True, slots=True)
class Change:
    """A figure of both reports."""

    name: str
    old: Figure
    new: Figure
    least: float

    @property
    def gain(self) -> float:
        """How much better the new one is: 1 as good, 2 twice as good."""
        old, new = median(self.old.values), median(self.new.values)
        better, worse = (new, old) if self.new.more else (old, new)
        return better / worse if worse > 0 else 1.0

    @property
    def tolerance(self) -> float:
        """Which share it may become worse by."""
        return max(self.least, (self.old.spread + self.new.spread) / 2)

    @property
    def regressed(self) -> bool:
        return self.gain < 1 - self.tolerance

    @property
    def improved(self) -> bool:
        return self.gain > 1 / (1 - min(self.tolerance, 0.9))

    def __str__(self) -> str:
        """For people."""
        old, new = median(self.old.values), median(self.new.values)
        shown = f"{old:,.4g} → {new:,.4g}, {self.gain:.2f} times as good"
        return f"{self.name}: {shown} (tolerance {self.tolerance:.0%})"


def differences(old: Report, new: Report) -> list[str]:
    """Name what makes the reports incomparable."""
    found: list[str] = []
    for part, names in _SAME.items():
        was, now = old.get(part, {}), new.get(part, {})
        found += [
            f"{part} {name}: {was.get(name)} / {now.get(name)}"
            for name in names or sorted({*was, *now})
            if was.get(name) != now.get(name)
        ]
    return found


def changes(old: Report, new: Report, least: float = TOLERANCE) -> list[Change]:
    """Return every figure that both have."""
    was, now = dict(_figures(old)), dict(_figures(new))
    return [Change(name, was[name], now[name], least) for name in was if name in now]


def missing(old: Report, new: Report) -> list[str]:
    """Name the figures of scenarios in both that only the old one has."""
    scenarios = {result["scenario"] for result in new["results"]}
    now = dict(_figures(new))
    return [
        name
        for name, _ in _figures(old)
        if name not in now and name.partition(": ")[0] in scenarios
    ]


def _figures(report: Report) -> Iterator[tuple[str, Figure]]:
    for result in report["results"]:
        scenario = result["scenario"]
        for ratio in result["ratios"]:
            yield f"{scenario}: {ratio['name']}", Figure(ratio["values"], more=True)
        for column in result["columns"]:
            for case, samples in result["samples"].items():
                values = [v for s in samples if (v := s.get(column["key"])) is not None]
                if values and column.get("better"):
                    name = f"{scenario}: {case}: {column['heading']}"
                    yield name, Figure(values, more=column["better"] == "more")


def main(arguments: Sequence[str]) -> int:
    """Compare, print, and return the exit code."""
    wanted = _parser().parse_args(arguments)
    try:
        old, new = (json.loads(file.read_text()) for file in (wanted.old, wanted.new))
    except (OSError, ValueError) as error:
        print(f"compare: {error}", file=sys.stderr)
        return 2
    if (other := differences(old, new)) and not wanted.force:
        said = "\n".join(["compare: not comparable (--force does it all the same):", *other])
        print(said, file=sys.stderr)
        return 2
    return _tell(changes(old, new, wanted.tolerance), missing(old, new))


def _tell(found: Sequence[Change], gone: Sequence[str]) -> int:
    """Print what changed; 1 where something has become worse."""
    worse = [change for change in found if change.regressed]
    better = [change for change in found if change.improved]
    for heading, lines in (("worse", worse), ("better", better), ("not measured any more", gone)):
        if lines:
            print("\n".join([f"{heading}:", *(f"  {line}" for line in lines)]))
    print(f"{len(found)} figures compared: {len(worse)} worse, {len(better)} better")
    return 1 if worse else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare", description="Find what has become slower."
    )
    parser.add_argument("old", type=Path, help="report of `--json`, before")
    parser.add_argument("new", type=Path, help="report of `--json`, after")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=TOLERANCE,
        metavar="SHARE",
        help=f"worse by less is none, whatever the spread ({TOLERANCE})",
    )
    parser.add_argument("--force", action="store_true", help="of different machines too")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
