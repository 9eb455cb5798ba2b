"""`python -m benchmarks [SCENARIO …]`: run scenarios on one server and print the report."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import (
    backlog,
    bulk,
    claimers,
    drain,
    enqueue,
    horizon,
    http_claim,
    http_result,
    latency,
    longpoll,
    machine,
    orders,
    settle,
    stream,
    tenants,
    wait,
    webhooks,
)
from benchmarks.peers import command as peers
from benchmarks.pgbench import PgbenchError
from benchmarks.plots import write_plots
from benchmarks.report import as_json, as_markdown
from benchmarks.scenario import Lab
from benchmarks.server import serve

SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        enqueue.SCENARIO,
        bulk.SCENARIO,
        drain.SCENARIO,
        latency.SCENARIO,
        wait.SCENARIO,
        claimers.SCENARIO,
        settle.SCENARIO,
        tenants.SCENARIO,
        backlog.SCENARIO,
        horizon.SCENARIO,
        http_claim.SCENARIO,
        http_result.SCENARIO,
        longpoll.SCENARIO,
        orders.SCENARIO,
        stream.SCENARIO,
        webhooks.SCENARIO,
    )
}
# What `quick` stands for: about two minutes, for daily use.
DAILY = ("drain", "enqueue", "bulk", "latency", "claimers")


def main(arguments: Sequence[str]) -> None:
    """Run what the arguments name."""
    if arguments[:1] == ["peers"]:  # a harness of its own: `peers --help`
        peers.main(arguments[1:])
        return
    wanted = _parser().parse_args(arguments)
    if wanted.list:
        print("\n".join(f"{name}: {scenario.question}" for name, scenario in SCENARIOS.items()))
        return
    names, daily = _names(wanted.scenarios)
    about = {"machine": machine.describe()}
    with serve() as server:
        about["server"] = server.describe()
        lab = Lab(
            server,
            runs=1 if wanted.quick else wanted.runs,
            quick=wanted.quick,
            daily=daily,
            duration=wanted.seconds,
        )
        about["run"] = _about(lab)
        results = [SCENARIOS[name].run(lab) for name in names]
    if wanted.json is not None:
        wanted.json.write_text(json.dumps(as_json(about, results), indent=2) + "\n")
    if wanted.plots is not None:
        write_plots(wanted.plots, results)
    print(as_markdown(about, results), end="")


def _names(asked: Sequence[str]) -> tuple[Sequence[str], bool]:
    """Return the scenarios to run, and whether it is the daily suite."""
    if "quick" in asked:
        return [*DAILY, *(name for name in asked if name not in {"quick", *DAILY})], True
    return asked or list(SCENARIOS), False


def _about(lab: Lab) -> dict[str, str]:
    return {
        "size": lab.sized(full="full", daily="daily", quick="tiny"),
        "runs": str(lab.runs),
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
        **({"seconds": f"{lab.duration:g}"} if lab.duration else {}),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure the engine. Without DATABASE_URL a private server is started.",
    )
    parser.add_argument(
        "scenarios",
        nargs="*",
        # argparse compares the default of `*`, an empty list, with the choices.
        choices=[*SCENARIOS, "quick", []],
        metavar="SCENARIO",
        help=f"{', '.join(SCENARIOS)}; none: all; quick: {', '.join(DAILY)} in two minutes",
    )
    parser.add_argument("--list", action="store_true", help="tell what each scenario asks")
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="measure N times (3)")
    parser.add_argument(
        "--seconds", type=float, metavar="S", help="let each measurement that has a duration take S"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="write plots (SVG) there")
    parser.add_argument("--quick", action="store_true", help="tiny: only to see that it works")
    return parser


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except PgbenchError as error:
        sys.exit(f"benchmarks: {error}")
