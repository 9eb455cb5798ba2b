"""The lifeline: a small process that stops a server whose owner is gone.

Its standard input is a pipe that only the owner holds open, so every way for the owner to end,
SIGKILL included, is seen as end of file; a byte in it dismisses the lifeline. This file is also
run as a script, by `python -I -S`: it imports little (a server starts in 20 ms, and so should its
guard), and nothing of this package.
"""

import contextlib
import functools
import os
import select
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

Steps = tuple[tuple[signal.Signals, float], ...]
"""How to stop a server: send the signal, allow it so many seconds, go on to the next step."""

POLL_SECONDS = 0.005
EXIT_SECONDS = 1.0  # from "the server is gone" to "so are its children"


class ProcessRef:
    """One process, told apart from a later one with the same pid by its start time."""

    __slots__ = ("pid", "started")

    def __init__(self, pid: int, started: str) -> None:
        self.pid = pid
        self.started = started

    @classmethod
    def of(cls, pid: int) -> "ProcessRef | None":
        """The living process with this pid; None when there is none (a zombie is none)."""
        started = _started(pid)
        return cls(pid, started) if started else None

    def alive(self) -> bool:
        return _started(self.pid) == self.started

    def signal(self, number: int) -> None:
        """Send the signal, unless the process is gone; a recycled pid is never hit."""
        if self.alive():
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return

    def wait_gone(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.alive():
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def stop(self, steps: Steps) -> bool:
        """Escalate through the steps; True as soon as the process is gone."""
        for number, seconds in steps:
            self.signal(number)
            if self.wait_gone(seconds):
                return True
        return False


def _started(pid: int) -> str | None:
    """Start time in the system's own words: only equality counts."""
    if not sys.platform.startswith("linux"):
        return _started_by_ps(pid)
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name in parentheses may hold anything; behind it follow state (3) … start time (22).
    fields = stat[stat.rindex(")") + 1 :].split()
    return None if fields[0] in "ZX" else f"{fields[19]}@{_boot()}"


@functools.cache
def _boot() -> str:
    """Linux counts start times from the boot: with its id they are never met again."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _started_by_ps(pid: int) -> str | None:
    import subprocess  # noqa: PLC0415 - see above

    command = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
    found = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"}, check=False
    )
    state, _, started = found.stdout.strip().partition(" ")
    return None if state.startswith("Z") else started.strip().replace(" ", "_") or None


def stragglers(program: str, home: str) -> list[ProcessRef]:
    """Children that outlived their server: they run its program and work in its folder.

    Only Linux tells; elsewhere the list is empty and the server's own interlock has to refuse.
    """
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            same = (folder / "exe").readlink(), (folder / "cwd").readlink()
        except OSError:
            continue
        if same == (Path(program), Path(home)) and (ref := ProcessRef.of(int(folder.name))):
            found.append(ref)
    return found


def clear_stragglers(program: str, home: str, patience: float = EXIT_SECONDS) -> None:
    """Idle children notice the death of their server; a busy one does not and is killed."""
    deadline = time.monotonic() + patience
    while left := stragglers(program, home):
        if time.monotonic() >= deadline:
            for ref in left:
                ref.stop(((signal.SIGKILL, EXIT_SECONDS),))
            return
        time.sleep(POLL_SECONDS)


def wait_closed(pipe: int, seconds: float) -> bool:
    """True when nobody holds the other end any more."""
    return bool(_ready([pipe], seconds))


def _ready(pipes: Sequence[int], seconds: float | None = None) -> list[int]:
    """The pipes that hold a byte or the end; `poll`, since `select` fails beyond descriptor 1023.

    Nobody writes into the pipe of the server: there it is always the end.
    """
    poll = select.poll()
    for pipe in pipes:
        poll.register(pipe, select.POLLIN)
    return [pipe for pipe, _ in poll.poll(None if seconds is None else seconds * 1000)]


def format_steps(steps: Steps) -> str:
    return ",".join(f"{int(number)}:{seconds}" for number, seconds in steps)


def parse_steps(text: str) -> Steps:
    pairs = (step.split(":") for step in text.split(","))
    return tuple((signal.Signals(int(number)), float(seconds)) for number, seconds in pairs)


def watch(server: ProcessRef, leash: int, tree: int) -> bool:
    """Wait: True when the owner is gone, False when the server is, or the owner says so.

    `tree` is a pipe that the server and its children hold: end of file says that all are gone,
    without asking again and again.
    """
    watched = [leash, tree]
    while True:
        if leash in _ready(watched):
            return not os.read(leash, 1)
        if server.wait_gone(EXIT_SECONDS):
            return False
        watched = [leash]  # this server closes what it inherits: only the owner tells


def main(arguments: Sequence[str]) -> None:
    """Arguments: pid, start time, steps, pipe of the server, its program, its folder, scratch."""
    # A service manager may signal the whole group: whoever ends first, the lifeline stays last.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    pid, started, steps, tree, program, home, scratch = arguments
    server = ProcessRef(int(pid), started)
    with contextlib.suppress(BrokenPipeError):  # an owner that is gone already
        os.write(1, b"!")  # the owner waits for this: from now on the server is guarded
    if not watch(server, 0, int(tree)):
        return
    server.stop(parse_steps(steps))
    if not wait_closed(int(tree), EXIT_SECONDS):
        clear_stragglers(program, home, patience=0)
    if scratch:
        import shutil  # noqa: PLC0415 - see above

        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1:])
