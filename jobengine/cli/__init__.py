"""The command line: `jobengine COMMAND --help` says what each command does."""

from __future__ import annotations

from jobengine.cli.main import main

__all__ = ["main"]
