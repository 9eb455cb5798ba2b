"""One server as a child process that ends with its owner, whatever ends the owner.

Knows nothing about PostgreSQL: any server that runs in the foreground can be one.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jobengine.embedded import forks, lifeline
from jobengine.embedded.account import Account, run_as
from jobengine.embedded.errors import EmbeddedError
from jobengine.embedded.lifeline import ProcessRef, Steps
from jobengine.embedded.lock import FolderLock

READY_POLL_SECONDS = 0.01
LOG_BYTES = 10_000_000
TAIL_LINES = 15

# The shell waits for a word before it becomes the server, with the same pid: the lifeline is in
# place before the server exists, and an owner that dies in between leaves nothing behind.
GATE = ("/bin/sh", "-c", 'read -r _ && exec "$@" </dev/null', "jobengine-gate")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSpec:
    """What to run and how to end it."""

    name: str
    command: tuple[str, ...]
    """The program first, by its real path."""
    home: Path
    """The real path of the folder that the server works in.

    Its processes are told by it and by their program.
    """
    log: Path
    steps: Steps
    account: Account | None = None
    """Another user to run as; only root may ask."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to the owner's."""
    scratch: Path | None = None
    """A folder that goes with the owner."""


class ChildServer:
    """A running server: direct child of this process, in a session of its own.

    Guarantees: it ends when this process ends, in any way; Ctrl-C in the terminal does not reach
    it; `stop` returns within the sum of the steps; a forked child of this process neither stops it
    nor keeps it alive.
    """

    def __init__(self, spec: ServerSpec, lock: FolderLock) -> None:
        self.spec = spec
        self._lock = lock
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._leash: int | None = None  # our end of the lifeline
        self._tree: int | None = None  # end of file here: no process of the server is left
        self._log_start = 0
        self.owned = True
        forks.track(self)

    @property
    def pid(self) -> int:
        if self._process is None:
            raise EmbeddedError(f"{self.spec.name} was not started")
        return self._process.pid

    def alive(self) -> bool:
        return self.owned and self._process is not None and self._process.poll() is None

    @property
    def returncode(self) -> int | None:
        """How the server ended; None while it runs."""
        return self._process.poll() if self.owned and self._process is not None else None

    def start(
        self,
        *,
        ready: Callable[[int], bool],
        timeout: float,
        spawned: Callable[[ProcessRef], None] = lambda _: None,
    ) -> None:
        """Start and wait until `ready(pid)`; on any failure nothing is left running.

        `spawned` is called when the process exists and does not serve yet.
        """
        try:
            self._spawn(spawned)
            self._await_ready(ready, timeout)
            self._await_guard()
        except BaseException:
            self.stop(self.spec.steps[-2:])
            raise

    def stop(self, steps: Steps | None = None) -> None:
        """Escalate through the steps (default: the spec's) until the server is gone.

        Interrupted (a second Ctrl-C), it leaves the rest to the lifeline.
        """
        if not self.owned:
            return
        try:
            if self.alive() and (ref := ProcessRef.of(self.pid)):
                ref.stop(steps or self.spec.steps)
            self._reap()
            self._dismiss_guard()
        finally:
            self._close()
        if self._guard is not None:
            self._guard.wait()

    def kill(self) -> None:
        """SIGKILL the server itself (for fault tests); its children notice on their own."""
        if self.alive():
            os.kill(self.pid, signal.SIGKILL)
            self._reap_process()

    def log_tail(self) -> str:
        """The last lines of this start's log."""
        with self.spec.log.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read()[-10_000:].decode(errors="replace").splitlines()
        return "\n".join(lines[-TAIL_LINES:])

    def forget(self) -> None:
        """In a forked child: the server is the parent's."""
        self.owned = False
        for process in (self._process, self._guard):
            if process is not None:
                process.returncode = 0  # not ours to wait for
        self._close()

    def _spawn(self, spawned: Callable[[ProcessRef], None]) -> None:
        log = _open_log(self.spec.log, self.spec.account)
        gate_read, gate_write = os.pipe()
        leash_read, self._leash = os.pipe()
        self._tree, tree_write = os.pipe()
        try:
            self._log_start = os.fstat(log).st_size
            self._process = self._popen_server(gate_read, tree_write, log)
            ref = ProcessRef.of(self._process.pid)
            if ref is None:
                raise EmbeddedError(f"{self.spec.name} did not start\n{self.log_tail()}")
            self._guard = self._popen_guard(ref, leash_read, log)
            spawned(ref)
            os.write(gate_write, b"go\n")
        finally:
            for descriptor in (log, gate_read, gate_write, leash_read, tree_write):
                os.close(descriptor)

    def _popen_server(self, gate: int, tree: int, log: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*GATE, *self.spec.command],
            stdin=gate,
            stdout=log,
            stderr=log,
            pass_fds=(tree,),
            cwd="/",
            env={**os.environ, **self.spec.environment},
            start_new_session=True,
            **run_as(self.spec.account),
        )

    def _popen_guard(self, ref: ProcessRef, leash: int, log: int) -> subprocess.Popen[bytes]:
        assert self._tree is not None
        spec = self.spec
        arguments = [
            *(str(ref.pid), ref.started, lifeline.format_steps(spec.steps), str(self._tree)),
            *(spec.command[0], str(spec.home), str(spec.scratch or "")),
        ]
        return subprocess.Popen(
            [sys.executable, "-I", "-S", lifeline.__file__, *arguments],
            stdin=leash,
            stdout=subprocess.PIPE,
            stderr=log,
            pass_fds=(self._tree, self._lock.fileno()),
            cwd="/",
            start_new_session=True,
        )

    def _await_ready(self, ready: Callable[[int], bool], timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while not ready(self.pid):
            if not self.alive():
                raise EmbeddedError(f"{self.spec.name} ended while starting\n{self.log_tail()}")
            if time.monotonic() >= deadline:
                problem = f"{self.spec.name} was not ready after {timeout:g} s"
                raise EmbeddedError(f"{problem}\n{self.log_tail()}")
            time.sleep(READY_POLL_SECONDS)

    def _await_guard(self) -> None:
        assert self._guard is not None
        assert self._guard.stdout is not None
        if not self._guard.stdout.read(1):
            raise EmbeddedError(f"the lifeline did not start\n{self.log_tail()}")

    def _dismiss_guard(self) -> None:
        """The server is gone and its folders may be in use again: nothing is left to clear."""
        if self._leash is not None:
            with contextlib.suppress(BrokenPipeError):  # it ended with the server
                os.write(self._leash, b".")

    def _reap(self) -> None:
        """Collect the server, and wait until its children have gone as well."""
        self._reap_process()
        if self._tree is not None and not lifeline.wait_closed(self._tree, lifeline.EXIT_SECONDS):
            lifeline.clear_stragglers(self.spec.command[0], str(self.spec.home), patience=0)

    def _reap_process(self) -> None:
        if self._process is not None:
            try:
                self._process.wait(lifeline.EXIT_SECONDS)
            except subprocess.TimeoutExpired as error:
                raise EmbeddedError(f"{self.spec.name} (pid {self.pid}) does not end") from error

    def _close(self) -> None:
        for descriptor in (self._leash, self._tree):
            if descriptor is not None:
                os.close(descriptor)
        self._leash = self._tree = None
        if self._guard is not None and self._guard.stdout is not None:
            self._guard.stdout.close()


def _open_log(path: Path, account: Account | None) -> int:
    if path.exists() and path.stat().st_size > LOG_BYTES:
        path.replace(path.with_name(path.name + ".1"))
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, 0o600)
    if account is not None:
        os.fchown(descriptor, account.uid, account.gid)
    return descriptor
