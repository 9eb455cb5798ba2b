"""`python -m benchmarks peers`: the engine and its peers, one harness, one server, one run."""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis

from api.embedded import EmbeddedValkey
from benchmarks import machine
from benchmarks.peers import drain, enqueue
from benchmarks.peers.backlog import BACKLOG
from benchmarks.peers.bench import Bench, Workload
from benchmarks.peers.child import SideFailed, producer
from benchmarks.peers.environment import Environment, prepare
from benchmarks.peers.horizon import HORIZON
from benchmarks.peers.latency import LATENCY
from benchmarks.peers.ratios import in_order, ratios
from benchmarks.peers.side import Side
from benchmarks.peers.sides import SIDES
from benchmarks.peers.stores import Stores
from benchmarks.progress import say
from benchmarks.report import Result, Sample, as_json, as_markdown
from benchmarks.server import serve

WORKLOADS = (
    *(drain.workload(processes) for processes in (1, 4)),
    *(enqueue.workload(callers) for callers in (1, 8, 64)),
    enqueue.BULK,
    LATENCY,
)
MORE = (HORIZON, BACKLOG)
REDIS_DURABILITY = "appendonly yes, appendfsync everysec: a crash loses up to a second of jobs"


@dataclass(slots=True)
class Findings:
    """By workload, side and run; and what failed."""

    samples: dict[str, dict[str, dict[int, Sample]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(dict))
    )
    failures: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


def main(arguments: Sequence[str]) -> None:
    """Measure what the arguments name and print the report."""
    wanted = _parser().parse_args(arguments)
    sides, workloads = chosen(wanted.only, everything=wanted.all)
    environment = prepare(node=not all(side.python for side in sides))
    if environment.missing is not None:
        say(f"peers: {environment.missing}")
        sides = [side for side in sides if side.python]
    runs = 1 if wanted.quick else wanted.runs
    about = {"machine": machine.describe(), "run": _about(runs, quick=wanted.quick)}
    with serve() as server, _valkey(sides) as redis_url:
        about["server"] = server.describe()
        bench = Bench(Stores(server, environment, redis_url), environment, wanted.quick)
        with bench.stores:
            about["packages"] = _versions(bench, sides)
            findings = _run(bench, sides, workloads, runs)
    results = [_result(workload, sides, findings) for workload in workloads]
    if wanted.json is not None:
        settings = {"settings": {side.name: side.settings for side in sides}}
        wanted.json.write_text(json.dumps(as_json({**about, **settings}, results), indent=2) + "\n")
    print(as_markdown(about, results) + "\n".join(_legend(sides, environment)))


def _about(runs: int, *, quick: bool) -> dict[str, str]:
    """Say what `benchmarks.compare` and readers must know: a tiny run is no measurement."""
    return {"size": "tiny" if quick else "full", "runs": str(runs)}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks peers",
        description="Measure the engine beside its peers, in about 30 minutes.",
    )
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="measure N times (3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there")
    parser.add_argument("--quick", action="store_true", help="tiny: only to see that it works")
    parser.add_argument(
        "--all", action="store_true", help="the held snapshot and the backlog too, once: 90 minutes"
    )
    parser.add_argument(
        "--only",
        default="",
        metavar="NAME,…",
        help="sides and workloads by the beginning of their names: graphile,jobengine,drain",
    )
    return parser


def chosen(only: str, *, everything: bool) -> tuple[list[Side], list[Workload]]:
    """Return what the names name; without a name of a side all sides, likewise of workloads."""
    names = [_plain(name) for name in only.split(",") if name.strip()]
    sides = [side for side in SIDES if _plain(side.name).startswith(tuple(names))]
    workloads = [one for one in (*WORKLOADS, *MORE) if _plain(one.name).startswith(tuple(names))]
    known = [side.name for side in SIDES] + [one.name for one in (*WORKLOADS, *MORE)]
    for name in names:
        if not any(_plain(one).startswith(name) for one in known):
            raise SystemExit(f"--only: nothing begins with {name!r}; there are: {', '.join(known)}")
    usual = [*WORKLOADS, *(MORE if everything else ())]
    return sides or list(SIDES), workloads or usual


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


@contextmanager
def _valkey(sides: Sequence[Side]) -> Iterator[str]:
    """Yield the URL of a Redis, where a side needs one, that writes its log out every second."""
    if not any(side.redis for side in sides):
        yield ""
        return
    with (
        tempfile.TemporaryDirectory(prefix="jobengine-bench-") as folder,
        EmbeddedValkey(Path(folder) / "valkey", durable=True) as valkey,
    ):
        client = redis.Redis.from_url(valkey.url)
        client.config_set("appendfsync", "everysec")
        client.config_set("maxmemory", 0)
        yield valkey.url


def _versions(bench: Bench, sides: Sequence[Side]) -> dict[str, str]:
    """Install every side, and ask its program what it runs with."""
    found: dict[str, str] = {}
    for side in sides:
        with (
            bench.stores.store(side) as store,
            producer(bench.environment, side, store.url) as child,
        ):
            found |= child.versions
    return dict(sorted(found.items()))


def _run(bench: Bench, sides: Sequence[Side], workloads: Sequence[Workload], runs: int) -> Findings:
    """All workloads in each run; the sides in turn, the other way round in every second run."""
    findings = Findings()
    for run in range(runs):
        for workload in workloads:
            if workload in MORE and run > 0:
                continue
            for side in sides if run % 2 == 0 else reversed(sides):
                if workload.sides(side):
                    _measure(bench, workload, side, run, findings)
    return findings


def _measure(bench: Bench, workload: Workload, side: Side, run: int, findings: Findings) -> None:
    where = f"peers {run + 1}: {workload.name}: {side.name}"
    try:
        sample = workload.measure(bench, side)
    except SideFailed as failure:
        say(f"{where}: FAILED: {failure}")
        findings.failures[workload.name].append(f"run {run + 1} failed: {failure}")
        return
    findings.samples[workload.name][side.name][run] = sample
    first = workload.columns[0]
    say(f"{where}: {sample[first.key]:,.{first.digits}f} {first.heading}")


def _result(workload: Workload, sides: Sequence[Side], findings: Findings) -> Result:
    samples = findings.samples[workload.name]
    ordered = {side.name: samples[side.name] for side in sides if side.name in samples}
    return Result(
        f"peers: {workload.name}",
        workload.question,
        workload.columns,
        in_order(ordered),
        ratios(workload.name, ordered),
        findings.failures[workload.name],
    )


def _legend(sides: Sequence[Side], environment: Environment) -> list[str]:
    """Say how each side was set up, so that nobody has to guess."""
    lines = ["", "Settings, and where they are documented:", ""]
    lines += [f"- {side.name}: {side.settings} ({side.source})" for side in sides]
    if any(side.redis for side in sides):
        lines.append(f"- Redis is Valkey with {REDIS_DURABILITY}; PostgreSQL loses none")
    if environment.missing is not None:
        lines.append(f"- not measured, those in Node: {environment.missing}")
    return [*lines, ""]
