"""`python -m api demo`: the command around the run."""

from __future__ import annotations

import signal
import sys
from typing import NoReturn

from api import commands
from api.demo.report import print_result
from api.demo.run import run_demo
from jobengine.cli.show import say_json


def demo(*, seed: int, json: bool) -> None:
    """Run the demo and print its result; `Refused` where a proof fails."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stopped)
    result = run_demo(seed=seed)
    if json:
        say_json(result.as_dict())
    else:
        print_result(result)
    sys.stdout.flush()
    if not result.proved:
        raise commands.Refused("the demo's result is not proved")


def _stopped(number: int, _frame: object) -> NoReturn:
    """Unwind, so that every process that was started is stopped."""
    sys.exit(128 + number)
