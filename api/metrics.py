"""What the service counts, as Prometheus reads it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0)

Source: TypeAlias = Callable[[], str]
"""Another part's metrics, as text in the same format."""

_Request: TypeAlias = tuple[str, str, int]


@dataclass(slots=True)
class Metrics:
    """The counters of one process."""

    requests: Counter[_Request] = field(default_factory=Counter)
    seconds: Counter[str] = field(default_factory=Counter)
    within: Counter[tuple[str, float]] = field(default_factory=Counter)
    jobs_delivered: int = 0
    jobs_given_back: int = 0
    prices: int = 0
    answers_awaited: int = 0
    alerts: Counter[str] = field(default_factory=Counter)
    waiting: Callable[[], int] = lambda: 0
    sources: list[Source] = field(default_factory=list)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request by its route's template; never by its path, which may hold a secret."""
        self.requests[method, route, status] += 1
        self.seconds[route] += seconds  # type: ignore[assignment]  # a Counter adds floats as well
        for bucket in BUCKETS:
            self.within[route, bucket] += seconds <= bucket

    def text(self) -> str:
        """Return all of it."""
        return "\n".join([*self._lines(), *(source().rstrip("\n") for source in self.sources), ""])

    def _lines(self) -> Iterator[str]:
        yield from family("api_requests_total", "counter", self._requests())
        yield from family("api_request_seconds", "histogram", self._seconds())
        yield from family("api_jobs_delivered_total", "counter", [("", self.jobs_delivered)])
        yield from family("api_jobs_given_back_total", "counter", [("", self.jobs_given_back)])
        yield from family("api_prices_total", "counter", [("", self.prices)])
        yield from family("api_alerts_total", "counter", self._alerts())
        yield from family("api_polls_waiting", "gauge", [("", self.waiting())])
        yield from family("api_answers_awaited", "gauge", [("", self.answers_awaited)])

    def _alerts(self) -> Iterator[tuple[str, float]]:
        for outcome, count in sorted(self.alerts.items()):
            yield f'{{outcome="{outcome}"}}', count

    def _requests(self) -> Iterator[tuple[str, float]]:
        for (method, route, status), count in sorted(self.requests.items()):
            yield f'{{method="{method}",route="{route}",status="{status}"}}', count

    def _seconds(self) -> Iterator[tuple[str, float]]:
        counts: Counter[str] = Counter()
        for (_, route, _), count in self.requests.items():
            counts[route] += count
        for route, count in sorted(counts.items()):
            for bucket in BUCKETS:
                label = f'_bucket{{route="{route}",le="{bucket:g}"}}'
                yield label, self.within[route, bucket]
            yield f'_bucket{{route="{route}",le="+Inf"}}', count
            yield f'_sum{{route="{route}"}}', round(self.seconds[route], 6)
            yield f'_count{{route="{route}"}}', count


def family(name: str, kind: str, samples: Iterable[tuple[str, float]]) -> Iterator[str]:
    yield f"# TYPE {name} {kind}"
    for suffix, value in samples:
        yield f"{name}{suffix} {value}"
