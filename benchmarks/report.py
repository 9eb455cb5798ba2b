"""What a scenario found: samples per case, shown as medians with their spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, Literal, TypeAlias

Sample: TypeAlias = Mapping[str, float | None]
Better: TypeAlias = Literal["more", "less"]
About: TypeAlias = Mapping[str, Mapping[str, str]]

# What `compare` judges where a column does not say it: the end of its key.
_MORE = ("per_second",)
_LESS = ("p50_ms", "_per_job")


@dataclass(frozen=True, slots=True)
class Column:
    """A figure of the table: its key in the samples, its heading, how many digits.

    `better` is what `compare` holds against it; None: see `judged`.
    """

    key: str
    heading: str
    digits: int = 0
    better: Better | None = None

    @property
    def judged(self) -> Better | None:
        """Which way is better; None for figures that no one should compare."""
        if self.better is not None:
            return self.better
        return "more" if self.key.endswith(_MORE) else "less" if self.key.endswith(_LESS) else None


@dataclass(frozen=True, slots=True)
class Ratio:
    """Two cases of the same run against each other, the more the better.

    The median has to reach `floor` and should reach `aim`.
    """

    name: str
    values: Sequence[float]
    aim: float | None = None
    floor: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the aim is reached; None without one."""
        return None if self.aim is None else median(self.values) >= self.aim

    @property
    def held(self) -> bool | None:
        """Whether the floor is reached; None without one."""
        return None if self.floor is None else median(self.values) >= self.floor


@dataclass(frozen=True, slots=True)
class Lines:
    """A figure over another one, for a plot: points (x, y) per line."""

    title: str
    x: str
    y: str
    points: Mapping[str, Sequence[tuple[float, float]]]


@dataclass(frozen=True, slots=True)
class Result:
    """The samples of a scenario, one per run and case."""

    scenario: str
    question: str
    columns: Sequence[Column]
    samples: Mapping[str, Sequence[Sample]]
    ratios: Sequence[Ratio] = ()
    notes: Sequence[str] = field(default_factory=list)
    lines: Sequence[Lines] = ()


def as_json(about: About, results: Sequence[Result]) -> dict[str, Any]:
    """Everything, each single sample too."""
    return {**about, "results": [_result(result) for result in results]}


def _result(result: Result) -> dict[str, Any]:
    columns = [{**asdict(column), "better": column.judged} for column in result.columns]
    return {**asdict(result), "columns": columns}


def as_markdown(about: About, results: Sequence[Result]) -> str:
    """The report for people."""
    head = [f"{part}: {_listed(facts)}  " for part, facts in about.items()]
    return "\n".join([*head, *(line for result in results for line in _section(result))]) + "\n"


def _listed(facts: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in facts.items())


def _section(result: Result) -> list[str]:
    lines = ["", f"## {result.scenario}", "", result.question, "", *_table(result)]
    if result.ratios:
        lines += ["", *(f"- {_ratio(ratio)}" for ratio in result.ratios)]
    if result.notes:
        lines += ["", *(f"- {note}" for note in result.notes)]
    return lines


def _table(result: Result) -> list[str]:
    headings = ["case", *(column.heading for column in result.columns)]
    rows = [
        [case, *(_cell([s.get(c.key) for s in samples], c.digits) for c in result.columns)]
        for case, samples in result.samples.items()
    ]
    marks = ["---", *("---:" for _ in result.columns)]
    return ["| " + " | ".join(row) + " |" for row in (headings, marks, *rows)]


def _cell(values: Sequence[float | None], digits: int) -> str:
    known = [value for value in values if value is not None]
    return _spread(known, digits) if known else "n/a"


def _ratio(ratio: Ratio) -> str:
    limits = (("floor", ratio.floor, ratio.held), ("aim", ratio.aim, ratio.met))
    said = [
        f"{name} {limit:g}: {'met' if reached else 'missed'}"
        for name, limit, reached in limits
        if limit is not None
    ]
    return "; ".join([f"{ratio.name}: {_spread(ratio.values, 2)}", *said])


def _spread(values: Sequence[float], digits: int) -> str:
    """Median and, of several, the least and the greatest."""
    low, middle, high = (f"{v:,.{digits}f}" for v in (min(values), median(values), max(values)))
    return middle if len(values) == 1 else f"{middle} [{low}-{high}]"
