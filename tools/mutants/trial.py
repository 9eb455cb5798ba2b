"""Runs tests in a copy of the checkout and says what they found."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from tools.mutants.record import Chaos
from tools.mutants.witness import ACCOUNT

Verdict: TypeAlias = Literal["found", "survived", "broken"]

# The plugins left out are a second of every run.
WITHOUT = ("cacheprovider", "hypothesispytest", "xdist")
PYTEST = ("-x", "-q", "-p", "tools.mutants.witness", *(f"-pno:{name}" for name in WITHOUT))
# How long tests in a copy wait for what a bug may keep from coming (tests/acceptance/world.py).
PATIENCE = {"JOBENGINE_TEST_PATIENCE": "10"}
_LINE = 160


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run: `found` by a test, `survived` all of them, or `broken`: no answer."""

    verdict: Verdict
    by: str
    says: str
    seconds: float


def run_tests(tree: Path, selection: Sequence[str], *, server: str | None, limit: float) -> Outcome:
    """Run the tests of the copy, against the copy; `server` is a URL as in DATABASE_URL."""
    account = tree / "account.json"
    account.unlink(missing_ok=True)  # a copy has that of its original
    environment = {ACCOUNT: str(account)} | PATIENCE
    if server is not None:
        environment["DATABASE_URL"] = server
    began = time.monotonic()
    code, output = _run(tree, ["pytest", *PYTEST, *selection], environment, limit)
    seconds = time.monotonic() - began
    if code is None:
        return Outcome("broken", "", f"still running after {limit:.0f} s", seconds)
    if not account.exists():
        return Outcome("broken", "", _last_line(output), seconds)
    return _judged(json.loads(account.read_text()), code, tree, seconds)


def run_chaos(tree: Path, chaos: Chaos, *, limit: float) -> Outcome:
    """Run the chaos runner of the copy; its report lists the violations that it saw."""
    report = tree / "chaos.json"
    report.unlink(missing_ok=True)
    wanted = {**asdict(chaos), "json": report}
    began = time.monotonic()
    arguments = (f"--{name}={value}" for name, value in wanted.items())
    _, output = _run(tree, ["tests.chaos", *arguments], {}, limit)
    seconds = time.monotonic() - began
    by = f"chaos, seed {chaos.seed}, profile {chaos.profile}, {chaos.seconds} s"
    if not report.exists():
        return Outcome("broken", by, _last_line(output), seconds)
    violations = json.loads(report.read_text())["violations"]
    if not violations:
        return Outcome("survived", by, "no violation", seconds)
    return Outcome("found", by, _first_line(violations[0]), seconds)


def _run(
    tree: Path, arguments: Sequence[str], environment: Mapping[str, str], limit: float
) -> tuple[int | None, str]:
    """Run a module in the copy; None: it was killed, with all that it had started."""
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return None, ""
    return process.returncode, output


def _judged(account: dict[str, Any], code: int, tree: Path, seconds: float) -> Outcome:
    if not Path(account["package"]).is_relative_to(tree):
        return Outcome("broken", "", f"tested {account['package']}, not the copy", seconds)
    if "test" in account:
        verdict: Verdict = "found" if account["finding"] else "broken"
        return Outcome(verdict, account["test"], _first_line(account["says"]), seconds)
    if code != 0 or not account["passed"]:
        return Outcome("broken", "", f"pytest ended with {code}", seconds)
    return Outcome("survived", "", f"{account['passed']} tests passed", seconds)


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0][:_LINE]


def _last_line(output: str) -> str:
    return output.strip().rpartition("\n")[2][:_LINE]
