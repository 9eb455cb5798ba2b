"""One owner per data folder."""

import os
import sys
from pathlib import Path

from jobengine.embedded import forks
from jobengine.embedded.errors import EmbeddedError

if sys.platform != "win32":
    import fcntl


class FolderLock:
    """`flock` on a file: the kernel drops it with its last holder, so none is ever stale.

    The lifeline inherits the descriptor. The lock is therefore free only when the owner *and* the
    server that it left behind are gone.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        forks.track(self)

    def try_acquire(self) -> bool:
        if self._descriptor is not None:
            return True
        descriptor = self._open()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return True

    def release(self) -> None:
        """Close, never unlock: an unlock would also take the lock away from the lifeline."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    forget = release

    def fileno(self) -> int:
        if self._descriptor is None:
            raise EmbeddedError(f"{self._path} is not held")
        return self._descriptor

    def holder(self) -> str:
        """Who holds it, in words for a message."""
        try:
            return f"process {int(self._path.read_text(encoding='ascii'))}"
        except (OSError, ValueError):
            return "another process"

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            return os.open(self._path, flags, 0o600)
        except OSError as error:
            raise EmbeddedError(f"cannot lock {self._path}: {error.strerror}") from error
