"""The exit codes of every command, in one table."""

from __future__ import annotations

import signal

DONE = 0
FAILED = 1
USAGE = 2
TIMED_OUT = 3

# docs/cli.md and `jobengine --help` show this table (tests/acceptance/test_cli.py).
CODES: dict[str, str] = {
    str(DONE): "done; of verify and doctor: nothing is wrong",
    str(FAILED): "failed or refused, some of it too; of verify and doctor: something is wrong",
    str(USAGE): "wrong usage; nothing was done",
    str(TIMED_OUT): "--wait is over and the job has not ended; it goes on",
    "128+N": "ended by signal N: 130 Ctrl-C, 143 SIGTERM, 141 nobody reads the output",
}


def by_signal(number: signal.Signals) -> int:
    """Return the code of a command that a signal ended, as shells count it."""
    return 128 + number


def epilog() -> str:
    """Return the table as help shows it."""
    return "\n".join(["exit codes:", *(f"  {code:<6} {text}" for code, text in CODES.items())])
