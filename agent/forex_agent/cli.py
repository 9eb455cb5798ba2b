"""`forex-agent pair|run|doctor`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import getpass
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from forex_agent import __version__, doctor, logs, pairing
from forex_agent.agent import Stop, run
from forex_agent.client import CallError, KeyRefused
from forex_agent.drivers import NoDriver, driver
from forex_agent.journal import Broken, InUse
from forex_agent.rules import URL
from forex_agent.secret import Exposed
from forex_agent.settings import Settings, WrongSettings, load

FAILED, WRONG_USAGE, KEY_REFUSED = 1, 2, 3
"""Exit codes; 3: the key is not let in any more, so starting again helps nobody."""
log = logging.getLogger("forex_agent")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    told = _parser().parse_args(arguments)
    commands: dict[str, Callable[[argparse.Namespace], int]] = {
        "pair": _pair,
        "run": _run,
        "doctor": _doctor,
    }
    try:
        return commands[told.command](told)
    except (WrongSettings, Exposed, NoDriver) as error:
        return _complain(error, WRONG_USAGE)
    except KeyRefused as error:
        return _complain(error, KEY_REFUSED)
    except (pairing.NotPaired, CallError, Broken, InUse, OSError) as error:
        return _complain(error, FAILED)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="forex-agent", description=__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--state", type=Path, help="the state folder (FOREX_AGENT_STATE)")
    commands = parser.add_subparsers(dest="command", required=True)
    pair = commands.add_parser("pair", help="make this the agent of an account")
    pair.add_argument("--url", help="where the service is (FOREX_AGENT_SERVICE_URL)")
    pair.add_argument("--token", help="your token (FOREX_AGENT_TOKEN; else it is asked for)")
    pair.add_argument("--name", default=socket.gethostname(), help="what to call the agent")
    pair.add_argument("--broker-connection", help="the id of the account that it works on")
    running = commands.add_parser("run", help="work until told to stop")
    running.add_argument(
        "--stop-with-stdin", action="store_true", help="stop when standard input ends"
    )
    checking = commands.add_parser("doctor", help="find out what is wrong")
    for one in (running, checking):
        one.add_argument(
            "--simulated", action="store_true", help="with the simulated terminal, whatever is set"
        )
    return parser


def _pair(told: argparse.Namespace) -> int:
    settings = load(told.state)
    url = told.url or settings.service_url
    try:
        url = str(URL.read(url))
    except (ValueError, TypeError) as error:
        raise WrongSettings(f"--url: must be {URL.words}") from error
    token = told.token or os.environ.get("FOREX_AGENT_TOKEN") or getpass.getpass("Token: ")
    agent_id = asyncio.run(
        pairing.pair(
            settings.state,
            url,
            token,
            name=told.name,
            broker_connection_id=told.broker_connection,
        )
    )
    sys.stdout.write(f"paired: agent {agent_id}, state in {settings.state}\n")
    return 0


def _run(told: argparse.Namespace) -> int:
    settings = _settings(told)
    logs.configure(settings)
    asyncio.run(_until_told(settings, told))
    return 0


def _doctor(told: argparse.Namespace) -> int:
    settings = _settings(told)
    findings = asyncio.run(doctor.examine(settings))
    sys.stdout.write(doctor.show(findings))
    return FAILED if any(not one.ok for one in findings) else 0


def _settings(told: argparse.Namespace) -> Settings:
    overrides: dict[str, Any] = {"terminal": "simulated"} if told.simulated else {}
    return load(told.state, **overrides)


async def _until_told(settings: Settings, told: argparse.Namespace) -> None:
    stop = Stop(asyncio.Event(), asyncio.Event())
    loop = asyncio.get_running_loop()

    def end(*_: object) -> None:
        """The first time: drain; the second: end now."""
        (stop.now if stop.drain.is_set() else stop.drain).set()

    for one in (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(one, end)
        except NotImplementedError:  # Windows
            signal.signal(one, lambda *_: loop.call_soon_threadsafe(end))
    if told.stop_with_stdin:
        threading.Thread(target=_await_end_of_input, args=(loop, stop), daemon=True).start()
    await run(settings, driver(settings), stop)


def _await_end_of_input(loop: asyncio.AbstractEventLoop, stop: Stop) -> None:
    """Whoever started the agent is gone when its end of the pipe is."""
    sys.stdin.buffer.read()
    with contextlib.suppress(RuntimeError):  # the loop has ended before
        loop.call_soon_threadsafe(stop.drain.set)


def _complain(error: Exception, code: int) -> int:
    sys.stderr.write(f"forex-agent: {error}\n")
    return code
