"""Whatever ends the owner or the server: nothing stays behind, and the next start recovers."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from jobengine.embedded import EmbeddedError, EmbeddedPostgres, lifeline, supervisor
from jobengine.embedded.layout import Layout
from jobengine.embedded.lifeline import ProcessRef
from jobengine.embedded.lock import FolderLock
from jobengine.embedded.supervisor import ChildServer, ServerSpec
from tests.faults.embedded_owner import (
    Owner,
    cluster_at,
    execute,
    fetch,
    lifeline_of,
    nothing_left,
    processes,
    stranger,
    wait_until,
)

ESCALATED = 16.0  # INT 4 s, QUIT 6 s, KILL, and a little


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Layout]:
    with cluster_at(tmp_path / "postgres") as layout:
        yield layout


@pytest.fixture
def server(layout: Layout) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(layout.data, durable=False) as server:
        yield server


def starts_with_rows(layout: Layout, count: int) -> None:
    """The next start recovers: what was committed is there, and new work is taken."""
    with EmbeddedPostgres(layout.data, durable=False) as server:
        assert server.owner
        assert fetch(server.url, "select count(*) from kept") == count
        execute(server.url, "insert into kept values (default)")


KEPT = "create table kept (id int generated always as identity); insert into kept values (default)"


def test_what_a_program_creates_is_not_in_the_engines_schema(server: EmbeddedPostgres) -> None:
    """The role is called as that schema is, and would by default find it first."""
    with psycopg.connect(server.url, autocommit=True) as conn:
        conn.execute("create schema jobengine")
        conn.execute("create table mine ()")
        found = conn.execute("select schemaname from pg_tables where tablename = 'mine'").fetchone()
    assert found == ("public",)


class TestOwnerEnds:
    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
    def test_by_a_signal_leaves_nothing(self, layout: Layout, number: signal.Signals) -> None:
        with Owner(layout.data) as owner:
            execute(owner.started()["url"], KEPT)
            owner.send(number)
            assert owner.ended() == -number
            nothing_left(layout)
        starts_with_rows(layout, 1)

    def test_by_ctrl_c_stops_clean(self, layout: Layout) -> None:
        with Owner(layout.data) as owner:
            execute(owner.started()["url"], KEPT)
            owner.send_to_group(signal.SIGINT)
            assert owner.started() == {"interrupted": True}
            assert owner.ended() == 0
            nothing_left(layout)
        assert "database system is shut down" in layout.log.read_text()
        starts_with_rows(layout, 1)

    def test_by_ctrl_c_is_all_that_ctrl_c_ends(self, server: EmbeddedPostgres) -> None:
        """The terminal signals a session; server and lifeline each have one of their own."""
        for pid in (server.pid, lifeline_of(server.pid).pid):
            assert os.getsid(pid) == pid

    def test_without_a_stop_leaves_nothing(self, layout: Layout) -> None:
        with Owner(layout.data, "forget") as owner:
            execute(owner.started()["url"], KEPT)
            owner.tell()
            assert owner.ended() == 0
            nothing_left(layout)
        starts_with_rows(layout, 1)

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
    @pytest.mark.parametrize("moment", ["creating database cluster", "starting PostgreSQL"])
    def test_while_it_starts(self, layout: Layout, moment: str, number: signal.Signals) -> None:
        with Owner(layout.data) as owner:
            while not owner.told()["progress"].startswith(moment):
                pass
            owner.send_to_group(number)
            owner.ended()
            nothing_left(layout)
        with EmbeddedPostgres(layout.data, durable=False) as server:
            assert fetch(server.url, "select current_database()") == "jobengine"
        assert not list(layout.data.parent.glob(f"{layout.data.name}.new-*"))

    @pytest.mark.parametrize("task", ["fork", "spawn"])
    def test_while_its_child_lives_on(self, layout: Layout, task: str) -> None:
        with Owner(layout.data, task) as owner:
            child = ProcessRef.of(owner.started()["child"])
            assert child
            try:
                owner.send(signal.SIGKILL)
                nothing_left(layout)
                assert child.alive()
            finally:
                child.signal(signal.SIGKILL)

    def test_and_its_forked_child_did_not_stop_the_server(self, layout: Layout) -> None:
        with Owner(layout.data, "fork_stops") as owner:
            facts = owner.started()
            assert facts["child"] == 0
            assert fetch(facts["url"], "select 1") == 1

    def test_although_the_lifeline_was_asked_to_end_first(self, layout: Layout) -> None:
        """As service managers do, which signal every process of a service."""
        with Owner(layout.data) as owner:
            guard = lifeline_of(owner.started()["pid"])
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                guard.signal(number)
            owner.send(signal.SIGKILL)
            nothing_left(layout)

    def test_with_a_busy_server(self, layout: Layout) -> None:
        """A backend that computes and never waits is stopped as well."""
        with Owner(layout.data) as owner:
            facts = owner.started()
            with _computing(facts["url"], facts["admin_url"]):
                owner.send(signal.SIGKILL)
                nothing_left(layout)


@contextmanager
def _computing(url: str, admin_url: str) -> Iterator[None]:
    """A backend that computes for ever, and has begun to."""
    connection = psycopg.connect(url, autocommit=True)
    try:
        connection.pgconn.send_query(b"do $$ begin loop perform 1; end loop; end $$")
        query = "select count(*) from pg_stat_activity where state = 'active' and query ~ '^do'"
        wait_until(lambda: fetch(admin_url, query))
        yield
    finally:
        connection.close()


class TestServerEnds:
    def test_killed_and_started_again(self, server: EmbeddedPostgres) -> None:
        """`start` never hands out a dead server."""
        execute(server.url, KEPT)
        url, pid = server.url, server.pid
        server.kill()
        assert ProcessRef.of(pid) is None
        server.start()
        assert server.owner
        assert (server.url, server.pid != pid) == (url, True)
        assert fetch(url, "select count(*) from kept") == 1

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGQUIT, signal.SIGTERM])
    def test_by_somebody_else(self, server: EmbeddedPostgres, number: signal.Signals) -> None:
        execute(server.url, KEPT)
        ref = ProcessRef.of(server.pid)
        assert ref
        ref.signal(number)
        assert ref.wait_gone(ESCALATED)
        server.restart()
        assert fetch(server.url, "select count(*) from kept") == 1

    def test_and_the_lifeline_does_not_outlive_it(
        self, server: EmbeddedPostgres, layout: Layout
    ) -> None:
        server.kill()
        wait_until(lambda: not processes(layout))

    def test_killed_while_a_backend_computes(self, server: EmbeddedPostgres) -> None:
        """That backend outlives the postmaster and would keep a new one from starting."""
        with _computing(server.url, server.admin_url):
            server.kill()
            server.restart()
        assert fetch(server.url, "select 1") == 1

    @pytest.mark.parametrize("mode", ["fast", "immediate"])
    def test_by_restart(self, server: EmbeddedPostgres, mode: str) -> None:
        execute(server.url, KEPT)
        url, pid = server.url, server.pid
        server.restart("immediate" if mode == "immediate" else "fast")
        assert (server.url, server.pid != pid) == (url, True)
        assert fetch(url, "select count(*) from kept") == 1

    def test_stopped_twice_and_started_again(self, layout: Layout) -> None:
        server = EmbeddedPostgres(layout.data, durable=False)
        for _ in range(2):
            server.start()
            server.start()
            assert fetch(server.url, "select 1") == 1
            server.stop()
            server.stop("immediate")
            nothing_left(layout)
        with pytest.raises(EmbeddedError, match="not started"):
            _ = server.url
        with pytest.raises(EmbeddedError, match="owns"):
            server.restart()

    def test_and_a_long_log_is_put_aside(
        self, layout: Layout, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(supervisor, "LOG_BYTES", 100)
        layout.log.write_text("x" * 101)
        with EmbeddedPostgres(layout.data, durable=False) as server:
            assert "xxx" not in server.log_path.read_text()
        assert layout.log.with_name(layout.log.name + ".1").read_text() == "x" * 101

    def test_while_starting_says_why(self, layout: Layout) -> None:
        server = EmbeddedPostgres(layout.data, durable=False, settings={"shared_buffers": "nine"})
        with pytest.raises(EmbeddedError, match=r'invalid value for parameter "shared_buffers"'):
            server.start()
        assert not server.owner
        nothing_left(layout)


@contextmanager
def _stubborn(folder: Path, ignored: str = "") -> Iterator[ChildServer]:
    """Any program as a server: this one ignores signals, and ends by the first that it does not."""
    traps = "".join(f"trap '' {name}; " for name in ignored.split())
    script = f"{traps} echo ready > {folder}/ready; while :; do sleep 0.05; done"
    (folder / "scratch").mkdir()
    lock = FolderLock(folder / "lock")
    assert lock.try_acquire()
    child = ChildServer(
        ServerSpec(
            name="Stubborn",
            command=(str(Path("/bin/sh").resolve()), "-c", script),
            home=folder,
            log=folder / "log",
            steps=(
                (signal.SIGINT, 0.5 if "INT" in ignored else 30.0),
                (signal.SIGQUIT, 0.5 if "QUIT" in ignored else 30.0),
                (signal.SIGKILL, 30.0),
            ),
            scratch=folder / "scratch",
        ),
        lock,
    )
    child.start(ready=lambda _: (folder / "ready").exists(), timeout=60)
    try:
        yield child
    finally:
        child.stop()
        lock.release()


class TestStop:
    def test_during_crash_recovery_is_bounded(self, layout: Layout) -> None:
        """PostgreSQL itself hangs for ever in a good part of these trials."""
        for trial in range(8):
            server = EmbeddedPostgres(layout.data, durable=False)
            server.start()
            with psycopg.connect(server.url) as connection:
                ref = ProcessRef.of(connection.info.backend_pid)
                assert ref
                ref.signal(signal.SIGKILL)
            time.sleep(trial * 0.03)  # the hang depends on how far the recovery has come
            began = time.monotonic()
            server.stop()
            assert time.monotonic() - began < ESCALATED
            nothing_left(layout)
        with EmbeddedPostgres(layout.data, durable=False) as server:
            assert fetch(server.url, "select 1") == 1

    @pytest.mark.parametrize("ignored, last", [("", "INT"), ("INT", "QUIT"), ("INT QUIT", "KILL")])
    def test_escalates(self, tmp_path: Path, ignored: str, last: str) -> None:
        with _stubborn(tmp_path, ignored) as child:
            ref = ProcessRef.of(child.pid)
            assert ref
            child.stop()
            assert ref.wait_gone(0)
            assert child.returncode == -getattr(signal, f"SIG{last}")

    def test_escalates_in_the_lifeline_too(self, tmp_path: Path) -> None:
        """And what goes with the owner goes."""
        with _stubborn(tmp_path, "INT QUIT") as child:
            ref = ProcessRef.of(child.pid)
            assert ref
            assert child._leash is not None
            os.close(child._leash)  # what the owner's death does
            child._leash = None
            wait_until(lambda: not ref.alive())
            wait_until(lambda: not (tmp_path / "scratch").exists())

    def test_leaves_nothing_to_the_lifeline(self, tmp_path: Path) -> None:
        """A late one must not clear what the next server uses already."""
        with _stubborn(tmp_path) as child:
            guard = lifeline_of(child.pid)
            guard.signal(signal.SIGSTOP)
            stop = threading.Thread(target=child.stop)
            stop.start()
            wait_until(lambda: child._leash is None)
            guard.signal(signal.SIGCONT)
            stop.join()
            assert (tmp_path / "scratch").exists()

    def test_is_not_needed_when_the_lifeline_was_killed(self, tmp_path: Path) -> None:
        """The owner alone ends its server as well."""
        with _stubborn(tmp_path) as child:
            assert child._guard is not None
            child._guard.kill()
            child.stop()
            assert not child.alive()

    def test_comes_from_a_lifeline_whose_owner_died_before_it_ran(self, tmp_path: Path) -> None:
        """It can then tell nobody that it is there, and does its work all the same."""
        with stranger() as server:
            ref = ProcessRef.of(server.pid)
            assert ref
            deaf, broken = os.pipe()
            os.close(deaf)
            steps = lifeline.format_steps(((signal.SIGTERM, 5.0),))
            command = [sys.executable, "-I", "-S", lifeline.__file__, str(ref.pid), ref.started]
            command += [steps, "0", "none", str(tmp_path), ""]
            subprocess.run(command, stdin=subprocess.DEVNULL, stdout=broken, check=True)
            os.close(broken)
            assert server.wait(0) == -signal.SIGTERM
