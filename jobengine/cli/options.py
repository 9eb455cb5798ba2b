"""What options of several commands have in common: readers of values, parsers with `--json`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn, TypeAlias
from uuid import UUID

import orjson

from jobengine.cli import codes
from jobengine.errors import EngineError, InvalidArgument

Options: TypeAlias = argparse.Namespace
Run: TypeAlias = Callable[[str, Options], Awaitable[int]]


class UsageError(EngineError):
    """The command line asks for what cannot be; nothing was done."""


class Parser(argparse.ArgumentParser):
    """A parser that shows texts as they are written, and errors as JSON where JSON is asked for."""

    def __init__(self, **arguments: Any) -> None:
        """No abbreviations: a script must not change its meaning with a new option."""
        arguments.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, **arguments)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Remember whether JSON is asked for, before anything can be wrong."""
        self._asked = list(sys.argv[1:] if args is None else args)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and leave with the code for wrong usage."""
        if "--json" in self._asked:
            sys.stderr.write(error_json("UsageError", message))
            sys.exit(codes.USAGE)
        super().error(message)


def error_json(name: str, message: str, **fields: Any) -> str:
    """Return the line that an error is for programs."""
    given = {key: value for key, value in fields.items() if value is not None}
    return orjson.dumps({"error": name, "message": message, **given}).decode() + "\n"


def command(
    commands: Any,
    run: Run,
    summary: str,
    about: str,
    *,
    check: Callable[[Options], None] | None = None,
    json: bool = True,
) -> argparse.ArgumentParser:
    """Add a command named as `run` is; `about` follows the summary in its help.

    `check` raises `UsageError` for options that do not go together, before anything is opened.
    """
    name = run.__name__.strip("_")
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary}\n\n{about.strip()}",
        epilog="exit codes: jobengine --help",
    )
    parser.set_defaults(run=run, check=check or _nothing, json=False)
    if json:
        parser.add_argument("--json", action="store_true", help="JSON, for programs")
    return parser


def _nothing(_: Options) -> None:
    """Any options go together."""


def add_tenant(parser: argparse.ArgumentParser, meaning: str) -> None:
    """Add `--tenant`."""
    parser.add_argument("--tenant", type=UUID, metavar="ID", dest="tenant_id", help=meaning)


def add_yes(parser: argparse.ArgumentParser) -> None:
    """Add `--yes`, for `confirm`."""
    parser.add_argument("--yes", action="store_true", help="do not ask")


def confirm(question: str, *, yes: bool) -> None:
    """Go on only if the operator agrees; without a terminal, `--yes` is his word."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"{question} needs --yes where nobody can be asked")
    sys.stderr.write(f"{question}? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise EngineError("nothing was done")


def whole(least: int) -> Callable[[str], int]:
    """Return a reader of whole numbers that are not below `least`."""

    def number(text: str) -> int:
        if int(text) < least:
            raise argparse.ArgumentTypeError(f"at least {least}")
        return int(text)

    return number


def positive(text: str) -> float:
    """Read a number above 0."""
    if not 0 < float(text) < float("inf"):
        raise argparse.ArgumentTypeError("a number above 0")
    return float(text)


def not_negative(text: str) -> float:
    """Read a number from 0."""
    if not 0 <= float(text) < float("inf"):
        raise argparse.ArgumentTypeError("a number from 0")
    return float(text)


def moment(text: str) -> datetime:
    """Read a time that says its zone."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise argparse.ArgumentTypeError("a time with its zone, as 2030-01-31T12:00:00Z")
    return time


def json_value(text: str, field: str) -> Any:
    """Read JSON: the text itself, `-` for standard input, `@FILE` for a file."""
    try:
        return orjson.loads(_content(text, field))
    except orjson.JSONDecodeError as error:
        raise InvalidArgument(field, f"JSON: {error}") from error


def _content(text: str, field: str) -> bytes:
    if text == "-":
        return sys.stdin.buffer.read()
    if not text.startswith("@"):
        return text.encode(errors="surrogateescape")
    try:
        return Path(text[1:]).read_bytes()
    except OSError as error:
        raise InvalidArgument(field, f"a file that can be read: {error}") from error
