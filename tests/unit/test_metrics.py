"""`Counters` adds up, in threads too, and writes what a scraper reads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from jobengine import Counters, InvalidArgument
from jobengine.metrics import CLAIMED, HANDLER_SECONDS, JOBS_HELD, METRICS, PRUNED


def test_counters_add_and_gauges_replace() -> None:
    counters = Counters()
    for value in (3, 4):
        counters(CLAIMED.name, value, {"queue": "a"})
        counters(JOBS_HELD.name, value, {})
    assert counters.value(CLAIMED.name, queue="a") == 7
    assert counters.value(CLAIMED.name, queue="b") == 0
    assert counters.value(JOBS_HELD.name) == 4


def test_the_order_of_labels_does_not_matter() -> None:
    counters = Counters()
    name = "jobengine_enqueued_total"
    counters(name, 1, {"job_type": "work", "verdict": "ok"})
    counters(name, 1, {"verdict": "ok", "job_type": "work"})
    assert counters.value(name, verdict="ok", job_type="work") == 2


def test_an_unknown_name_is_refused() -> None:
    for call in (lambda: Counters()("mine", 1, {}), lambda: Counters().value("mine")):
        with pytest.raises(InvalidArgument, match="METRICS"):
            call()


def test_threads_lose_nothing() -> None:
    counters = Counters()

    def add(_: int) -> None:
        for _ in range(2000):
            counters(PRUNED.name, 1, {})

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(add, range(8)))
    assert counters.value(PRUNED.name) == 16_000


def test_metrics_without_labels_stand_at_zero_from_the_start() -> None:
    lines = Counters().text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        f"{metric.name} 0" for metric in METRICS.values() if not metric.labels
    ]


def test_the_text_is_what_prometheus_reads() -> None:
    counters = Counters()
    counters(CLAIMED.name, 2, {"queue": "b"})
    counters(CLAIMED.name, 1, {"queue": 'a"\\\n'})
    counters(HANDLER_SECONDS.name, 0.25, {"job_type": "work"})
    text = counters.text()
    assert text.endswith("\n")
    assert (
        "# HELP jobengine_claimed_total Jobs that were claimed.\n"
        "# TYPE jobengine_claimed_total counter\n"
        'jobengine_claimed_total{queue="a\\"\\\\\\n"} 1\n'
        'jobengine_claimed_total{queue="b"} 2\n'
    ) in text
    assert 'jobengine_handler_seconds_total{job_type="work"} 0.25\n' in text
    assert "# TYPE jobengine_jobs_held gauge\n" in text


def test_names_and_help_are_as_prometheus_wants_them() -> None:
    for metric in METRICS.values():
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert "\n" not in metric.help
        assert "\\" not in metric.help
