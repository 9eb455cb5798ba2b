"""The service's commands: `python -m api COMMAND --help` says what each does."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable
from typing import Any

import orjson

from api import commands
from api.settings import Settings, SettingsError
from jobengine.cli.options import positive
from jobengine.errors import EngineError

FAILED, WRONG = 1, 2


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code: 0 done, 1 failed, 2 wrong usage or settings."""
    options = parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int | None] = options.run
    try:
        return run(options) or 0
    except SettingsError as error:
        return _complain(error, WRONG)
    except (EngineError, commands.Refused) as error:
        return _complain(error, FAILED)
    except KeyboardInterrupt:
        return FAILED


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(prog="python -m api", description=__doc__)
    sub = root.add_subparsers(required=True, metavar="COMMAND")
    up = _command(sub, "up", "serve with everything that it needs, nothing to set up")
    _listening(up)
    up.add_argument(
        "--simulated", action="store_true", help="with a demo account whose terminal is simulated"
    )
    up.set_defaults(run=_up)
    serve = _command(sub, "serve", "serve HTTP until a signal ends it")
    _listening(serve)
    serve.set_defaults(run=_serve)
    migrate = _command(sub, "migrate", "bring the database to this engine and platform")
    migrate.set_defaults(run=lambda _: asyncio.run(commands.migrate(_database_url())))
    verify = _command(
        sub, "verify", "name what differs from what migrate makes: - missing, + unexpected"
    )
    verify.set_defaults(run=_verify)
    openapi = _command(sub, "openapi", "print the description of the interface")
    openapi.set_defaults(run=lambda _: print(_description()))
    _demo(_command(sub, "demo", "everything at work in processes of its own, and proved"))
    _user(_command(sub, "user", "users, where no other system keeps them"))
    return root


def _command(commands: Any, name: str, about: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=about, description=about)
    return parser


def _user(user: argparse.ArgumentParser) -> None:
    actions = user.add_subparsers(required=True, metavar="ACTION")
    add = _command(actions, "add", "add a user and print the id")
    token = _command(actions, "token", "print a token for the user")
    token.add_argument("--hours", type=positive, default=24.0, help="how long it is valid (24)")
    for action in (add, token):
        action.add_argument("email", metavar="EMAIL")
    add.set_defaults(run=lambda o: print(commands.add_user(os.environ, o.email)))
    token.set_defaults(run=lambda o: print(commands.token(os.environ, o.email, o.hours)))


def _demo(demo: argparse.ArgumentParser) -> None:
    demo.add_argument("--json", action="store_true", help="the result as JSON")
    demo.add_argument("--seed", type=int, default=1, help="decides who is killed, and the order")
    demo.set_defaults(run=_run_demo)


def _run_demo(options: argparse.Namespace) -> None:
    from api.demo.command import demo  # noqa: PLC0415 - only the demo needs it

    demo(seed=options.seed, json=options.json)


def _listening(command: argparse.ArgumentParser) -> None:
    command.add_argument("--host", help="the address to listen on (default: $HOST or 127.0.0.1)")
    command.add_argument("--port", help="the port to listen on (default: $PORT or 8000)")


def _listen(options: argparse.Namespace) -> dict[str, str]:
    """Return what the command line says instead of the environment."""
    given = {"HOST": options.host, "PORT": options.port}
    return {name: value for name, value in given.items() if value is not None}


def _up(options: argparse.Namespace) -> None:
    commands.up(os.environ, _listen(options), simulated=options.simulated)


def _serve(options: argparse.Namespace) -> None:
    commands.serve(Settings.from_environment({**os.environ, **_listen(options)}))


def _verify(_: argparse.Namespace) -> int:
    differences = asyncio.run(commands.verify(_database_url()))
    print("\n".join(differences) or "the database is as this version makes it")
    return FAILED if differences else 0


def _database_url() -> str:
    if url := os.environ.get("DATABASE_URL"):
        return url
    raise SettingsError("DATABASE_URL is not set; it names the database.")


def _description() -> str:
    return orjson.dumps(commands.openapi(), option=orjson.OPT_INDENT_2).decode()


def _complain(error: Exception, code: int) -> int:
    print(f"api: {error}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
