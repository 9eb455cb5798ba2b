"""The benchmarks run from end to end, in tiny sizes, and measure what they say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from benchmarks import __main__ as benchmarks
from benchmarks.bulk import WAYS
from benchmarks.database import PAYLOAD_BYTES, Database, database
from benchmarks.drain import by_pgbench, drains, measure
from benchmarks.report import Column, Ratio, Result, as_markdown
from benchmarks.scenario import Lab
from benchmarks.server import Server


@pytest.fixture
def target(admin_url: str) -> Iterator[Database]:
    with database(Server(url=admin_url, admin_url=admin_url, pid=None)) as made:
        yield made


def test_drain_reports_every_case_with_the_ratio(
    admin_url: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DATABASE_URL", admin_url)
    file = tmp_path / "report.json"

    benchmarks.main(["drain", "--quick", "--json", str(file)])

    report = json.loads(file.read_text())
    (drain,) = report["results"]
    table = capsys.readouterr().out
    assert report["server"]["server_version"]
    assert list(drain["samples"]) == [
        case.name for case in drains(Lab(Server(admin_url, admin_url, None), 1, quick=True))
    ]
    for case, (sample,) in drain["samples"].items():
        assert f"| {case} |" in table
        assert sample["jobs_per_second"] > 0
        assert sample["wal_bytes_per_job"] > PAYLOAD_BYTES  # durable: result and history are in it
    assert [ratio["aim"] for ratio in drain["ratios"]] == [0.6, None, None, None]


def test_bulk_reports_every_way(
    admin_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DATABASE_URL", admin_url)
    file = tmp_path / "report.json"

    benchmarks.main(["bulk", "--quick", "--json", str(file)])

    (bulk,) = json.loads(file.read_text())["results"]
    assert list(bulk["samples"]) == list(WAYS)
    assert all(sample["jobs_per_second"] > 0 for (sample,) in bulk["samples"].values())


def test_pgbench_commits_twice_per_batch(target: Database) -> None:
    batch, transactions = 10, 20
    sample = measure(target, by_pgbench(batch, 1, transactions))

    commits = sample["commits_per_job"]
    assert commits is not None
    # Nothing is missing; a session begins with a commit or two, and autovacuum may come by.
    assert 2 * transactions <= commits * batch * transactions <= 2 * transactions + 20


def test_a_drain_that_meets_the_end_of_the_queue_is_refused(target: Database) -> None:
    target.prepare(5)
    with pytest.raises(AssertionError, match="expected 4 jobs with results"):
        target.check(ended=4, left=1)


def test_jobs_have_the_stated_payload(target: Database) -> None:
    target.prepare(10_001)
    with psycopg.connect(target.admin_url) as conn:
        found = conn.execute(
            "select count(*), min(octet_length(input::text)), max(octet_length(input::text))"
            " from jobengine.job"
        ).fetchone()
    assert found == (10_001, PAYLOAD_BYTES, PAYLOAD_BYTES)


def test_a_report_shows_median_and_spread_and_says_whether_the_aim_is_met() -> None:
    samples = [{"rate": value, "cpu": None} for value in (3000.0, 1000.0, 2000.0)]
    columns = (Column("rate", "jobs/s"), Column("cpu", "CPU"))
    ratios = [Ratio("a / b", [0.5, 0.44, 0.4], 0.45), Ratio("b / c", [0.5], 0.5)]

    text = as_markdown(
        {"machine": {"cores": "2"}}, [Result("name", "Why?", columns, {"a": samples}, ratios)]
    )

    assert "machine: cores 2" in text
    assert "| a | 2,000 [1,000-3,000] | n/a |" in text
    assert "- a / b: 0.44 [0.40-0.50]; aim 0.45: missed" in text
    assert "- b / c: 0.50; aim 0.5: met" in text


def test_webhooks_reports_every_case(
    admin_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DATABASE_URL", admin_url)
    file = tmp_path / "report.json"

    benchmarks.main(["webhooks", "--quick", "--json", str(file)])

    (webhooks,) = json.loads(file.read_text())["results"]
    assert all(sample["per_second"] > 0 for (sample,) in webhooks["samples"].values())
    spooled = {name: sample["spooled"] for name, (sample,) in webhooks["samples"].items()}
    assert spooled["100/s, PostgreSQL down"] == 100
    assert "alerts waited" in webhooks["notes"][0]


def test_longpoll_delivers_every_job_beside_the_bare_application(
    admin_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DATABASE_URL", admin_url)
    file = tmp_path / "report.json"

    benchmarks.main(["longpoll", "--quick", "--json", str(file)])

    (longpoll,) = json.loads(file.read_text())["results"]
    ((ours,), (bare,)) = (longpoll["samples"][name] for name in ("ours", "bare"))
    assert ours["agents"] == bare["agents"] == 200
    assert ours["polls_per_second"] > 0
    assert ours["p99_ms"] > 0
