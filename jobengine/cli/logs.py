"""Where the log of a command goes: standard error, as text or as a line of JSON per event."""

from __future__ import annotations

import logging

import orjson

from jobengine.cli.options import Options

FORMATS = ("text", "json")
LEVELS = ("debug", "info", "warning", "error")


class _JsonFormatter(logging.Formatter):
    """Stands in for `jobengine.logs.JsonFormatter`."""

    def format(self, record: logging.LogRecord) -> str:
        event = {
            "time": record.created,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            event["error"] = self.formatException(record.exc_info)
        return orjson.dumps(event).decode()


def begin(options: Options) -> None:
    """Set logging up as the command line asks."""
    handler = logging.StreamHandler()
    handler.setFormatter(_formatter(getattr(options, "log_format", "text")))
    # Where a program reads, standard error holds one line: the error.
    level = getattr(options, "log_level", "error" if options.json else "warning")
    logging.basicConfig(level=level.upper(), handlers=[handler])


def _formatter(kind: str) -> logging.Formatter:
    if kind == "json":
        return _JsonFormatter()
    return logging.Formatter("%(levelname)s %(name)s: %(message)s")
