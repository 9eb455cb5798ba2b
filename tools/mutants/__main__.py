"""`python -m tools.mutants`: plants each bug in a copy of the checkout: a test has to find it."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tools.mutants.lab import Lab, NoBaseline, tried_by_chaos
from tools.mutants.report import as_json, as_markdown, documented
from tools.mutants.table import BUGS, THEMES
from tools.mutants.tree import ROOT

DOCUMENT = ROOT / "docs" / "mutants.md"


def main(arguments: Sequence[str]) -> int:
    """Do what the arguments ask for; 1 where a bug survived, or could not be tried."""
    wanted = _parser().parse_args(arguments)
    if wanted.docs:
        DOCUMENT.write_text(documented(THEMES))
        return 0
    mutants = [BUGS[name] for name in wanted.only] if wanted.only else [*BUGS.values()]
    if wanted.chaos:
        mutants = [mutant for mutant in mutants if mutant.chaos]
    if wanted.list:
        print(*(mutant.name for mutant in mutants), sep="\n")
        return 0
    began = time.monotonic()
    outcomes = tried_by_chaos(mutants) if wanted.chaos else Lab(wanted.jobs).tried(mutants)
    if wanted.json is not None:
        wanted.json.write_text(json.dumps(as_json(outcomes), indent=2) + "\n")
    found = sum(outcome.verdict == "found" for outcome in outcomes.values())
    print(as_markdown(outcomes))
    print(f"{found} of {len(mutants)} found, {time.monotonic() - began:.0f} s")
    return 0 if found == len(mutants) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.mutants", description=__doc__)
    parser.add_argument(
        "--only", action="append", choices=BUGS, metavar="NAME", help="this bug; may be repeated"
    )
    parser.add_argument(
        "--jobs", type=int, choices=range(1, 33), default=2, metavar="N", help="N at a time (2)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the outcomes there")
    parser.add_argument("--chaos", action="store_true", help="by the chaos runner, where it can")
    parser.add_argument("--list", action="store_true", help="only name the bugs")
    parser.add_argument("--docs", action="store_true", help=f"only write {DOCUMENT.name}")
    return parser


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except NoBaseline as error:
        sys.exit(f"mutants: {error}")
