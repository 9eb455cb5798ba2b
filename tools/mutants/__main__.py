"""`python -m tools.mutants`: plants each bug in a copy of the checkout: a test has to find it."""

from __future__ import annotations

import argparse
import json
import queue
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from jobengine.embedded import EmbeddedPostgres
from tools.mutants.record import DoesNotApply, Mutant
from tools.mutants.report import as_json, as_markdown, documented
from tools.mutants.table import BUGS, THEMES
from tools.mutants.tree import ROOT, copied, copy_checkout
from tools.mutants.trial import Outcome, run_chaos, run_tests

DOCUMENT = ROOT / "docs" / "mutants.md"
LIMIT = 120.0
CHAOS_LIMIT = 600.0


class NoBaseline(Exception):
    """Without a bug, a test that is to find one fails already."""


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
    outcomes = Lab(wanted.jobs, chaos=wanted.chaos).tried(mutants)
    if wanted.json is not None:
        wanted.json.write_text(json.dumps(as_json(outcomes), indent=2) + "\n")
    found = sum(outcome.verdict == "found" for outcome in outcomes.values())
    print(as_markdown(outcomes))
    print(f"{found} of {len(mutants)} found, {time.monotonic() - began:.0f} s")
    return 0 if found == len(mutants) else 1


class Lab:
    """Tries mutants, `jobs` at a time, each job with a server of its own."""

    def __init__(self, jobs: int, *, chaos: bool) -> None:
        """`chaos`: by the chaos runner instead of the tests."""
        self._jobs = jobs
        self._chaos = chaos
        self._servers: queue.SimpleQueue[str] = queue.SimpleQueue()

    def tried(self, mutants: Sequence[Mutant]) -> dict[str, Outcome]:
        """Return what came of each; `NoBaseline` where that would mean nothing."""
        with (
            tempfile.TemporaryDirectory(prefix="jobengine-mutants-") as folder,
            ExitStack() as stack,
        ):
            base = Path(folder) / "tree"
            copy_checkout(base)
            for _ in range(self._jobs):
                self._servers.put(stack.enter_context(_server()))
            self._check_baseline(base, mutants)
            with ThreadPoolExecutor(self._jobs) as pool:
                outcomes = pool.map(lambda mutant: self._try(base, mutant), mutants)
                return {
                    mutant.name: _told(number, len(mutants), mutant, outcome)
                    for number, (mutant, outcome) in enumerate(
                        zip(mutants, outcomes, strict=True), 1
                    )
                }

    def _check_baseline(self, base: Path, mutants: Sequence[Mutant]) -> None:
        """See that every test passes without a bug; it also leaves byte code for the copies."""
        server = self._servers.get()
        if self._chaos:
            planned = {mutant.chaos for mutant in mutants if mutant.chaos}
            baseline = [run_chaos(base, chaos, limit=CHAOS_LIMIT) for chaos in planned]
        else:
            selection = sorted({mutant.found_by for mutant in mutants})
            baseline = [run_tests(base, selection, server=server, limit=CHAOS_LIMIT)]
        self._servers.put(server)
        for outcome in baseline:
            print(f"without a bug: {outcome.says} in {outcome.seconds:.0f} s", flush=True)
            if outcome.verdict != "survived":
                raise NoBaseline(f"without a bug: {outcome.by} {outcome.says}")

    def _try(self, base: Path, mutant: Mutant) -> Outcome:
        server = self._servers.get()
        try:
            with copied(base) as tree:
                mutant.plant(tree)
                if self._chaos:
                    return _chaos(tree, mutant)
                return run_tests(tree, [mutant.found_by], server=server, limit=LIMIT)
        except DoesNotApply as error:
            return Outcome("broken", "", str(error), 0.0)
        finally:
            self._servers.put(server)


def _chaos(tree: Path, mutant: Mutant) -> Outcome:
    assert mutant.chaos is not None
    return run_chaos(tree, mutant.chaos, limit=CHAOS_LIMIT)


def _told(number: int, count: int, mutant: Mutant, outcome: Outcome) -> Outcome:
    print(
        f"[{number}/{count}] {outcome.verdict} in {outcome.seconds:.1f} s: {mutant.name}: "
        f"{outcome.by} {outcome.says}",
        flush=True,
    )
    return outcome


@contextmanager
def _server() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="jobengine-mutants-") as folder:
        Path(folder).chmod(0o755)  # as root the server runs as another user
        with EmbeddedPostgres(Path(folder) / "postgres", durable=False) as server:
            yield server.admin_url


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.mutants", description=__doc__)
    parser.add_argument(
        "--only", action="append", choices=BUGS, metavar="NAME", help="this bug; may be repeated"
    )
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="try N at a time (2)")
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
