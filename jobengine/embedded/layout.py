"""The files of one cluster: `postgres/` and, beside it, `postgres.lock`, `.log`, `.json`, `.run/`.

They stay outside the data folder because the server may write there, and because a base backup of
the folder must not carry the socket of the server it was taken from.
"""

import hashlib
import json
import os
import shutil
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from jobengine.embedded.account import Account, base, reachable
from jobengine.embedded.errors import EmbeddedError
from jobengine.embedded.lifeline import ProcessRef
from jobengine.embedded.lock import FolderLock

PORT = 5432  # only names the socket; the folder tells the servers apart
SHORT_BASE = Path("/tmp")  # noqa: S108 - the folder is made by mkdtemp, for one user
SHORT_PREFIX = "jobengine-"
SOCKET_PATH_BYTES = 107 if sys.platform.startswith("linux") else 103


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything of one cluster is, side by side."""

    data: Path

    @property
    def lock(self) -> Path:
        return self._beside(".lock")

    @property
    def log(self) -> Path:
        return self._beside(".log")

    @property
    def state(self) -> Path:
        return self._beside(".json")

    @property
    def run(self) -> Path:
        return self._beside(".run")

    @property
    def origin(self) -> Path:
        """For a cluster of ours in another place: the place that was asked for."""
        return self._beside(".origin")

    def remove(self) -> None:
        """Remove the cluster with everything beside it; the caller holds the lock."""
        shutil.rmtree(self.data, ignore_errors=True)
        for path in self.data.parent.iterdir():
            if path.name.startswith(self.data.name + "."):
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)

    def _beside(self, suffix: str) -> Path:
        return self.data.with_name(self.data.name + suffix)


@dataclass(frozen=True, slots=True)
class ServerState:
    """What a running server's owner tells others: who serves, and where."""

    pid: int
    started: str
    sockets: str

    @classmethod
    def of(cls, process: ProcessRef, sockets: Path) -> "ServerState":
        return cls(process.pid, process.started, str(sockets))

    @property
    def process(self) -> ProcessRef:
        return ProcessRef(self.pid, self.started)

    def save(self, path: Path) -> None:
        """Atomic; `x` because root must not follow a link that another user placed."""
        new = path.with_name(path.name + ".new")
        new.unlink(missing_ok=True)
        with new.open("x", encoding="utf-8") as file:
            json.dump(asdict(self), file)
        new.replace(path)

    @classmethod
    def load(cls, path: Path) -> "ServerState | None":
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return cls(int(found["pid"]), str(found["started"]), str(found["sockets"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None


def place(data: Path, account: Account | None) -> Layout:
    """The cluster at `data`, or below our own folder when the account cannot get there."""
    data = data.resolve()
    data.parent.mkdir(parents=True, exist_ok=True)
    if reachable(data.parent, account):
        return Layout(data)
    _remove_orphans()
    digest = hashlib.sha256(os.fsencode(data)).hexdigest()[:12]
    layout = Layout(base() / f"data-{digest}")
    layout.origin.write_bytes(os.fsencode(data))
    return layout


def _remove_orphans() -> None:
    """Clusters that stood in for a temporary folder which is gone: nobody else removes them.

    Any other folder may merely be unmounted, so its cluster stays.
    """
    one_at_a_time = FolderLock(base() / "orphans.lock")
    if one_at_a_time.try_acquire():
        for origin in base().glob("data-*.origin"):
            if _was_temporary(origin):
                _remove_unused(Layout(origin.with_suffix("")))
        one_at_a_time.release()


def _was_temporary(origin: Path) -> bool:
    try:
        asked = Path(os.fsdecode(origin.read_bytes()))
    except FileNotFoundError:
        return False
    return Path(tempfile.gettempdir()).resolve() in asked.parents and not asked.parent.exists()


def _remove_unused(layout: Layout) -> None:
    lock = FolderLock(layout.lock)
    if lock.try_acquire():
        layout.remove()
        lock.release()


def make_socket_folder(layout: Layout, account: Account | None) -> Path:
    """A folder that only the server's user enters.

    A socket's path is limited to about a hundred bytes: where `<data>.run` is longer, the folder
    is a short temporary one.
    """
    if _fits(layout.run):
        folder = layout.run
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.is_symlink():
            raise EmbeddedError(f"{folder} is a link: remove it")
    else:
        folder = Path(tempfile.mkdtemp(prefix=SHORT_PREFIX, dir=SHORT_BASE))
    if account is not None:
        os.chown(folder, account.uid, account.gid, follow_symlinks=False)
    folder.chmod(0o700)
    return folder


def remove_scratch(sockets: Path) -> None:
    """Remove a short socket folder; the cluster's own one stays."""
    if sockets.parent == SHORT_BASE and sockets.name.startswith(SHORT_PREFIX):
        shutil.rmtree(sockets, ignore_errors=True)  # refuses a link


def _fits(folder: Path) -> bool:
    """Short enough, and of characters that a connection URL can carry."""
    path = str(folder / f".s.PGSQL.{PORT}")
    # A comma separates folders, in libpq's `host` as in unix_socket_directories.
    plain = path.isprintable() and not set(path) & {",", '"'}
    return plain and len(os.fsencode(path)) <= SOCKET_PATH_BYTES
