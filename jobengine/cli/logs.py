"""Where the log of a command goes: standard error, as text or as a line of JSON per event."""

from __future__ import annotations

import logging

from jobengine.cli.options import Options
from jobengine.logs import JsonFormatter

FORMATS = ("text", "json")
LEVELS = ("debug", "info", "warning", "error")


def begin(options: Options) -> None:
    """Set logging up as the command line asks."""
    handler = logging.StreamHandler()
    handler.setFormatter(_formatter(getattr(options, "log_format", "text")))
    # Where a program reads, standard error holds one line: the error.
    level = getattr(options, "log_level", "error" if options.json else "warning")
    logging.basicConfig(level=level.upper(), handlers=[handler])
    # psycopg has a level of its own. Where no server is, its pool warns twenty times before a
    # command can say so once; `work`, which goes on, shows them.
    driver = getattr(options, "log_level", "error")
    logging.getLogger("psycopg").setLevel(driver.upper())


def _formatter(kind: str) -> logging.Formatter:
    if kind == "json":
        return JsonFormatter()
    return logging.Formatter("%(levelname)s %(name)s: %(message)s")
