"""What the library counts: the one table of metrics, and `Counters`, which adds them up.

`JobEngine(database, on_metric=callback)` calls `callback(name, value, labels)` once per call or
batch and kind, never once per job. A counter's value is to be added, a gauge's is the present one.
A callback runs in the event loop, so it must be quick; one that raises is logged once and otherwise
changes nothing. Without a callback nothing is counted and nothing costs time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from jobengine.errors import InvalidArgument

OnMetric: TypeAlias = Callable[[str, float, Mapping[str, str]], object]


@dataclass(frozen=True, slots=True)
class Metric:
    """One thing that is counted; every value of it comes with exactly these labels."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    labels: tuple[str, ...] = ()


def _counter(name: str, what: str, *labels: str) -> Metric:
    return Metric(f"jobengine_{name}_total", "counter", what, labels)


ENQUEUED = _counter(
    "enqueued",
    "Jobs that enqueue answered; a transaction of yours that is rolled back is not taken off.",
    *("job_type", "verdict"),
)
CLAIMED = _counter("claimed", "Jobs that were claimed.", "queue")
FINISHED = _counter(
    "finished",
    "Reports that were answered; the job type is empty where a program calls finish by itself.",
    *("job_type", "outcome", "verdict"),
)
HANDLER_RUNS = _counter("handler_runs", "Calls of handlers; a batch is one.", "job_type")
HANDLER_SECONDS = _counter("handler_seconds", "Time that handlers ran.", "job_type")
EXTENDED = _counter("extended", "Leases that were extended.")
LEASES_LOST = _counter("leases_lost", "Leases that extend or start found to be lost.")
RELEASED = _counter("released", "Jobs that were given back unused.")
SWEPT = _counter(
    "swept", "What sweeps did: jobs returned to wait, jobs ended, ends settled.", "what"
)
PRUNED = _counter("pruned", "Old jobs that were removed.")
RETRIED_CALLS = _counter(
    "retried_calls", "Calls of a worker that failed and are made again; outages show here.", "call"
)
LISTENER_RECONNECTS = _counter(
    "listener_reconnects", "Times that the listening connection was lost and opened again."
)
JOBS_HELD = Metric(
    "jobengine_jobs_held",
    "gauge",
    "Jobs that the workers of this engine hold: running, or about to run.",
)

METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        ENQUEUED,
        CLAIMED,
        FINISHED,
        HANDLER_RUNS,
        HANDLER_SECONDS,
        EXTENDED,
        LEASES_LOST,
        RELEASED,
        SWEPT,
        PRUNED,
        RETRIED_CALLS,
        LISTENER_RECONNECTS,
        JOBS_HELD,
    )
}

_Labels: TypeAlias = tuple[tuple[str, str], ...]


class Counters:
    """A callback for `on_metric` that adds up; any thread may read it.

    Engines may share one, but for the gauge: it shows the engine that spoke last. So two engines
    with workers in one process each have their own.
    """

    def __init__(self) -> None:
        """Metrics without labels begin at 0; others appear with their first value."""
        self._lock = threading.Lock()
        self._values: dict[tuple[str, _Labels], float] = {
            (metric.name, ()): 0.0 for metric in METRICS.values() if not metric.labels
        }

    def __call__(self, name: str, value: float, labels: Mapping[str, str]) -> None:
        """Take a value; `InvalidArgument` where `name` is not in `METRICS`."""
        key = name, _ordered(labels)
        adds = _known(name).kind == "counter"
        with self._lock:
            self._values[key] = value + (self._values.get(key, 0.0) if adds else 0.0)

    def value(self, name: str, **labels: str) -> float:
        """Return what was counted under exactly these labels; 0 where nothing was."""
        with self._lock:
            return self._values.get((_known(name).name, _ordered(labels)), 0.0)

    def text(self) -> str:
        """Return everything in the Prometheus text format, version 0.0.4."""
        with self._lock:
            values = sorted(self._values.items())
        return "".join(
            line
            for metric in METRICS.values()
            for line in _lines(metric, [(k[1], v) for k, v in values if k[0] == metric.name])
        )


def _known(name: str) -> Metric:
    if name not in METRICS:
        raise InvalidArgument("name", "a name of jobengine.metrics.METRICS")
    return METRICS[name]


def _ordered(labels: Mapping[str, str]) -> _Labels:
    return tuple(sorted(labels.items()))


def _lines(metric: Metric, values: list[tuple[_Labels, float]]) -> Iterator[str]:
    if values:
        yield f"# HELP {metric.name} {metric.help}\n# TYPE {metric.name} {metric.kind}\n"
    for labels, value in values:
        pairs = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels)
        yield f"{metric.name}{'{' + pairs + '}' if pairs else ''} {_number(value)}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)
