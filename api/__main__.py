"""The service's commands: `python -m api serve`."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys

import uvicorn

from api.app import create_app
from api.settings import Settings, SettingsError, parse_port


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        settings = chosen(Settings.from_environment(os.environ), options)
    except SettingsError as error:
        print(f"api: {error}", file=sys.stderr)
        return 2
    serve(settings)
    return 0


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(prog="python -m api", description=__doc__)
    commands = root.add_subparsers(required=True, metavar="COMMAND")
    serving = commands.add_parser("serve", help="serve HTTP until a signal ends it")
    serving.add_argument("--host", help="the address to listen on (default: $HOST or 127.0.0.1)")
    serving.add_argument("--port", help="the port to listen on (default: $PORT or 8000)")
    return root


def chosen(settings: Settings, options: argparse.Namespace) -> Settings:
    """Return the settings with what the command line says instead."""
    if options.host is not None:
        settings = dataclasses.replace(settings, host=options.host)
    if options.port is not None:
        settings = dataclasses.replace(settings, port=parse_port(options.port))
    return settings


def serve(settings: Settings) -> None:
    """Serve until a signal ends it; the access log is off because it would print whole URLs."""
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        access_log=False,
        server_header=False,
    )


if __name__ == "__main__":
    sys.exit(main())
