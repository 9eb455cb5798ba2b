"""Measures the cases of a scenario in turn, and sets them against each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.progress import say
from benchmarks.report import Column, Ratio, Result, Sample
from benchmarks.scenario import Lab

Samples = Mapping[str, Sequence[Sample]]


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table, and how a sample of it is taken."""

    name: str
    measure: Callable[[], Sample]


@dataclass(frozen=True, slots=True)
class Against:
    """A ratio to show: a figure of one case over the same one of another, run by run.

    For a figure of which less is better, name the other case first.
    """

    first: str
    second: str
    key: str
    floor: float | None = None
    aim: float | None = None

    def ratio(self, samples: Samples) -> Ratio:
        """Divide them."""
        pairs = zip(samples[self.first], samples[self.second], strict=True)
        values = [figure(a, self.key) / figure(b, self.key) for a, b in pairs]
        what = "" if self.key == "jobs_per_second" else f"{self.key}, "
        name = f"{what}{self.first} / {self.second}, same run"
        return Ratio(name, values, self.aim, self.floor)


def alternate(lab: Lab, scenario: str, cases: Sequence[Case]) -> dict[str, list[Sample]]:
    """Measure every case once per run, there and back again: a drift favours nobody."""
    samples: dict[str, list[Sample]] = {case.name: [] for case in cases}
    for number in range(lab.runs):
        for case in cases if number % 2 == 0 else reversed(cases):
            sample = case.measure()
            samples[case.name].append(sample)
            say(f"{scenario} {number + 1}/{lab.runs}: {case.name}: {_shown(sample)}")
    return samples


def table(
    scenario: str,
    question: str,
    columns: Sequence[Column],
    samples: Samples,
    against: Sequence[Against] = (),
) -> Result:
    """Put the samples together; a ratio whose cases were not measured is left out."""
    ratios = [a.ratio(samples) for a in against if {a.first, a.second} <= samples.keys()]
    return Result(scenario, question, columns, samples, ratios)


def figure(sample: Sample, key: str) -> float:
    """Return what must have been measured."""
    value = sample[key]
    if value is None:
        raise AssertionError(f"{key} was not measured")
    return value


def _shown(sample: Sample) -> str:
    key, value = next(iter(sample.items()))
    return f"{key} {'n/a' if value is None else format(value, ',.1f')}"
