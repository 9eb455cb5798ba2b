"""Expert advisors on this machine: `Experts` as far as a program can do it (docs/mt5.md).

Compiling and deploying are done. Starting and stopping are not: neither the package nor the
terminal has a function for charts. There `NotSent` (`by_hand`) says what a person does.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from forex_agent.mt5 import compiler, names, startup
from forex_agent.mt5.folders import Folders
from forex_agent.terminal import Chart, Compiled, NotSent


class MT5Experts:
    """Compiles with MetaEditor, at most `timeout` seconds long, and deploys into MQL5/Experts."""

    def __init__(self, folders: Folders, *, timeout: float = 240.0) -> None:
        self._folders = folders
        self._timeout = timeout

    def compile(self, name: str, source: bytes) -> Compiled:
        """Compile MQL5 source, in a folder of its own that is gone afterwards.

        It lies in MQL5/Experts, where the compiler finds the terminal's include files.
        """
        with _files(), self._workshop() as folder:
            path = folder / f"{names.expert(name)}.mq5"
            path.write_bytes(source)
            return compiler.build(self._folders.editor, path, self._timeout)

    @contextlib.contextmanager
    def _workshop(self) -> Iterator[Path]:
        folder = Path(tempfile.mkdtemp(prefix="forex-agent-", dir=self._folders.experts))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def deploy(self, name: str, program: bytes) -> None:
        """Put the program into MQL5/Experts, whole or not at all; replaces one of that name."""
        target = f"{names.expert(name)}.ex5"
        if not program:
            raise NotSent("invalid_input", "program: not empty")
        with _files(), self._workshop() as folder:
            (folder / target).write_bytes(program)
            (folder / target).replace(self._folders.experts / target)

    def run(self, chart: Chart) -> None:
        """Prepare the start, and raise `NotSent` (`by_hand`) with what is left to do."""
        with _files():
            program = self._folders.experts / f"{names.expert(chart.expert)}.ex5"
            if not program.is_file():
                raise NotSent("not_sent", f"{program} is not there: deploy it first")
            start = startup.write(chart, self._folders)
        _by_hand(
            f"drag {chart.expert} from the Navigator onto a {chart.symbol} {chart.timeframe} chart"
            f" and load the inputs {start.stem}.set; or close the terminal and start it with"
            f' /config:"{start}"'
        )

    def stop(self, chart: Chart) -> None:
        """Raise `NotSent` (`by_hand`): only a person can take a program off its chart."""
        _by_hand(f"remove {chart.expert} from the {chart.symbol} {chart.timeframe} chart")

    def active(self) -> int:
        """Raise `NotSent` (`by_hand`): nobody but the terminal's window tells."""
        _by_hand("look at the charts of the terminal")


def _by_hand(what: str) -> NoReturn:
    raise NotSent("by_hand", f"MetaTrader 5 lets no other program do this: {what}")


@contextlib.contextmanager
def _files() -> Iterator[None]:
    """Turn an error of the file system into `NotSent`: such as a program that is in use."""
    try:
        yield
    except OSError as error:
        raise NotSent("not_sent", f"{error.strerror}: {error.filename}") from error
