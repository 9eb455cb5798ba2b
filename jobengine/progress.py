"""Progress on standard error: one moving line on a terminal, a line per tenth elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TextIO

_WIDTH = 32


class Progress:
    """Shows how much of an amount is done; of an unknown amount only what is done."""

    def __init__(self, label: str, total: int | None, stream: TextIO | None = None) -> None:
        """Writes to standard error unless told otherwise; None: nobody knows how much there is."""
        self._label = label
        self._total = total if total is None else max(total, 1)
        self._stream = stream or sys.stderr
        self._began = time.monotonic()
        self._tenth = -1
        self._last = ""

    def show(self, done: int, note: str = "") -> None:
        """Show that so much is done."""
        rate = done / max(time.monotonic() - self._began, 1e-9)
        if self._total is None:
            self._last = f"{self._label} {done} {rate:.0f}/s {note}".rstrip()
            self._draw(self._last)
            return
        share = min(done / self._total, 1.0)
        text = f"{self._label} {share:4.0%} {done}/{self._total} {rate:.0f}/s {note}".rstrip()
        bar = "█" * int(share * _WIDTH)
        self._draw(f"{bar:·<{_WIDTH}} {text}")
        if not self._stream.isatty() and int(share * 10) > self._tenth:
            self._tenth = int(share * 10)
            self._write(text + "\n")

    def end(self) -> None:
        """Leave the line; elsewhere say what became of an unknown amount."""
        if self._stream.isatty():
            self._write("\n")
        elif self._last:
            self._write(self._last + "\n")

    def _draw(self, line: str) -> None:
        if self._stream.isatty():
            self._write(f"\r\x1b[K{line}")

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
