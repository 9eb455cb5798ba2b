"""Owners of embedded servers, each a process of its own: tests drive it, and this file is it."""

import functools
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg

from jobengine.embedded import EmbeddedPostgres
from jobengine.embedded.account import Account, account_for, run_as
from jobengine.embedded.binaries import find_programs
from jobengine.embedded.layout import Layout, place
from jobengine.embedded.lifeline import ProcessRef, stragglers
from jobengine.embedded.lock import FolderLock

PATIENCE = 30.0  # for a fact that must come; the whole escalation of a server takes 15 s


def wait_until(fact: Callable[[], object], seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, "the fact did not come"
        time.sleep(0.01)


def processes(layout: Layout) -> list[str]:
    """Every living process of this cluster: postmaster, its children, lifeline, initdb."""
    listed = subprocess.run(
        ["ps", "-ww", "-eo", "pid=,stat=,args="], capture_output=True, text=True, check=True
    )
    words = [line.split(None, 2) for line in listed.stdout.splitlines()]
    found = [" ".join(w) for w in words if str(layout.data) in w[-1] and not w[1].startswith("Z")]
    return found + [str(ref.pid) for ref in stragglers(postgres_program(), str(layout.data))]


@functools.cache
def postgres_program() -> str:
    return str(find_programs(account_for(Path("/nowhere"))).postgres)


def nothing_left(layout: Layout) -> None:
    """Processes and lock go; what remains of the cluster are its files."""
    wait_until(lambda: not processes(layout))
    lock = FolderLock(layout.lock)
    wait_until(lock.try_acquire)
    lock.release()


def lifeline_of(pid: int) -> ProcessRef:
    """The process that guards this server."""
    listed = subprocess.run(
        ["ps", "-ww", "-eo", "pid=,args="], capture_output=True, text=True, check=True
    )
    pids = [line.split()[0] for line in listed.stdout.splitlines() if f"lifeline.py {pid} " in line]
    guard = ProcessRef.of(int(pids[0]))
    assert guard
    return guard


@contextmanager
def stranger(account: Account | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do with us."""
    with subprocess.Popen(["sleep", "600"], cwd="/", **run_as(account)) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def cluster_at(data: Path) -> Iterator[Layout]:
    """Where the cluster really is: root's may be elsewhere, and would stay there."""
    layout = place(data, account_for(data))
    yield layout
    nothing_left(layout)
    layout.remove()


def execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())


def fetch(url: str, query: str) -> Any:
    """The first value."""
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row
    return row[0]


class Owner:
    """A process in a group of its own that runs one of the tasks below."""

    def __init__(self, data: Path, task: str = "hold", **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, task],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,  # told() waits for the pipe: nothing may hide in a buffer
            env={**os.environ, "OWNER_DATA": str(data), **environment},
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.communicate()

    def told(self) -> dict[str, Any]:
        """The next facts that the process tells; empty when it ended."""
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], 2 * PATIENCE)
        assert ready, "the owner says nothing"
        facts: dict[str, Any] = json.loads(self.process.stdout.readline() or "{}")
        return facts

    def started(self) -> dict[str, Any]:
        """The facts after the progress lines."""
        while "progress" in (facts := self.told()):
            pass
        assert facts, "the owner ended"
        return facts

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def send_to_group(self, number: signal.Signals) -> None:
        """As the terminal does for Ctrl-C."""
        os.killpg(self.process.pid, number)

    def tell(self) -> None:
        """Go on with the task."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")

    def ended(self) -> int:
        return self.process.wait(PATIENCE)


# What follows runs in the process.


def say(**facts: object) -> None:
    os.write(1, (json.dumps(facts) + "\n").encode())


def listen() -> None:
    os.read(0, 1)


def report(server: EmbeddedPostgres, **more: object) -> None:
    say(pid=server.pid, url=server.url, admin_url=server.admin_url, owner=server.owner, **more)


def hold(server: EmbeddedPostgres) -> None:
    with server:
        report(server)
        listen()


def hold_again(server: EmbeddedPostgres) -> None:
    """Joins, and starts once more when it is told."""
    with server:
        report(server)
        listen()
        server.start()
        report(server)
        listen()


def forget(server: EmbeddedPostgres) -> None:
    """Ends without a stop."""
    server.start()
    report(server)
    listen()


def fork(server: EmbeddedPostgres) -> None:
    """A forked child that outlives its parent."""
    with server:
        child = os.fork()
        if child == 0:
            signal.pause()
        report(server, child=child)
        listen()


def fork_stops(server: EmbeddedPostgres) -> None:
    """A forked child leaves the `with` block."""
    with server:
        child = os.fork()
        if child == 0:
            server.stop()
            os._exit(3 if server.owner else 0)
        _, status = os.waitpid(child, 0)
        report(server, child=os.waitstatus_to_exitcode(status))
        listen()


def spawn(server: EmbeddedPostgres) -> None:
    """A program that gets every descriptor which may be inherited."""
    with server:
        sleeper = subprocess.Popen(["sleep", "600"], close_fds=False)
        report(server, child=sleeper.pid)
        listen()


def only_lock(server: EmbeddedPostgres) -> None:
    """Holds the lock and never serves."""
    lock = FolderLock(server._place().lock)
    say(locked=lock.try_acquire())
    listen()


TASKS = {
    task.__name__: task for task in (hold, hold_again, forget, fork, fork_stops, spawn, only_lock)
}


def main(task: str) -> None:
    server = EmbeddedPostgres(
        Path(os.environ["OWNER_DATA"]),
        durable=False,
        progress=lambda line: say(progress=line),
        timeout=float(os.environ.get("OWNER_TIMEOUT", "60")),
    )
    try:
        TASKS[task](server)
    except KeyboardInterrupt:
        say(interrupted=True)


if __name__ == "__main__":
    main(sys.argv[1])
