"""Tries mutants: each in a copy of its own, several at a time."""

from __future__ import annotations

import queue
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from jobengine.embedded import EmbeddedPostgres
from tools.mutants.record import Chaos, DoesNotApply, Mutant
from tools.mutants.tree import copied, copy_checkout
from tools.mutants.trial import Outcome, run_chaos, run_tests

# Seconds for one mutant, and for all tests without a bug or a run of the chaos runner.
LIMIT = 120.0
LONG_LIMIT = 900.0


class NoBaseline(Exception):
    """Without a bug, a test that is to find one fails already."""


class Lab:
    """Tries mutants by tests, `jobs` at a time, each job with a server of its own."""

    def __init__(self, jobs: int) -> None:
        """Nothing is started before `tried`."""
        self._jobs = jobs
        self._servers: queue.SimpleQueue[str] = queue.SimpleQueue()

    def tried(self, mutants: Sequence[Mutant]) -> dict[str, Outcome]:
        """Return what came of each; `NoBaseline` where that would mean nothing."""
        with _checkout() as base, ExitStack() as stack:
            for _ in range(self._jobs):
                self._servers.put(stack.enter_context(_server()))
            self._check_baseline(base, {mutant.found_by for mutant in mutants})
            with ThreadPoolExecutor(self._jobs) as pool:
                return _told(mutants, pool.map(lambda mutant: self._try(base, mutant), mutants))

    def _check_baseline(self, base: Path, selection: set[str]) -> None:
        """See that every test passes without a bug; it also leaves byte code for the copies."""
        server = self._servers.get()
        _check(run_tests(base, sorted(selection), server=server, limit=LONG_LIMIT))
        self._servers.put(server)

    def _try(self, base: Path, mutant: Mutant) -> Outcome:
        server = self._servers.get()
        try:
            with planted(base, mutant) as tree:
                return run_tests(tree, [mutant.found_by], server=server, limit=LIMIT)
        except DoesNotApply as error:
            return Outcome("broken", "", str(error), 0.0)
        finally:
            self._servers.put(server)


def tried_by_chaos(mutants: Sequence[Mutant]) -> dict[str, Outcome]:
    """Return what the chaos runner made of each, one after the other."""
    plans = {mutant.name: mutant.chaos for mutant in mutants if mutant.chaos}
    with _checkout() as base:
        for plan in set(plans.values()):
            _check(run_chaos(base, plan, limit=LONG_LIMIT))
        return _told(mutants, (_try_by_chaos(base, it, plans[it.name]) for it in mutants))


def _try_by_chaos(base: Path, mutant: Mutant, plan: Chaos) -> Outcome:
    with planted(base, mutant) as tree:
        return run_chaos(tree, plan, limit=LONG_LIMIT)


@contextmanager
def planted(base: Path, mutant: Mutant) -> Iterator[Path]:
    """Yield a copy of the tree with the bug in it."""
    with copied(base) as tree:
        mutant.plant(tree)
        yield tree


@contextmanager
def _checkout() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="jobengine-mutants-") as folder:
        base = Path(folder) / "tree"
        copy_checkout(base)
        yield base


@contextmanager
def _server() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="jobengine-mutants-") as folder:
        Path(folder).chmod(0o755)  # as root the server runs as another user
        with EmbeddedPostgres(Path(folder) / "postgres", durable=False) as server:
            yield server.admin_url


def _check(outcome: Outcome) -> None:
    print(f"without a bug: {outcome.says} in {outcome.seconds:.0f} s", flush=True)
    if outcome.verdict != "survived":
        raise NoBaseline(f"without a bug: {outcome.by} {outcome.says}")


def _told(mutants: Sequence[Mutant], outcomes: Iterator[Outcome]) -> dict[str, Outcome]:
    """Print each outcome as it comes."""
    told = {}
    for number, (mutant, outcome) in enumerate(zip(mutants, outcomes, strict=True), 1):
        told[mutant.name] = outcome
        took = f"{outcome.verdict} in {outcome.seconds:.1f} s"
        where = f"{outcome.by} {outcome.says}"
        print(f"[{number}/{len(mutants)}] {took}: {mutant.name}: {where}", flush=True)
    return told
