"""What an agent must still know after it was killed: one line of JSON per event, in a file."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any, Self, TypeAlias

Entry: TypeAlias = dict[str, Any]


class Journal:
    """Appends events; a line that was written survives the death of the process."""

    def __init__(self, path: Path) -> None:
        self.before = read(path) if path.exists() else []
        self._file = path.open("a", encoding="utf-8")
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, event: str, **fields: Any) -> None:
        """Append an event with its time."""
        line = json.dumps({"event": event, "at": time.time(), **fields})
        with self._lock:
            self._file.write(f"{line}\n")
            self._file.flush()


def read(path: Path) -> list[Entry]:
    """Return the events; a last line that was cut short is none."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]
