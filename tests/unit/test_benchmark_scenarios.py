"""Each scenario of the engine runs from end to end, in a tiny size, and measures what it says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import psycopg
import pytest

from benchmarks import __main__ as benchmarks
from benchmarks.backlog import Backlog
from benchmarks.callers import call
from benchmarks.database import JOB_TYPE, Database, database
from benchmarks.latencies import percentiles
from benchmarks.plots import write_plots
from benchmarks.report import Column, Lines, Ratio, Result, Sample, as_markdown
from benchmarks.rounds import Against, Case, alternate
from benchmarks.scenario import Lab
from benchmarks.server import Server

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def server(admin_url: str) -> Server:
    return Server(url=admin_url, admin_url=admin_url, pid=None)


@pytest.fixture
def target(server: Server) -> Iterator[Database]:
    with database(server) as made:
        yield made


@pytest.fixture
def told(
    request: pytest.FixtureRequest,
    admin_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, Any]:
    """The report of the scenario that the test names."""
    monkeypatch.setenv("DATABASE_URL", admin_url)
    file = tmp_path / "report.json"
    benchmarks.main([request.param, "--quick", "--json", str(file)])
    report = json.loads(file.read_text())
    assert report["run"]["size"] == "tiny"
    result: dict[str, Any] = report["results"][0]
    first = result["columns"][0]["key"]
    assert all(s[first] > 0 for samples in result["samples"].values() for s in samples)
    return result


def figures(told: dict[str, Any], key: str) -> dict[str, Any]:
    return {case: sample[key] for case, (sample,) in told["samples"].items()}


@pytest.mark.parametrize("told", ["enqueue"], indirect=True)
def test_enqueue(told: dict[str, Any]) -> None:
    assert list(told["samples"]) == [
        "pgbench, 1 client",
        "JobEngine.enqueue, 1 caller",
        "pgbench, 8 clients",
        "JobEngine.enqueue, 8 callers",
    ]
    assert set(figures(told, "dead_per_job").values()) == {0}
    assert (told["ratios"][0]["floor"], told["ratios"][0]["aim"]) == (0.6, 0.8)


@pytest.mark.parametrize("told", ["claimers"], indirect=True)
def test_claimers(told: dict[str, Any]) -> None:
    # A job leaves a dead row in `ready` and one in `lease`.
    assert set(figures(told, "dead_per_job").values()) == {2}
    assert len(told["lines"][0]["points"]) == 2


@pytest.mark.parametrize("told", ["latency"], indirect=True)
def test_latency(told: dict[str, Any]) -> None:
    steady = told["samples"]["20 jobs/s"][0]
    half = told["samples"]["half of the capacity"][0]
    capacity = told["samples"]["capacity, 64 callers"][0]

    assert half["jobs_per_second"] == capacity["jobs_per_second"] / 2
    # Below zero where a handler was called before the answer to `enqueue` was read.
    assert steady["p50_ms"] <= steady["p99_ms"] <= steady["max_ms"]
    assert steady["call_p50_ms"] > steady["p50_ms"]


@pytest.mark.parametrize("told", ["wait"], indirect=True)
def test_wait(told: dict[str, Any]) -> None:
    assert set(told["samples"]) == {"1 caller", "8 callers"}


@pytest.mark.parametrize("told", ["settle"], indirect=True)
def test_settle(told: dict[str, Any]) -> None:
    dead = figures(told, "dead_per_job")

    assert dead["no settle function, batch 100"] == 1
    # Each of two parents has an old version per batch of 100; a lock leaves none.
    assert 1 < dead["500 children per parent, batch 100"] < 1.1
    assert len(told["ratios"]) == 2


@pytest.mark.parametrize("told", ["tenants"], indirect=True)
def test_tenants(told: dict[str, Any]) -> None:
    left = figures(told, "left")

    assert left.pop("quiet tenants alone") == 0
    assert all(left.values())


@pytest.mark.parametrize("told", ["backlog"], indirect=True)
def test_backlog(told: dict[str, Any]) -> None:
    assert [(r["floor"], r["aim"]) for r in told["ratios"]] == [(0.9, 0.97)] * 2


@pytest.mark.parametrize("told", ["horizon"], indirect=True)
def test_horizon(told: dict[str, Any]) -> None:
    assert [(r["floor"], r["aim"]) for r in told["ratios"]] == [(0.5, 0.9), (1.0, 2.0)] * 2
    (lines,) = told["lines"]
    assert set(lines["points"]) == set(told["samples"])


def test_a_backlog_is_of_jobs_as_enqueue_writes_them(target: Database) -> None:
    backlog = Backlog(target, 50)

    with psycopg.connect(target.admin_url) as conn:
        (kinds,) = conn.execute(
            "select count(distinct (to_jsonb(j) - 'job_id', to_jsonb(r) - 'job_id')), count(*),"
            " bool_and(j.job_type = %s) from jobengine.job j join jobengine.ready r using (job_id)",
            [JOB_TYPE],
        ).fetchall()
    assert kinds == (1, 50, True)

    with psycopg.connect(target.admin_url) as conn:
        conn.execute(
            "delete from jobengine.ready where ctid in (select ctid from jobengine.ready limit 9)"
        )
    backlog.fill()

    target.check(ended=0, left=50)


def test_a_job_that_is_nowhere_is_refused(target: Database) -> None:
    target.prepare(3)
    with psycopg.connect(target.admin_url) as conn:
        conn.execute(
            "delete from jobengine.ready where ctid in (select ctid from jobengine.ready limit 1)"
        )

    with pytest.raises(AssertionError, match="of 3 jobs 0 have ended and 2 have not"):
        target.ended()


def test_callers_count_what_they_did() -> None:
    async def once(caller: int) -> int:
        await asyncio.sleep(0)
        return caller

    done = asyncio.run(call(once, callers=3, seconds=0.02))

    assert 0 < done.counted <= done.total
    assert len(done.took) > 0


def test_a_caller_that_fails_ends_the_measurement() -> None:
    async def once(caller: int) -> int:
        if caller == 1:
            raise LookupError("broken")
        await asyncio.sleep(0.001)
        return 1

    with pytest.raises(LookupError, match="broken"):
        asyncio.run(call(once, callers=2, seconds=60))


def test_percentiles() -> None:
    found = percentiles([n / 1000 for n in range(100, 0, -1)], "call_")

    assert found == {"call_p50_ms": 51.0, "call_p99_ms": 100.0, "call_max_ms": 100.0}


def test_rounds_go_there_and_back_again_and_divide_run_by_run(server: Server) -> None:
    order = []

    def case(name: str) -> Case:
        def measure() -> dict[str, float]:
            order.append(name)
            return {"jobs_per_second": len(order)}

        return Case(name, measure)

    samples = alternate(Lab(server, runs=2, quick=False), "some", [case("a"), case("b")])

    assert order == ["a", "b", "b", "a"]
    ratio = Against("a", "b", "jobs_per_second", floor=0.5, aim=2.0).ratio(samples)
    assert list(ratio.values) == [1 / 2, 4 / 3]
    assert (ratio.held, ratio.met) == (True, False)


def test_a_report_shows_floor_and_aim() -> None:
    result = Result("name", "Why?", (), {}, [Ratio("a / b", [0.5], 0.8, 0.45)])

    assert "- a / b: 0.50; floor 0.45: met; aim 0.8: missed" in as_markdown({}, [result])


def test_sizes(server: Server) -> None:
    tiny, daily, full = (
        Lab(server, runs=1, quick=quick, daily=daily)
        for quick, daily in ((True, True), (False, True), (False, False))
    )

    assert [lab.sized(full=3, daily=2, quick=1) for lab in (tiny, daily, full)] == [1, 2, 3]
    asked = Lab(server, runs=1, quick=True, duration=7.0)
    assert asked.seconds(full=3, daily=2, quick=1) == 7.0


def test_quick_is_a_suite_of_known_scenarios() -> None:
    assert benchmarks._names(["quick"]) == (list(benchmarks.DAILY), True)
    assert benchmarks._names([]) == (list(benchmarks.SCENARIOS), False)
    assert set(benchmarks.DAILY) <= set(benchmarks.SCENARIOS)


def test_plots(tmp_path: Path) -> None:
    columns = (Column("rate", "jobs/s"),)
    samples: dict[str, list[Sample]] = {
        "a < b": [{"rate": 10.0}, {"rate": 30.0}],
        "c": [{"rate": 20.0}],
        "d": [{}],
    }
    lines = Lines("Title", "x", "y", {"one": [(1, 2), (3, 4)], "two": [(1, 1)]})

    written = write_plots(tmp_path / "plots", [Result("s", "?", columns, samples, lines=[lines])])

    assert [file.name for file in written] == ["s.svg", "s-1.svg"]
    bars, plot = (ET.parse(file).getroot() for file in written)  # noqa: S314 - our own
    # The ground and a bar per case that was measured, as long as their medians are to each other.
    _, first, second = (float(r.get("width", "0").rstrip("%")) for r in bars.iter(f"{SVG}rect"))
    assert first == second > 0
    assert {"a < b", "20"} <= {text.text for text in bars.iter(f"{SVG}text")}
    assert len(list(plot.iter(f"{SVG}polyline"))) == 2
