"""Expert advisors of a simulated terminal: they compile, are deployed and run, but do not trade."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Sequence
from pathlib import Path

from forex_agent.simulated.mql5 import Finding, check
from forex_agent.simulated.timeframes import TIMEFRAMES
from forex_agent.terminal import Chart, Compiled, NotSent

_NAME = re.compile(r"\w[\w .-]{0,99}")
_MAGIC = b"EX5\x00simulated\x00"


class SimulatedExperts:
    """Programs in `folder/Experts`, charts in `folder/charts.json`; both outlive the process.

    Any thread may call.
    """

    def __init__(self, folder: Path) -> None:
        """Use the terminal's folder; it is made where it is missing."""
        self._programs = folder / "Experts"
        self._charts = folder / "charts.json"
        self._lock = threading.Lock()

    def compile(self, name: str, source: bytes) -> Compiled:
        """Check the source; the same source gives the same program, byte by byte."""
        _plain(name)
        errors, warnings = check(_text(source))
        program = None if errors else _MAGIC + hashlib.sha256(source).digest()
        log = _log(f"{name}.mq5", errors, warnings)
        return Compiled(program=program, errors=len(errors), warnings=len(warnings), log=log)

    def deploy(self, name: str, program: bytes) -> None:
        """Put a program into the folder, in place of one of that name."""
        _plain(name)
        if not program.startswith(b"EX5"):
            raise NotSent("invalid_input", "program: not a compiled .ex5")
        with self._lock:
            _write(self._programs / f"{name}.ex5", program)

    def run(self, chart: Chart) -> None:
        """Start a deployed program on a chart, in place of what the chart has."""
        _plain(chart.expert)
        if chart.timeframe not in TIMEFRAMES:
            raise NotSent("invalid_input", f"timeframe: one of {', '.join(TIMEFRAMES)}")
        if not (self._programs / f"{chart.expert}.ex5").is_file():
            raise NotSent("not_sent", f"expert: {chart.expert!r} is not deployed")
        with self._lock:
            charts = self._running()
            charts[_key(chart)] = {"inputs": dict(chart.inputs), "magic": chart.magic}
            self._save(charts)

    def stop(self, chart: Chart) -> None:
        """Take the program off its chart; no error where it is not there."""
        with self._lock:
            charts = self._running()
            if charts.pop(_key(chart), None) is not None:
                self._save(charts)

    def active(self) -> int:
        """Return how many run."""
        with self._lock:
            return len(self._running())

    def _running(self) -> dict[str, object]:
        with contextlib.suppress(FileNotFoundError):
            charts: dict[str, object] = json.loads(self._charts.read_text(encoding="utf-8"))
            return charts
        return {}

    def _save(self, charts: dict[str, object]) -> None:
        _write(self._charts, json.dumps(charts, indent=2).encode())


def _key(chart: Chart) -> str:
    return f"{chart.expert}/{chart.symbol}/{chart.timeframe}"


def _plain(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise NotSent(
            "invalid_input",
            f"name: letters, digits, blank, dot, hyphen and underscore, not {name!r}",
        )


def _text(source: bytes) -> str:
    """Decode as MetaEditor does: by the byte order mark, else as UTF-8."""
    marked = source.startswith((b"\xff\xfe", b"\xfe\xff"))
    return source.decode("utf-16" if marked else "utf-8-sig", errors="replace")


def _log(file: str, errors: Sequence[Finding], warnings: Sequence[Finding]) -> str:
    lines = [f"{file} : information: compiling '{file}'"]
    for word, findings in (("error", errors), ("warning", warnings)):
        lines += [f"{file}({f.line},{f.column}) : {word} : {f.message}" for f in findings]
    return "\n".join([*lines, f"Result: {len(errors)} errors, {len(warnings)} warnings", ""])


def _write(path: Path, content: bytes) -> None:
    """Replace a file whole: whoever dies leaves the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(content)
    part.replace(path)
