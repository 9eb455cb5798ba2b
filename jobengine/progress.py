"""A progress bar on standard error: one moving line on a terminal, a line per tenth elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TextIO

_WIDTH = 32


class Progress:
    """Shows how much of a known amount is done."""

    def __init__(self, label: str, total: int, stream: TextIO | None = None) -> None:
        """Writes to standard error unless told otherwise."""
        self._label = label
        self._total = max(total, 1)
        self._stream = stream or sys.stderr
        self._began = time.monotonic()
        self._tenth = -1

    def show(self, done: int, note: str = "") -> None:
        """Show that so much is done."""
        share = min(done / self._total, 1.0)
        rate = done / max(time.monotonic() - self._began, 1e-9)
        text = f"{self._label} {share:4.0%} {done}/{self._total} {rate:.0f}/s {note}".rstrip()
        if self._stream.isatty():
            bar = "█" * int(share * _WIDTH)
            self._write(f"\r\x1b[K{bar:·<{_WIDTH}} {text}")
        elif int(share * 10) > self._tenth:
            self._tenth = int(share * 10)
            self._write(text + "\n")

    def end(self) -> None:
        """Leave the line."""
        if self._stream.isatty():
            self._write("\n")

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
