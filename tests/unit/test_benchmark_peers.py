"""The harness of the peers measures our own side as it does the others, and tells the truth."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.compare import differences
from benchmarks.peers import command, drain, enqueue, environment
from benchmarks.peers.backlog import BACKLOG
from benchmarks.peers.bench import Bench, Workload
from benchmarks.peers.child import SideFailed, producer, team
from benchmarks.peers.command import MORE, WORKLOADS, chosen
from benchmarks.peers.environment import SCRIPTS, Environment
from benchmarks.peers.horizon import HORIZON, last_rate
from benchmarks.peers.latency import LATENCY, quantile
from benchmarks.peers.ratios import AIMS, Samples, in_order, ratios
from benchmarks.peers.side import Side
from benchmarks.peers.sides import (
    GRAPHILE,
    JOBENGINE,
    JOBENGINE_BATCH,
    PG_BOSS,
    PGQUEUER,
    SAQ,
    SIDES,
)
from benchmarks.peers.stores import Stores
from benchmarks.server import Server

# It comes with the service's requirements, and all sides in Python run on it.
pytest.importorskip("uvloop")


@pytest.fixture
def bench(admin_url: str) -> Iterator[Bench]:
    """Our own side needs nothing that the tests do not have."""
    environment = Environment(Path(sys.executable), Path("/nowhere/node"))
    server = Server(url=admin_url, admin_url=admin_url, pid=None)
    with Stores(server, environment, "") as stores:
        yield Bench(stores, environment, quick=True)


@pytest.mark.parametrize("side", [JOBENGINE, JOBENGINE_BATCH], ids=lambda side: side.name)
@pytest.mark.parametrize("processes", [1, 2])
def test_a_drain_counts_what_the_database_says(bench: Bench, side: Side, processes: int) -> None:
    sample = drain.drain(bench, side, processes)

    assert sample["jobs"] == sample["calls"] == side.drain // 100
    assert sample["jobs_per_second"] == pytest.approx(sample["jobs"] / (sample["seconds"] or 0))
    assert (sample["wal_bytes_per_job"] or 0) > 100  # results are kept, and durable
    assert sample["dead_per_job"] == pytest.approx(2, abs=0.5)  # those of ready and of lease


@pytest.mark.parametrize("workload", [enqueue.workload(8), enqueue.BULK], ids=lambda w: w.name)
def test_what_is_put_in_is_there(bench: Bench, workload: Workload) -> None:
    sample = workload.measure(bench, JOBENGINE)

    assert (sample["jobs_per_second"] or 0) > 0
    assert (sample["commits_per_job"] or 0) > 0


def test_latency_runs_from_the_call_and_from_its_return(bench: Bench) -> None:
    sample = LATENCY.measure(bench, JOBENGINE)

    for q in (50, 95, 99):
        call, commit = sample[f"call_p{q}_ms"], sample[f"commit_p{q}_ms"]
        assert call is not None
        assert commit is not None
        assert call > 0
        assert commit < call


@pytest.mark.parametrize("workload", MORE, ids=lambda w: w.name)
def test_long_workloads_give_a_part(bench: Bench, workload: Workload) -> None:
    assert (workload.measure(bench, JOBENGINE)["part"] or 0) > 0


def test_a_store_knows_what_is_left_and_what_has_ended(bench: Bench) -> None:
    with bench.stores.store(JOBENGINE) as store:
        bench.fill(JOBENGINE, store, 1000)
        assert store.left() == 1000
        assert store.ended() == 0
        with team(bench.environment, JOBENGINE, store.url, 1) as workers:
            workers.go()
            workers.until(1000)
            store.done(1000)
        assert (store.left(), store.ended()) == (0, 1000)


def test_a_program_that_fails_says_why(bench: Bench) -> None:
    with (
        bench.stores.store(JOBENGINE),
        pytest.raises(SideFailed, match=r"(?s)jobengine.*it ended.*EngineUnavailable"),
        producer(bench.environment, JOBENGINE, "postgresql://nobody@/none?host=/nowhere") as asked,
    ):
        asked.ask(do="call", callers=1, seconds=0.1)


def test_a_program_ends_with_the_block(bench: Bench) -> None:
    with bench.stores.store(JOBENGINE) as store:
        with producer(bench.environment, JOBENGINE, store.url) as asked:
            assert not asked.ended()
        assert asked.ended()


def test_a_program_ends_with_the_harness(bench: Bench) -> None:
    with (
        bench.stores.store(JOBENGINE) as store,
        producer(bench.environment, JOBENGINE, store.url) as asked,
    ):
        asked.orphan()
        asked.wait()
        assert asked.ended()


def test_the_best_peer_is_that_of_the_best_median_and_ratios_are_run_by_run() -> None:
    def rates(*values: float) -> dict[int, dict[str, float | None]]:
        return {run: {"jobs_per_second": value} for run, value in enumerate(values)}

    samples: Samples = {
        JOBENGINE.name: rates(110.0, 90.0, 100.0),
        JOBENGINE_BATCH.name: rates(200.0, 200.0, 200.0),
        GRAPHILE.name: rates(100.0, 100.0, 100.0),
        PG_BOSS.name: rates(300.0, 50.0, 60.0),
    }

    one, batch = ratios("drain-4", samples)

    assert (one.values, one.aim, one.floor) == ([1.1, 0.9, 1.0], 1.1, 0.8)
    assert (one.met, one.held) == (False, True)
    assert batch.met
    assert "graphile-worker" in batch.name


def test_less_is_better_for_latencies_and_redis_is_no_postgresql_peer() -> None:
    samples: Samples = {
        name: {0: {"call_p50_ms": p50, "call_p99_ms": 10 * p50}}
        for name, p50 in (
            (JOBENGINE.name, 2.0),
            (GRAPHILE.name, 3.0),
            (PGQUEUER.name, 4.0),
            (SAQ.name, 1.0),
        )
    }

    found = {
        ratio.name: (ratio.values, ratio.aim, ratio.floor) for ratio in ratios("latency", samples)
    }

    assert found == {
        "call_p50_ms: the best PostgreSQL peer, graphile-worker / jobengine, a handler per job": (
            [1.5],
            1.0,
            None,
        ),
        "call_p50_ms: the best Python peer, pgqueuer / jobengine, a handler per job": (
            [2.0],
            None,
            1.0,
        ),
        "call_p99_ms: the best PostgreSQL peer, graphile-worker / jobengine, a handler per job": (
            [1.5],
            1.0,
            None,
        ),
        "call_p99_ms: the best Python peer, pgqueuer / jobengine, a handler per job": (
            [2.0],
            None,
            1.0,
        ),
    }


def test_without_a_peer_or_a_common_run_there_is_no_ratio() -> None:
    rate = {"jobs_per_second": 1.0}
    assert ratios("bulk", {JOBENGINE.name: {0: rate}}) == []
    assert ratios("bulk", {JOBENGINE.name: {0: rate}, GRAPHILE.name: {1: rate}}) == []


def test_every_aim_is_of_a_workload_and_a_column_that_are_there() -> None:
    columns = {one.name: [column.key for column in one.columns] for one in WORKLOADS}
    assert all(aim.column in columns[aim.workload] for aim in AIMS)


def test_samples_are_reported_in_the_order_of_the_runs() -> None:
    second, first = {"rate": 2.0}, {"rate": 1.0}
    assert in_order({"a": {1: second, 0: first}}) == {"a": [first, second]}


@pytest.mark.parametrize(
    "only,everything,sides,workloads",
    [
        ("", False, SIDES, WORKLOADS),
        ("", True, SIDES, (*WORKLOADS, *MORE)),
        ("graphile, pgboss", False, (GRAPHILE, PG_BOSS), WORKLOADS),
        ("Latency,back", False, SIDES, (LATENCY, BACKLOG)),
        ("saq,horizon", False, (SAQ,), (HORIZON,)),
    ],
)
def test_names_choose_sides_and_workloads(
    only: str, *, everything: bool, sides: object, workloads: object
) -> None:
    found = chosen(only, everything=everything)
    assert (tuple(found[0]), tuple(found[1])) == (sides, workloads)


def test_a_name_of_nothing_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(SystemExit, match=r"nothing begins with 'oban'.*pgqueuer.*latency"):
        chosen("jobengine,oban", everything=False)


def test_a_quantile_is_one_of_the_values() -> None:
    values = [float(value) for value in range(1, 201)]
    assert [quantile(values, part) for part in (0.0, 0.5, 0.95, 0.99, 1.0)] == [
        1,
        100,
        190,
        198,
        200,
    ]
    assert quantile([7.0], 0.99) == 7


def test_the_last_rate_is_that_of_the_last_seconds() -> None:
    assert last_rate([(0.0, 0), (10.0, 1000), (15.0, 1100), (20.0, 1200)], 10.0) == 20


def test_the_lock_file_of_npm_has_hashes_and_no_addresses() -> None:
    lock = json.loads((SCRIPTS / "package-lock.json").read_text())
    packages = [facts for name, facts in lock["packages"].items() if name]
    assert packages
    assert all(facts["integrity"] and "resolved" not in facts for facts in packages)


def test_without_npm_it_is_told_and_no_folder_of_the_machine_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(environment, "MODULES", tmp_path)
    failing = tmp_path / "node"
    failing.write_text("#!/bin/sh\nexit 7\n")
    failing.chmod(0o755)

    found = [environment._node_packages(tmp_path, node) for node in (failing, tmp_path / "none")]

    assert [told and told.rpartition(": ")[2] for told in found] == [
        "exit code 7",
        "FileNotFoundError",
    ]


def test_a_tiny_run_says_so_and_is_not_compared_with_a_measurement() -> None:
    tiny, full = ({"run": command._about(1, quick=quick)} for quick in (True, False))
    assert differences(tiny, full) == ["run size: tiny / full"]
    assert differences(full, full) == []


def test_every_side_has_its_program() -> None:
    for side in SIDES:
        assert (SCRIPTS / side.program).is_file()
        assert side.python == side.program.endswith(".py")
