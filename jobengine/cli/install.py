"""`install` and `verify`: the engine in the database."""

from __future__ import annotations

from typing import Any

from jobengine.cli import codes
from jobengine.cli.options import Options, command
from jobengine.cli.show import say, say_json
from jobengine.engine import JobEngine

_INSTALL = """
Creates the roles, tables and functions of schema jobengine, or brings older ones to this version,
in one transaction: it all happens or nothing does. Safe to repeat, and to run from several
processes at once. It refuses a database that a newer library has installed.

  jobengine install
  jobengine install --no-roles        # where roles may not be created

contract: jobengine.schema.install
"""
_VERIFY = """
Compares tables, indexes, functions, grants and policies with what install makes, and changes
nothing. `-` stands before what is missing, `+` before what should not be there. `jobengine doctor`
says what to do about each.

  jobengine verify

contract: jobengine.schema.verify
"""


def add(commands: Any) -> None:
    """Add the commands."""
    parser = command(
        commands, _install, "Bring the database to this version of the engine.", _INSTALL
    )
    parser.add_argument(
        "--no-roles",
        action="store_true",
        help="create no roles: the installing role owns everything and is its only user",
    )
    command(
        commands, _verify, "Name every difference between the database and this version.", _VERIFY
    )


async def _install(url: str, options: Options) -> int:
    async with JobEngine(url) as engine:
        installed = await engine.install(roles=not options.no_roles)
    if options.json:
        say_json(installed)
    else:
        say(f"installed; new: {', '.join(installed.applied) or 'nothing'}")
    return codes.DONE


async def _verify(url: str, options: Options) -> int:
    async with JobEngine(url) as engine:
        differences = await engine.verify()
    if options.json:
        say_json({"differences": differences})
    else:
        say("\n".join(differences) or "the database is as this version installs it")
    return codes.FAILED if differences else codes.DONE
