"""The command line: `jobengine COMMAND --help` says what each command does."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn
from uuid import UUID

import orjson

from jobengine._retrying import persistently
from jobengine.engine import JobEngine
from jobengine.errors import EngineError
from jobengine.settings import Settings
from jobengine.worker import STOP_SIGNALS, Worker

FAILED = 1
_EPILOG = """\
The database is the one that DATABASE_URL names. Without it an embedded PostgreSQL is started in
JOBENGINE_DATA_DIR (default: .jobengine) and stopped at the end; what was stored there stays.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 done, 1 failed, 2 wrong usage."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    signal.signal(signal.SIGTERM, _terminated)
    try:
        with _database(Settings.from_environment()) as url:
            code: int = asyncio.run(options.run(url, options))
            return code
    except (EngineError, ModuleNotFoundError) as error:
        print(f"jobengine: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _terminated(number: int, _frame: object) -> NoReturn:
    """Unwind, so that everything that was started is stopped."""
    raise SystemExit(128 + number)


@contextlib.contextmanager
def _database(settings: Settings) -> Iterator[str]:
    if settings.database_url is not None:
        yield settings.database_url
        return
    from jobengine.embedded import EmbeddedPostgres  # noqa: PLC0415 - an extra, not always there

    with EmbeddedPostgres(settings.data_dir / "postgres", progress=_say) as server:
        yield server.url


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _show(value: Any) -> None:
    print(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jobengine", description="A PostgreSQL job engine.", epilog=_EPILOG
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_schema_commands(commands)
    _add_job_commands(commands)
    _add_work_commands(commands)
    _add_demo(commands)
    return parser


def _command(commands: Any, run: Callable[..., Any], help: str) -> argparse.ArgumentParser:  # noqa: A002 - argparse's word
    name = run.__name__.strip("_")
    parser: argparse.ArgumentParser = commands.add_parser(name, help=help, description=help)
    parser.set_defaults(run=run)
    return parser


def _add_schema_commands(commands: Any) -> None:
    install = _command(commands, _install, "Bring the database to this version of the engine.")
    install.add_argument(
        "--no-roles",
        action="store_true",
        help="create no roles: the installing role owns everything and is its only user",
    )
    _command(commands, _verify, "Name every difference between the database and this version.")


def _add_job_commands(commands: Any) -> None:
    enqueue = _command(commands, _enqueue, "Put a job in.")
    enqueue.add_argument("job_type")
    enqueue.add_argument("input", nargs="?", default="{}", help="JSON (default: {})")
    enqueue.add_argument("--queue")
    enqueue.add_argument("--priority", type=int, help="0 (first) to 9")
    enqueue.add_argument("--delay", type=float, help="seconds")
    enqueue.add_argument("--wait", type=float, metavar="SECONDS", help="wait for the result")
    get = _command(commands, _get, "Show a job.")
    get.add_argument("job_id", type=UUID)
    _command(commands, _stats, "Show what waits and what is held, per queue.")


def _add_work_commands(commands: Any) -> None:
    work = _command(commands, _work, "Work until SIGTERM or Ctrl-C.")
    work.add_argument(
        "app",
        nargs="?",
        metavar="MODULE:FACTORY",
        help="a function that takes the JobEngine and returns a Worker; "
        "without it only housekeeping is done: run-out leases, expiry, settles, retention",
    )
    work.add_argument(
        "--keep-days", type=float, default=30.0, help="housekeeping removes older ended jobs"
    )
    sweep = _command(commands, _sweep, "Take back run-out leases, end what expired, settle again.")
    sweep.add_argument("--limit", type=int, default=1000)


def _from(least: int) -> Callable[[str], int]:
    """Return a reader of whole numbers that are not below `least`."""

    def number(text: str) -> int:
        if int(text) < least:
            raise argparse.ArgumentTypeError(f"at least {least}")
        return int(text)

    return number


def _add_demo(commands: Any) -> None:
    demo = _command(
        commands,
        _demo,
        "Hash every file of a folder with worker processes that are killed in the middle of jobs, "
        "and prove against the disk that nothing was lost or counted twice.",
    )
    demo.add_argument("path", nargs="?", type=Path, default=Path(), help="default: this folder")
    demo.add_argument("--workers", type=_from(1), default=4, help="processes (default: 4)")
    demo.add_argument(
        "--kill",
        type=_from(0),
        default=3,
        help="workers to kill (default: 3); some jobs linger for it",
    )
    demo.add_argument("--seed", type=int, default=1, help="decides who is killed")
    demo.add_argument("--json", action="store_true", help="print the result as JSON")


async def _install(url: str, options: argparse.Namespace) -> int:
    async with JobEngine(url) as engine:
        installed = await engine.install(roles=not options.no_roles)
    print(f"installed; new: {', '.join(installed.applied) or 'nothing'}")
    return 0


async def _verify(url: str, _options: argparse.Namespace) -> int:
    async with JobEngine(url) as engine:
        differences = await engine.verify()
    print("\n".join(differences) or "the database is as this version installs it")
    return FAILED if differences else 0


async def _enqueue(url: str, options: argparse.Namespace) -> int:
    try:
        data = orjson.loads(options.input)
    except orjson.JSONDecodeError as error:
        raise EngineError(f"invalid input: not JSON: {error}") from error
    async with JobEngine(url) as engine:
        job = await engine.enqueue(
            options.job_type,
            data,
            queue=options.queue,
            priority=options.priority,
            delay=options.delay,
            wake=options.wait is not None,
        )
        if options.wait is None:
            _show(job)
        else:
            _show(await engine.wait(job.id, timeout=options.wait))
    return 0


async def _get(url: str, options: argparse.Namespace) -> int:
    async with JobEngine(url) as engine:
        job = await engine.get(options.job_id)
    if job is None:
        raise EngineError(f"no job {options.job_id}")
    _show(job)
    return 0


async def _stats(url: str, _options: argparse.Namespace) -> int:
    async with JobEngine(url) as engine:
        _show(await engine.stats())
    return 0


async def _work(url: str, options: argparse.Namespace) -> int:
    async with JobEngine(url) as engine:
        if options.app is None:
            await _keep_house(engine, options.keep_days * 86400)
        else:
            worker = _worker(options.app, engine)
            await worker.run(signals=STOP_SIGNALS)
            if worker.abandoned:
                _leave()
    return 0


def _leave() -> NoReturn:
    """End although a handler runs: Python itself would wait for it, perhaps for ever."""
    print("jobengine: a handler took no notice of its end; left without it", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(FAILED)


def _worker(app: str, engine: JobEngine) -> Worker:
    module, _, factory = app.partition(":")
    if not module:
        raise EngineError(f"{app} names no module")
    sys.path.insert(0, "")
    make = getattr(importlib.import_module(module), factory or "worker", None)
    if make is None:
        raise EngineError(f"{module} has no {factory or 'worker'}")
    worker = make(engine)
    if not isinstance(worker, Worker):
        raise EngineError(f"{app} returned {worker!r}, not a Worker")
    return worker


async def _keep_house(engine: JobEngine, keep: float) -> None:
    """Sweep and prune until stopped, also through outages of the server."""
    stop = asyncio.Event()
    for number in STOP_SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    async def round_of_work(after: UUID | None) -> UUID | None:
        swept = await engine.sweep()
        pruned = await engine.prune(keep=keep, after=after)
        if not swept.more and not pruned.more:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await stop.wait()
        return pruned.last_job_id if pruned.more else None

    after: UUID | None = None
    while not stop.is_set():
        after = await persistently(partial(round_of_work, after), "housekeeping", stop)


async def _sweep(url: str, options: argparse.Namespace) -> int:
    async with JobEngine(url) as engine:
        _show(await engine.sweep(limit=options.limit))
    return 0


async def _demo(url: str, options: argparse.Namespace) -> int:
    from jobengine.demo.report import print_result  # noqa: PLC0415 - only the demo needs it
    from jobengine.demo.run import Options, run_demo  # noqa: PLC0415

    result = await run_demo(url, Options(options.path, options.workers, options.kill, options.seed))
    if options.json:
        _show(result.as_dict())
    else:
        print_result(result)
    return 0 if result.proved else FAILED


if __name__ == "__main__":
    sys.exit(main())
