"""`benchmarks.compare` finds what has become worse, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.compare import main
from benchmarks.report import Column, Ratio, Result, as_json

COLUMNS = (
    Column("jobs_per_second", "jobs/s"),
    Column("p50_ms", "p50 ms"),
    Column("p99_ms", "p99 ms"),
)


def report(
    rates: Sequence[float],
    p50: float = 1.0,
    p99: float = 1.0,
    *,
    ratio: float = 0.5,
    case: str = "a",
    **machine: str,
) -> dict[str, Any]:
    samples = {case: [{"jobs_per_second": r, "p50_ms": p50, "p99_ms": p99} for r in rates]}
    result = Result("drain", "Why?", COLUMNS, samples, [Ratio("a / b", [ratio])])
    about = {"machine": {"processor": "one", **machine}, "run": {"size": "full"}}
    return as_json(about, [result])


def compared(tmp_path: Path, old: dict[str, Any], new: dict[str, Any], *options: str) -> int:
    files = []
    for name, said in (("old", old), ("new", new)):
        files.append(tmp_path / f"{name}.json")
        files[-1].write_text(json.dumps(said))
    return main([*map(str, files), *options])


@pytest.mark.parametrize(
    "new, worse",
    [
        pytest.param(report([100.0]), None, id="the same"),
        pytest.param(report([90.0]), None, id="less than the tolerance"),
        pytest.param(report([80.0]), "drain: a: jobs/s", id="a rate"),
        pytest.param(report([100.0], p50=1.3), "drain: a: p50 ms", id="a latency"),
        pytest.param(report([100.0], p50=0.5), None, id="a better latency"),
        pytest.param(report([100.0], p99=9.0), None, id="a figure that is not judged"),
        pytest.param(report([100.0], ratio=0.4), "drain: a / b", id="a ratio"),
        pytest.param(report([200.0]), None, id="a better rate"),
    ],
)
def test_names_what_has_become_worse(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], new: dict[str, Any], worse: str | None
) -> None:
    code = compared(tmp_path, report([100.0]), new)

    told = capsys.readouterr().out
    assert code == (0 if worse is None else 1)
    assert ("worse:\n  " in told) == (worse is not None)
    assert worse is None or f"  {worse}: " in told


def test_a_wide_spread_is_tolerated(tmp_path: Path) -> None:
    steady, noisy = [100.0, 101.0, 102.0], [40.0, 100.0, 160.0]
    slower = [70.0, 71.0, 72.0]

    assert compared(tmp_path, report(steady), report(slower)) == 1
    assert compared(tmp_path, report(noisy), report(slower)) == 0


def test_a_tolerance_of_the_callers_own(tmp_path: Path) -> None:
    assert compared(tmp_path, report([100.0]), report([80.0]), "--tolerance=0.3") == 0


def test_refuses_another_machine_unless_forced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = report([100.0], cores="2"), report([50.0], cores="64")

    assert compared(tmp_path, old, new) == 2
    assert "machine cores: 2 / 64" in capsys.readouterr().err
    assert compared(tmp_path, old, new, "--force") == 1


def test_refuses_what_is_no_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "no.json"
    file.write_text("{")

    assert main([str(file), str(file)]) == 2
    assert "compare: " in capsys.readouterr().err


def test_says_what_is_not_measured_any_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compared(tmp_path, report([100.0], case="b"), report([100.0])) == 0

    assert "not measured any more:\n  drain: b: jobs/s" in capsys.readouterr().out
