"""MetaEditor as a command-line compiler: a process with a time limit, and a log to be read.

Its exit code says nothing (builds differ), so it is not looked at: a program was made if its file
is there and the log counts no errors.
"""

from __future__ import annotations

import contextlib
import platform
import re
import subprocess
from pathlib import Path

import psutil

from forex_agent.mt5.texts import decoded
from forex_agent.terminal import Compiled, NotSent

# "Result: 0 errors, 1 warnings, 525 msec elapsed"; older builds: "Result 0 error(s), 1 warning(s)".
RESULT = re.compile(
    r"^\s*result:?\s+(\d+)\s+error\S*\s+(\d+)\s+warning", re.IGNORECASE | re.MULTILINE
)
LOG_MAX = 200_000  # characters of a log that go to the service
GONE = 5.0  # seconds for killed processes to be gone


def build(editor: Path, source: Path, timeout: float) -> Compiled:
    """Compile the file; the program and the log are made beside it.

    `NotSent`: the compiler cannot be started, takes longer than `timeout` seconds (it is killed
    with its children then), or says nothing that can be understood.
    """
    log, program = source.with_suffix(".log"), source.with_suffix(".ex5")
    _run(command(editor, source, log), timeout)
    if not log.is_file():
        raise NotSent("not_sent", f"{editor} wrote no log")
    text = decoded(log.read_bytes())[-LOG_MAX:]
    errors, warnings = counted(text)
    if errors:
        return Compiled(program=None, errors=errors, warnings=warnings, log=text)
    if not program.is_file():
        raise NotSent("not_sent", f"{editor} counts no errors, but made no program")
    return Compiled(program=program.read_bytes(), errors=0, warnings=warnings, log=text)


def command(
    editor: Path, source: Path, log: Path, system: str | None = None
) -> str | tuple[str, ...]:
    """Return the command. On Windows as one line: MetaEditor wants the quotes after the colon."""
    if (system or platform.system()) == "Windows":
        return f'"{editor}" /compile:"{source}" /log:"{log}"'
    return (str(editor), f"/compile:{source}", f"/log:{log}")


def counted(log: str) -> tuple[int, int]:
    """Return errors and warnings by the log's last line of result."""
    results = RESULT.findall(log)
    if not results:
        raise NotSent("not_sent", "the compiler's log has no line of result")
    errors, warnings = results[-1]
    return int(errors), int(warnings)


def _run(line: str | tuple[str, ...], timeout: float) -> None:
    try:
        process = subprocess.Popen(
            line,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except OSError as error:
        raise NotSent("not_sent", f"MetaEditor cannot be started: {error}") from error
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        raise NotSent("timeout", f"MetaEditor took longer than {timeout:g} seconds") from None
    finally:
        _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the process, and what it has started, where it still runs."""
    if process.poll() is not None:
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        family = [psutil.Process(process.pid)]
        family += family[0].children(recursive=True)
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        psutil.wait_procs(family, timeout=GONE)
    process.wait()
