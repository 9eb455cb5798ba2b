"""PostgreSQL as part of the program: no installation, no port, no account, gone with its owner."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from urllib.parse import quote

from jobengine.embedded import cluster, lifeline
from jobengine.embedded.account import account_for
from jobengine.embedded.binaries import Programs, find_programs
from jobengine.embedded.errors import EmbeddedError
from jobengine.embedded.layout import (
    PORT,
    Layout,
    ServerState,
    make_socket_folder,
    place,
    remove_scratch,
)
from jobengine.embedded.lifeline import Steps
from jobengine.embedded.lock import FolderLock
from jobengine.embedded.supervisor import ChildServer, ServerSpec

Mode = Literal["fast", "immediate"]

# A fast shutdown that meets a crash recovery can hang for ever, in every release tried
# (15 … 18: 20 to 50 % of the trials), so it gets 4 s. After SIGQUIT the postmaster itself kills
# what is left of its children within 5 s.
STEPS: Steps = ((signal.SIGINT, 4.0), (signal.SIGQUIT, 6.0), (signal.SIGKILL, 5.0))
FIRST_STEP: dict[Mode, int] = {"fast": 0, "immediate": 1}

SETTINGS = {
    "listen_addresses": "",
    "max_connections": "100",
    "unix_socket_permissions": "0700",
    "log_checkpoints": "off",
}
# synchronous_commit stays on: even without fsync a commit then survives the death of the server's
# processes, which is what fault tests ask for. Only the machine must not die.
NOT_DURABLE = {"fsync": "off", "full_page_writes": "off"}
OURS = {"port", "unix_socket_directories", "data_directory"}
JOIN_POLL_SECONDS = 0.02
NOT_STARTED = "the embedded PostgreSQL is not started"


class EmbeddedPostgres:
    """A PostgreSQL server in a data folder, started with this process and stopped with it.

    Guarantees: the server ends when its owner ends, however that happens; the next start recovers;
    one folder has one server, and a second process (or a second object) joins it. A joined server
    goes away with its owner; `start` then owns the next one. Objects are not thread-safe. Run as
    root, the server and its data belong to another user (`nobody`): good for trials, not for
    production.
    """

    def __init__(
        self,
        data: Path | str | None = None,
        *,
        settings: Mapping[str, str] | None = None,
        durable: bool = True,
        progress: Callable[[str], None] | None = None,
        timeout: float = 60.0,
    ) -> None:
        """Nothing happens before `start`.

        `settings` are PostgreSQL's own and win over the defaults of this class. `durable=False`
        survives the death of any process, not of the machine. `progress` receives short lines.
        `timeout` bounds each wait: for the server to serve, or for the owner that one joins.
        """
        if refused := OURS & set(settings or ()):
            raise EmbeddedError(f"set by the embedded server itself: {', '.join(sorted(refused))}")
        self._wanted = Path(data) if data else _default_data()
        self._settings = {**SETTINGS, **({} if durable else NOT_DURABLE), **(settings or {})}
        self._durable = durable
        self._progress = progress or (lambda _: None)
        self._timeout = timeout
        self._layout: Layout | None = None
        self._lock: FolderLock | None = None
        self._programs: Programs | None = None
        self._sockets: Path | None = None
        self._server: ChildServer | None = None  # owned
        self._joined: ServerState | None = None  # or joined

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
        """URL for the application: role and database `jobengine`, no superuser.

        It stays the same through restarts.
        """
        return self._url(cluster.ROLE, cluster.DATABASE)

    @property
    def admin_url(self) -> str:
        """URL of the superuser: to create and drop databases in tests."""
        return self._url(cluster.SUPERUSER, "postgres")

    @property
    def owner(self) -> bool:
        """True: this process started the server and stops it. False: it joined, or is a fork."""
        return self._server is not None and self._server.owned

    @property
    def pid(self) -> int:
        """The postmaster."""
        if self._server is not None:
            return self._server.pid
        if self._joined is not None:
            return self._joined.pid
        raise EmbeddedError(NOT_STARTED)

    @property
    def data(self) -> Path:
        """The data folder in use; for root it may be another one than asked for."""
        return self._placed().data

    @property
    def log_path(self) -> Path:
        """The server's log, which `start` continues."""
        return self._placed().log

    def start(self) -> None:
        """Start the server, or join the one that runs in the folder; returns when it answers.

        Called again, it returns at once while the server lives, and brings back one that died.
        """
        if sys.platform == "win32":
            raise EmbeddedError("the embedded PostgreSQL needs a Unix: set DATABASE_URL")
        if not self.owner:
            with self._explained():
                self._own_or_join()
        elif not self._owned_server().alive():
            self.restart()

    def stop(self, mode: Mode = "fast") -> None:
        """Stop the server if this process owns it, within a bounded time; else only leave it.

        A fast stop that hangs is escalated. The next start recovers from any stop.
        """
        try:
            if self._server is not None and self._server.owned:
                self._server.stop(STEPS[FIRST_STEP[mode] :])
        finally:
            self._leave()

    def restart(self, mode: Mode = "fast") -> None:
        """Stop and start, at the same URL; also brings back a server that died. For the owner."""
        self._owned_server().stop(STEPS[FIRST_STEP[mode] :])
        with self._explained():
            self._serve()

    def kill(self) -> None:
        """SIGKILL the postmaster, for fault tests; `restart` or `start` brings it back."""
        self._owned_server().kill()

    def _own_or_join(self) -> None:
        self._server = None  # a fork's copy
        layout = self._place()
        self._lock = lock = self._lock or FolderLock(layout.lock)
        deadline = time.monotonic() + self._timeout
        announced = False
        while not lock.try_acquire():
            if self._join(layout):
                return
            if time.monotonic() >= deadline:
                raise EmbeddedError(self._no_answer(layout, lock))
            if not announced:
                self._progress(f"waiting for the PostgreSQL of {lock.holder()}")
                announced = True
            time.sleep(JOIN_POLL_SECONDS)
        self._own(layout)

    def _join(self, layout: Layout) -> bool:
        state = ServerState.load(layout.state)
        if state is None or not _answers(state):
            return False
        self._joined, self._sockets = state, Path(state.sockets)
        return True

    def _no_answer(self, layout: Layout, lock: FolderLock) -> str:
        return (
            f"{layout.data} is in use by {lock.holder()}, and its PostgreSQL did not answer "
            f"within {self._timeout:g} s; end that process, or see {layout.log}"
        )

    def _own(self, layout: Layout) -> None:
        """With the lock held: clear what dead owners left, make the cluster, serve."""
        self._joined = self._sockets = None
        try:
            self._programs = find_programs(account_for(layout.data))
            self._clear_left_over(layout, self._programs)
            if not cluster.exists(layout.data):
                self._progress("creating database cluster")
                cluster.create(layout.data, self._programs, durable=self._durable)
            self._serve()
        except BaseException:
            self._leave()
            raise

    def _clear_left_over(self, layout: Layout, programs: Programs) -> None:
        """End a server whose owner and lifeline were both killed.

        It is ours when its pid file, our state file and its start time agree.
        """
        state = ServerState.load(layout.state)
        if state is None:
            return
        found = cluster.read_pid_file(layout.data)
        if found and found[0] == state.pid:
            state.process.stop(STEPS)
            lifeline.clear_stragglers(str(programs.postgres), str(layout.data))
        remove_scratch(Path(state.sockets))

    def _serve(self) -> None:
        layout, lock, programs = self._placed(), self._lock, self._programs
        assert lock is not None
        assert programs is not None
        # A restart keeps the folder, and with it the URL.
        self._sockets = sockets = self._sockets or make_socket_folder(layout, programs.account)
        dead = ServerState.load(layout.state)
        cluster.clear_lock_files(layout.data, sockets, dead.process if dead else None)
        self._server = server = ChildServer(self._spec(layout, programs, sockets), lock)
        self._progress(f"starting PostgreSQL {programs.version}")
        server.start(
            ready=lambda pid: cluster.read_pid_file(layout.data) == (pid, True),
            spawned=lambda ref: ServerState.of(ref, sockets).save(layout.state),
            timeout=self._timeout,
        )

    def _spec(self, layout: Layout, programs: Programs, sockets: Path) -> ServerSpec:
        settings = {
            **self._settings,
            "port": str(PORT),
            "unix_socket_directories": f'"{sockets}"',
        }
        options = [word for item in settings.items() for word in ("-c", "=".join(item))]
        return ServerSpec(
            name="PostgreSQL",
            command=(str(programs.postgres), "-D", str(layout.data), *options),
            home=layout.data,
            log=layout.log,
            steps=STEPS,
            account=programs.account,
            environment=cluster.ENVIRONMENT,
            scratch=None if sockets == layout.run else sockets,
        )

    def _leave(self) -> None:
        """Back to "not started"; the folder is free for others."""
        if self.owner and self._sockets is not None:
            remove_scratch(self._sockets)
        self._server = self._joined = self._sockets = None
        if self._lock is not None:
            self._lock.release()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise EmbeddedError(f"cannot run PostgreSQL in {self._wanted}: {error}") from error

    def _place(self) -> Layout:
        if self._layout is None:
            self._layout = place(self._wanted, account_for(self._wanted))
            if self._layout.data != self._wanted.resolve():
                self._progress(
                    f"data folder (the server's user cannot enter "
                    f"{self._wanted.parent}): {self._layout.data}"
                )
        return self._layout

    def _placed(self) -> Layout:
        if self._layout is None:
            raise EmbeddedError(NOT_STARTED)
        return self._layout

    def _owned_server(self) -> ChildServer:
        if self._server is None or not self._server.owned:
            raise EmbeddedError("only the process that owns the embedded PostgreSQL may do this")
        return self._server

    def _url(self, role: str, database: str) -> str:
        if self._sockets is None:
            raise EmbeddedError(NOT_STARTED)
        host = quote(os.fsencode(self._sockets), safe="")
        return f"postgresql://{role}@/{database}?host={host}&port={PORT}"


def _default_data() -> Path:
    return Path(os.environ.get("JOBENGINE_DATA_DIR", ".jobengine")) / "postgres"


def _answers(state: ServerState) -> bool:
    from psycopg import conninfo, pq  # noqa: PLC0415 - an owner starts without it

    target = conninfo.make_conninfo(host=state.sockets, port=PORT, connect_timeout=2)
    return pq.PGconn.ping(target.encode()) == pq.Ping.OK
