"""Ours against the peers, in the same runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeAlias

from benchmarks.peers.side import Side
from benchmarks.peers.sides import GRAPHILE, JOBENGINE, JOBENGINE_BATCH, SIDES
from benchmarks.report import Ratio, Sample

Samples: TypeAlias = Mapping[str, Mapping[int, Sample]]
"""Of a workload: by the side's name and the run."""


@dataclass(frozen=True, slots=True)
class Aim:
    """`side` against the best of those of `against`; `less`: the smaller figure is the better."""

    workload: str
    side: Side
    against: Callable[[Side], bool]
    who: str
    aim: float | None = None
    floor: float | None = None
    column: str = "jobs_per_second"
    less: bool = False


def _peer(side: Side) -> bool:
    return not side.ours


def _postgres(side: Side) -> bool:
    return _peer(side) and not side.redis


def _python(side: Side) -> bool:
    return _postgres(side) and side.python


def _graphile(side: Side) -> bool:
    return side is GRAPHILE


_BEST = "the best PostgreSQL peer, "
AIMS = (
    Aim("drain-1", JOBENGINE, _graphile, "", 1.0, 0.55),
    Aim("drain-1", JOBENGINE_BATCH, _graphile, "", 1.25, 0.9),
    Aim("drain-4", JOBENGINE, _peer, "the best peer, ", 1.1, 0.8),
    Aim("drain-4", JOBENGINE_BATCH, _peer, "the best peer, ", 1.1, 0.8),
    Aim("enqueue-64", JOBENGINE, _postgres, _BEST, 4.0, 2.0),
    Aim("bulk", JOBENGINE, _peer, "the best peer, ", 2.0, 1.1),
    *(
        aim
        for column in ("call_p50_ms", "call_p99_ms")
        for aim in (
            Aim("latency", JOBENGINE, _postgres, _BEST, 1.0, None, column, less=True),
            Aim(
                "latency",
                JOBENGINE,
                _python,
                "the best Python peer, ",
                None,
                1.0,
                column,
                less=True,
            ),
        )
    ),
)


def ratios(workload: str, samples: Samples) -> list[Ratio]:
    """Return those of the aims that these samples can answer."""
    found = (_ratio(aim, samples) for aim in AIMS if aim.workload == workload)
    return [ratio for ratio in found if ratio is not None]


def _ratio(aim: Aim, samples: Samples) -> Ratio | None:
    best = _best(aim, samples)
    ours = samples.get(aim.side.name, {})
    if best is None or not (runs := sorted(ours.keys() & samples[best].keys())):
        return None
    peer = samples[best]
    values = [_of(ours[run], aim) / _of(peer[run], aim) for run in runs]
    if aim.less:
        values = [1 / value for value in values]
    return Ratio(_name(aim, best), values, aim.aim, aim.floor)


def _best(aim: Aim, samples: Samples) -> str | None:
    """Return the peer with the best median."""
    middles = {
        side.name: median(_of(sample, aim) for sample in samples[side.name].values())
        for side in SIDES
        if aim.against(side) and samples.get(side.name)
    }
    if not middles:
        return None
    return (min if aim.less else max)(middles, key=lambda name: middles[name])


def _name(aim: Aim, best: str) -> str:
    pair = (f"{aim.who}{best}", aim.side.name)
    first, second = pair if aim.less else pair[::-1]
    what = f"{aim.column}: " if aim.less else ""
    return f"{what}{first} / {second}"


def _of(sample: Sample, aim: Aim) -> float:
    value = sample[aim.column]
    assert value is not None
    return value


def in_order(samples: Samples) -> dict[str, Sequence[Sample]]:
    """Return the samples of each side, run by run, as reports hold them."""
    return {name: [runs[run] for run in sorted(runs)] for name, runs in samples.items()}
