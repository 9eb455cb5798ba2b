"""Keeps a process alive that is made to die: each life has a point of its own to end at."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).parents[3]
END_SECONDS = 60.0


class Keeper:
    """Runs a module of this folder; after a SIGKILL it is started again with the next point.

    `killed` counts the deaths by their points. A process that ends any other way is `broken`, and
    stays dead.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
    ) -> None:
        self._command = [sys.executable, "-m", f"tests.faults.trades.{module}", *arguments]
        self._environment = {**os.environ, **environment, "PYTHONPATH": f"{ROOT}:{ROOT / 'agent'}"}
        self._log = log
        self._told = log.with_suffix(".kill")
        self._points: list[str] = []
        self._lock = threading.Lock()
        self._ending = False
        self._point = ""
        self.killed: Counter[str] = Counter()
        self.broken: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._start()
        self._thread = threading.Thread(target=self._tend, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Have it end in order; one that does not is killed."""
        assert self._thread is not None
        with self._lock:
            self._ending = True
            self._send(signal.SIGTERM)
        self._thread.join(END_SECONDS)
        if self._thread.is_alive():
            self._send(signal.SIGKILL)
            self._thread.join()

    def plan(self, points: Iterable[str]) -> None:
        """Add points to die at, one per life; a process that runs without one gets the first."""
        with self._lock:
            self._points.extend(points)
            if self._process is not None and not self._point:
                self._next()
                self._send(signal.SIGUSR1)

    @property
    def spent(self) -> bool:
        """Whether all points have been died at."""
        with self._lock:
            return not self._points and not self._point

    def printed(self) -> str:
        return self._log.read_text(errors="replace")

    def _next(self) -> None:
        self._point = self._points.pop(0) if self._points else ""
        self._told.write_text(self._point)

    def _start(self) -> None:
        self._next()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env={**self._environment, "KILL_AT": str(self._told)},
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=ROOT,
            )

    def _tend(self) -> None:
        while True:
            assert self._process is not None
            code = self._process.wait()
            with self._lock:
                if self._ending:
                    return
                if code != -signal.SIGKILL:
                    self.broken = f"{self._command[2]} ended with {code}"
                    return
                self.killed[self._point.partition(":")[0]] += 1
                self._start()

    def _send(self, number: int) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
