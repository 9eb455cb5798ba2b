"""`python -m tests.chaos`: break everything for a while and judge what the engine made of it.

Exit code 0: nothing is wrong. 1: an invariant is broken; seed, schedule and traces are named.
2: the run itself broke down, and nothing was judged.
"""

from __future__ import annotations

import argparse
import json
import secrets
import shlex
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from tests.chaos.plan import PROFILES, make
from tests.chaos.run import Options, Outcome, run
from tests.planting import Bug

SHOWN = 20  # violations, and entries of the schedule


def main(arguments: Sequence[str]) -> int:
    """Run what the arguments ask for."""
    wanted = _parser().parse_args(arguments)
    seed = secrets.randbelow(10**6) if wanted.seed is None else wanted.seed
    seconds = wanted.seconds if wanted.minutes is None else wanted.minutes * 60
    print(f"seed {seed}", flush=True)
    options = Options(
        bugs=[Bug(*words) for words in wanted.plant],
        statements=wanted.sql,
        settings=dict(setting.split("=", 1) for setting in wanted.set),
        keep=wanted.keep,
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )
    try:
        outcome = run(make(seed, seconds, wanted.profile), options)
    except Exception:  # noqa: BLE001 - its traceback is all there is to say
        traceback.print_exc()
        return 2
    print("\n".join(outcome.report.lines()))
    if wanted.json is not None:
        wanted.json.write_text(json.dumps(outcome.report.as_json(), indent=2) + "\n")
    if wanted.keep:
        print(f"traces: {outcome.folder}")
    if outcome.report.violations:
        _explain(outcome, _again(arguments, seed))
    return 1 if outcome.report.violations else 0


def _again(arguments: Sequence[str], seed: int) -> str:
    named = [] if "--seed" in arguments else ["--seed", str(seed)]
    return shlex.join(["python", "-m", "tests.chaos", *arguments, *named])


def _explain(outcome: Outcome, command: str) -> None:
    found = outcome.report.violations
    print(f"\n{len(found)} violations:", *found[:SHOWN], sep="\n  ")
    print("\nthe last faults:", *outcome.log[-SHOWN:], sep="\n  ")
    print(f"\nserver's data, histories and schedule: {outcome.folder}")
    print(f"what was said of a job: grep -h JOB {outcome.folder}/history/*.jsonl")
    print(f"the same plan again: {command}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description="Kill, stop, cut and restart while jobs run; then judge their histories. "
        "A seed repeats the plan of faults; PostgreSQL itself is not deterministic.",
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--seconds", type=float, default=15.0, help="of faults (15)")
    length.add_argument("--minutes", type=float, help="of faults")
    parser.add_argument("--seed", type=int, help="a number; without it a fresh one is printed")
    parser.add_argument("--profile", choices=PROFILES, default="all")
    parser.add_argument("--keep", action="store_true", help="keep the traces in any case")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report there")
    parser.add_argument(
        "--plant",
        nargs=3,
        action="append",
        default=[],
        metavar=("FUNCTION", "PATTERN", "REPLACEMENT"),
        help="break a function of the engine first; may be repeated",
    )
    parser.add_argument(
        "--sql", action="append", default=[], metavar="STATEMENT", help="run this first"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of PostgreSQL"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
