"""The command line, run as people run it: a process with DATABASE_URL."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

PATIENCE = 60.0


@dataclass(frozen=True)
class Said:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return orjson.loads(self.out)


class CommandLine:
    """Runs `jobengine` on a database, in a folder."""

    def __init__(self, url: str | None, folder: Path, **environment: str) -> None:
        self._folder = folder
        self._environment = {**os.environ, **environment}
        self._environment.pop("DATABASE_URL", None)
        if url is not None:
            self._environment["DATABASE_URL"] = url

    def __call__(self, *arguments: object, stdin: bytes = b"") -> Said:
        process = self.start(*arguments)
        out, err = process.communicate(stdin, timeout=PATIENCE)
        return Said(process.returncode, out.decode(), err.decode())

    def start(self, *arguments: object, stdin: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "jobengine", *map(str, arguments)],
            cwd=self._folder,
            env=self._environment,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    @contextmanager
    def start_on_terminal(
        self, *arguments: object, answer: bytes
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Start it where somebody types this answer."""
        ours, theirs = pty.openpty()
        try:
            with self.start(*arguments, stdin=theirs) as process:
                os.write(ours, answer)
                yield process
        finally:
            os.close(ours)
            os.close(theirs)
