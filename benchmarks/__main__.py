"""`python -m benchmarks [SCENARIO …]`: run scenarios on one server and print the report."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import bulk, drain, machine, orders, stream, webhooks
from benchmarks.peers import command as peers
from benchmarks.pgbench import PgbenchError
from benchmarks.report import as_json, as_markdown
from benchmarks.scenario import Lab
from benchmarks.server import serve

SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        bulk.SCENARIO,
        drain.SCENARIO,
        orders.SCENARIO,
        stream.SCENARIO,
        webhooks.SCENARIO,
    )
}


def main(arguments: Sequence[str]) -> None:
    """Run what the arguments name."""
    if arguments[:1] == ["peers"]:  # a harness of its own: `peers --help`
        peers.main(arguments[1:])
        return
    wanted = _parser().parse_args(arguments)
    about = {"machine": machine.describe()}
    with serve() as server:
        about["server"] = server.describe()
        lab = Lab(server, runs=1 if wanted.quick else wanted.runs, quick=wanted.quick)
        results = [SCENARIOS[name].run(lab) for name in wanted.scenarios or SCENARIOS]
    if wanted.json is not None:
        wanted.json.write_text(json.dumps(as_json(about, results), indent=2) + "\n")
    print(as_markdown(about, results), end="")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure the engine. Without DATABASE_URL a private server is started.",
    )
    # argparse compares the default of `*`, an empty list, with the choices.
    parser.add_argument("scenarios", nargs="*", choices=[*SCENARIOS, []], metavar="SCENARIO")
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="measure N times (3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there")
    parser.add_argument("--quick", action="store_true", help="tiny: only to see that it works")
    return parser


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except PgbenchError as error:
        sys.exit(f"benchmarks: {error}")
