"""What a scenario found: samples per case, shown as medians with their spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, TypeAlias

Sample: TypeAlias = Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class Column:
    """A figure of the table: its key in the samples, its heading, how many digits."""

    key: str
    heading: str
    digits: int = 0


@dataclass(frozen=True, slots=True)
class Ratio:
    """Two cases of the same run against each other; `aim` is what the median should reach."""

    name: str
    values: Sequence[float]
    aim: float | None = None

    @property
    def met(self) -> bool | None:
        return None if self.aim is None else median(self.values) >= self.aim


@dataclass(frozen=True, slots=True)
class Result:
    """The samples of a scenario, one per run and case."""

    scenario: str
    question: str
    columns: Sequence[Column]
    samples: Mapping[str, Sequence[Sample]]
    ratios: Sequence[Ratio] = ()
    notes: Sequence[str] = field(default_factory=list)


def as_json(about: Mapping[str, Mapping[str, str]], results: Sequence[Result]) -> dict[str, Any]:
    """Everything, each single sample too."""
    return {**about, "results": [asdict(result) for result in results]}


def as_markdown(about: Mapping[str, Mapping[str, str]], results: Sequence[Result]) -> str:
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
        [case, *(_cell([s[c.key] for s in samples], c.digits) for c in result.columns)]
        for case, samples in result.samples.items()
    ]
    marks = ["---", *("---:" for _ in result.columns)]
    return ["| " + " | ".join(row) + " |" for row in (headings, marks, *rows)]


def _cell(values: Sequence[float | None], digits: int) -> str:
    known = [value for value in values if value is not None]
    return _spread(known, digits) if known else "n/a"


def _ratio(ratio: Ratio) -> str:
    text = f"{ratio.name}: {_spread(ratio.values, 2)}"
    if ratio.aim is None:
        return text
    return f"{text}; aim {ratio.aim:g}: {'met' if ratio.met else 'missed'}"


def _spread(values: Sequence[float], digits: int) -> str:
    """Median and, of several, the least and the greatest."""
    low, middle, high = (f"{v:,.{digits}f}" for v in (min(values), median(values), max(values)))
    return middle if len(values) == 1 else f"{middle} [{low}-{high}]"
