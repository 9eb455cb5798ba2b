"""Reads the command line, runs the command, and answers with its exit code."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import NoReturn

from jobengine.cli import change, codes, demo, doctor, house, install, logs, look, put
from jobengine.cli.options import Options, Parser, UsageError, error_json
from jobengine.cli.show import note
from jobengine.database import given_or_embedded
from jobengine.errors import EngineError, WaitTimeout
from jobengine.settings import Settings
from jobengine.worker import STOP_SIGNALS

_ABOUT = "A PostgreSQL job engine: put jobs in, work on them, look after them."
_DATABASE = """\
The database is the one that DATABASE_URL names. Without it an embedded PostgreSQL is started in
JOBENGINE_DATA_DIR (default: .jobengine) and stopped at the end; what was stored there stays.
Answers go to standard output, progress and errors to standard error; with --json an error is one
line of JSON with `error` and `message`, and `field` and `rule` where a value is to blame.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code (`jobengine.cli.codes`)."""
    options = parser().parse_args(arguments)
    logs.begin(options)
    for number in STOP_SIGNALS:
        signal.signal(number, _stopped)
    try:
        code = _answered(options)
        sys.stdout.flush()
    except BrokenPipeError:
        return _nobody_reads()
    return code


def _answered(options: Options) -> int:
    try:
        options.check(options)
        return _run(options)
    except (EngineError, ModuleNotFoundError) as error:
        return _failed(error, json=options.json)


def _run(options: Options) -> int:
    with given_or_embedded(Settings.from_environment(), note) as url:
        code: int = asyncio.run(options.run(url, options))
        return code


def parser() -> Parser:
    """Return the parser of the whole command line."""
    whole = Parser(prog="jobengine", description=_ABOUT, epilog=f"{_DATABASE}\n{codes.epilog()}")
    whole.add_argument("--version", action="version", version=f"jobengine {version('jobengine')}")
    commands = whole.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)
    for group in (install, put, look, change, house, doctor, demo):
        group.add(commands)
    return whole


def _stopped(number: int, _frame: object) -> NoReturn:
    """Unwind, so that everything that was started is stopped and what is open rolls back.

    For Ctrl-C too: asyncio's own handler would wait for a read of standard input to end.
    """
    raise SystemExit(codes.by_signal(signal.Signals(number)))


def _nobody_reads() -> int:
    """End as a program does that SIGPIPE ends; Python would complain once more at its exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return codes.by_signal(signal.SIGPIPE)


def _failed(error: Exception, *, json: bool) -> int:
    if json:
        details = {name: getattr(error, name, None) for name in ("field", "rule", "item", "hint")}
        message = str(error).removesuffix(f"\n{details['hint']}")
        sys.stderr.write(error_json(type(error).__name__, message, **details))
    else:
        note(f"jobengine: {error}")
    if isinstance(error, UsageError):
        return codes.USAGE
    return codes.TIMED_OUT if isinstance(error, WaitTimeout) else codes.FAILED
