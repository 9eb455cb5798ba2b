"""One folder, one server: who else comes joins, waits, or is told why not."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from jobengine.embedded import EmbeddedError, EmbeddedPostgres
from jobengine.embedded.account import account_for
from jobengine.embedded.layout import Layout, ServerState
from jobengine.embedded.lifeline import ProcessRef, _started_by_ps
from jobengine.embedded.lock import FolderLock
from tests.faults.embedded_owner import (
    Owner,
    cluster_at,
    execute,
    fetch,
    lifeline_of,
    stranger,
    wait_until,
)


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Layout]:
    with cluster_at(tmp_path / "postgres") as layout:
        yield layout


class TestJoin:
    def test_two_processes_at_once(self, layout: Layout) -> None:
        """One owns; the other waits while the cluster is made, and joins."""
        with Owner(layout.data) as one, Owner(layout.data) as two:
            facts = [one.started(), two.started()]
            assert sorted(fact["owner"] for fact in facts) == [False, True]
            assert len({fact["pid"] for fact in facts}) == 1
            assert [fetch(fact["url"], "select 1") for fact in facts] == [1, 1]

    def test_leaving_does_not_stop_the_server(self, layout: Layout) -> None:
        with EmbeddedPostgres(layout.data, durable=False) as server:
            with Owner(layout.data) as joined:
                assert joined.started()["owner"] is False
                joined.tell()
                assert joined.ended() == 0
            assert fetch(server.url, "select 1") == 1

    def test_in_the_same_process(self, layout: Layout) -> None:
        with (
            EmbeddedPostgres(layout.data, durable=False) as first,
            EmbeddedPostgres(layout.data, durable=False) as second,
        ):
            assert (first.owner, second.owner) == (True, False)
            assert (first.pid, first.url) == (second.pid, second.url)
            with pytest.raises(EmbeddedError, match="only the process that owns"):
                second.restart()
            with pytest.raises(EmbeddedError, match="only the process that owns"):
                second.kill()

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
    def test_then_own_when_the_owner_is_gone(self, layout: Layout, number: signal.Signals) -> None:
        """The next start waits for the old server to be gone, and never returns its URL."""
        with Owner(layout.data) as owner:
            first = owner.started()
            with Owner(layout.data, "hold_again") as other:
                assert other.started()["owner"] is False
                owner.send(number)
                other.tell()
                # It may still join in the moment before the old server takes note.
                wait_until(lambda: owner.process.poll() is not None)
                second = other.started()
                if second["owner"]:
                    assert second["pid"] != first["pid"]
                    assert fetch(second["url"], "select 1") == 1

    def test_is_refused_when_no_server_answers(self, layout: Layout) -> None:
        with Owner(layout.data, "only_lock") as holder:
            assert holder.started() == {"locked": True}
            began = time.monotonic()
            with pytest.raises(EmbeddedError, match=f"in use by process {holder.process.pid}"):
                EmbeddedPostgres(layout.data, timeout=0.3).start()
            assert time.monotonic() - began < 30  # it is 60 without the timeout
        with EmbeddedPostgres(layout.data, durable=False) as server:
            assert server.owner

    def test_is_refused_when_the_server_hangs(self, layout: Layout) -> None:
        with EmbeddedPostgres(layout.data, durable=False) as server:
            os.kill(server.pid, signal.SIGSTOP)
            try:
                with pytest.raises(EmbeddedError, match="did not answer within"):
                    EmbeddedPostgres(layout.data, timeout=0.3).start()
            finally:
                os.kill(server.pid, signal.SIGCONT)


class TestLeftOver:
    def test_server_is_waited_for(self, layout: Layout) -> None:
        """The folder is taken as long as the server of a dead owner is there."""
        with Owner(layout.data) as owner:
            left = ProcessRef.of(owner.started()["pid"])
            assert left
            left.signal(signal.SIGSTOP)
            owner.send(signal.SIGKILL)
            owner.ended()
            assert not FolderLock(layout.lock).try_acquire()
            left.signal(signal.SIGCONT)
            with EmbeddedPostgres(layout.data, durable=False) as server:
                assert server.owner
                assert not left.alive()

    def test_server_without_owner_and_lifeline_is_ended(self, layout: Layout) -> None:
        """Somebody killed all of ours: the server is known by its pid and its start time."""
        with Owner(layout.data) as owner:
            pid = owner.started()["pid"]
            lifeline_of(pid).signal(signal.SIGKILL)
            owner.send(signal.SIGKILL)
            owner.ended()
        left = ProcessRef.of(pid)
        assert left
        with EmbeddedPostgres(layout.data, durable=False) as server:
            assert server.owner
            assert not left.alive()
            assert "received fast shutdown request" in layout.log.read_text()
            assert fetch(server.url, "select 1") == 1

    @pytest.mark.parametrize("ours", [None, ServerState(999_999, "1@long-ago", "/nowhere")])
    def test_server_of_somebody_else_is_refused_and_lives(
        self, layout: Layout, ours: ServerState | None
    ) -> None:
        with Owner(layout.data) as owner:
            pid = owner.started()["pid"]
            lifeline_of(pid).signal(signal.SIGKILL)
            owner.send(signal.SIGKILL)
            owner.ended()
        left = ProcessRef.of(pid)
        assert left
        layout.state.unlink()  # nothing says that it is ours …
        if ours:
            ours.save(layout.state)  # … or ours was an earlier one
        try:
            with pytest.raises(EmbeddedError, match=r'lock file "postmaster.pid" already exists'):
                EmbeddedPostgres(layout.data, durable=False).start()
            assert left.alive()
        finally:
            left.signal(signal.SIGINT)
            assert left.wait_gone(30)

    def test_pid_that_another_process_has_by_now(self, layout: Layout) -> None:
        """After a restart of a container: the pid file names a living process that is no server."""
        with EmbeddedPostgres(layout.data, durable=False) as server:
            execute(server.url, "create table kept ()")
            server.kill()
        with stranger(account_for(layout.data)) as other:
            for path in (layout.data / "postmaster.pid", layout.run / ".s.PGSQL.5432.lock"):
                lines = path.read_text().splitlines()
                path.write_text("\n".join([str(other.pid), *lines[1:], ""]))
            ServerState(other.pid, "1@long-ago", str(layout.run)).save(layout.state)
            with EmbeddedPostgres(layout.data, durable=False) as server:
                assert fetch(server.url, "select count(*) from kept") == 0
            assert other.poll() is None

    def test_broken_state_file(self, layout: Layout) -> None:
        for content in ("", "[]", json.dumps({"pid": "none"})):
            layout.state.write_text(content)
            with EmbeddedPostgres(layout.data, durable=False) as server:
                assert server.owner


class TestServers:
    def test_side_by_side(self, tmp_path: Path) -> None:
        with (
            cluster_at(tmp_path / "one") as one,
            cluster_at(tmp_path / "two") as two,
            EmbeddedPostgres(one.data, durable=False) as first,
            EmbeddedPostgres(two.data, durable=False) as second,
        ):
            execute(first.url, "create table only_here ()")
            assert first.pid != second.pid
            first.kill()
            assert fetch(second.url, "select to_regclass('only_here') is null")

    @pytest.mark.parametrize("durable", [True, False])
    def test_settings(self, layout: Layout, *, durable: bool) -> None:
        """Commits survive the death of processes either way, that of the machine if durable."""
        settings = {"work_mem": "7MB", "max_connections": "30"}
        with EmbeddedPostgres(layout.data, durable=durable, settings=settings) as server:
            shown = {
                name: fetch(server.url, f"show {name}")
                for name in ("synchronous_commit", "fsync", "full_page_writes", *settings)
            }
        physical = "on" if durable else "off"
        assert shown == {
            "synchronous_commit": "on",
            "fsync": physical,
            "full_page_writes": physical,
            **settings,
        }

    def test_application_is_no_superuser(self, layout: Layout) -> None:
        with EmbeddedPostgres(layout.data, durable=False) as server:
            with psycopg.connect(server.url) as connection:
                attributes = connection.execute(
                    "select rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication"
                    " from pg_roles where rolname = current_user"
                ).fetchone()
            assert attributes == (False, False, True, False, False)
            execute(server.url, "create role of_the_engine; create schema of_the_engine")
            assert fetch(server.admin_url, "select rolsuper from pg_roles where oid = 10")

    def test_encoding_and_locale(self, layout: Layout) -> None:
        with EmbeddedPostgres(layout.data, durable=False) as server:
            assert fetch(server.url, "show server_encoding") == "UTF8"
            assert fetch(server.url, "select 'B' < 'a'") is True  # by code point

    def test_listen_on_no_port(self, layout: Layout) -> None:
        with EmbeddedPostgres(layout.data, durable=False) as server:
            assert fetch(server.url, "show listen_addresses") == ""
            assert layout.run.stat().st_mode & 0o777 == 0o700

    @pytest.mark.parametrize("name", ["port", "unix_socket_directories", "data_directory"])
    def test_keep_their_own_settings(self, name: str) -> None:
        with pytest.raises(EmbeddedError, match=name):
            EmbeddedPostgres(settings={name: "1"})


def test_start_time_without_proc() -> None:
    """What macOS uses: the same process is the same, a dead one is none."""
    with stranger() as process:
        first = _started_by_ps(process.pid)
        assert first
        assert _started_by_ps(process.pid) == first
        process.kill()
        wait_until(lambda: _started_by_ps(process.pid) is None)  # a zombie
    assert _started_by_ps(process.pid) is None
