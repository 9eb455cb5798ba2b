"""The README's first command, and `python -m api demo` alone, run as people run them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from api.demo.plan import JOB_TYPES
from api.demo.proof import PROOFS
from api.demo.servers import wait_for
from jobengine.embedded.lock import FolderLock
from tests.api.world import server_folder
from tests.sql.platform.helpers import make_roles

PATIENCE = 240.0
ENDS = {"filled", "partially_filled", "closed", "rejected", "expired"}
ROOT = Path(__file__).parents[2]


@pytest.fixture
def data() -> Iterator[Path]:
    with server_folder() as folder:
        yield folder


@contextmanager
def running(
    data: Path, *command: str, url: str | None = None, prices: Path | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Run a module; on servers of its own unless there is a URL."""
    unset = ("DATABASE_URL", "REDIS_URL", "SUPABASE_JWT_SECRET", "MARKET_DATA_DIR")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    environment["JOBENGINE_DATA_DIR"] = str(data)
    if url:
        environment["DATABASE_URL"] = url
    if prices:
        environment["MARKET_DATA_DIR"] = str(prices)
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-m", *command],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_it_kills_an_agent_and_the_service_and_proves_what_became_of_every_order(
    data: Path, empty_database_url: str, admin_url: str, app_role: str
) -> None:
    """After the engine's own demo, on one file, as `python3 dev.py run` has it.

    One agent replays recorded prices.
    """
    make_roles(admin_url, app_role)
    (data / "tree").mkdir()
    (data / "tree" / "file").write_text("one")
    command = ("api.demo", str(data / "tree"), "--kill", "0", "--json")
    prices = recorded(data / "prices")
    with running(data, *command, url=empty_database_url, prices=prices) as process:
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, out + err
    engine, end = json.JSONDecoder().raw_decode(out)
    result = json.loads(out[end:])
    assert (engine["proved"], engine["files"]) == (True, 1)
    assert (result["proved"], result["wrong"]) == (True, [])
    assert result["proofs"] == dict.fromkeys(PROOFS, True)
    assert (result["users"], result["agents"], len(result["kills"])) == (2, 3, 2)
    assert set(result["orders"]) == ENDS
    assert result["clients"] == 8  # two for each of two instruments of two users
    lines = [line for line in result["timeline"] if line["job_type"]]
    assert len(lines) == result["jobs"]
    assert {line["job_type"] for line in lines} == JOB_TYPES
    assert {line["agent"] for line in lines} == {"anna-1", "anna-2", "bert-1"}
    replayed = [line for line in lines if line["agent"] == "anna-2" and "AUDUSD" in line["what"]]
    assert len(replayed) > 5
    steps = {one["step"]: one["count"] for one in result["latencies_ms"]}
    assert len(steps) == 8
    assert all(steps.values())
    assert err.count("killed with SIGKILL") == 2
    assert set(result["alerts"]) == {"executed", "failed", "discarded", "nothing"}
    opened = [way for way in result["ways"] if way["filled"] and "close" not in way["alert"]]
    assert len(opened) == steps["alert → filled"] + 1  # one waited for an agent that was dead
    assert all(way["price"] for way in opened)


def recorded(folder: Path) -> Path:
    """Return a folder with fifty ticks of one instrument."""
    folder.mkdir()
    ticks = [
        f"2024-01-01 00:00:{second}+00:00,0.66{second:03},0.66{second + 9:03}"
        for second in range(10, 60)
    ]
    (folder / "AUDUSD.csv").write_text("\n".join(["timestamp,bid,ask", *ticks, ""]))
    return folder


def test_where_the_engine_fails_the_platform_is_not_begun(data: Path, database_url: str) -> None:
    with running(data, "api.demo", str(data / "nowhere"), url=database_url) as process:
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (1, "")
    assert err == f"jobengine: no files under {data / 'nowhere'}\n"


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def children_at_work(process: subprocess.Popen[str]) -> list[int]:
    """Wait until jobs are done; return the processes that the demo has started by then."""
    assert process.stderr
    said = ""
    for line in process.stderr:
        said += line
        if "orders at once" in line:
            break
    children = descendants(process.pid)
    assert len(children) > 6  # the service, three agents, PostgreSQL and Valkey
    return children


def all_gone(pids: list[int]) -> None:
    wait_for(lambda: all(gone(pid) for pid in pids), PATIENCE, f"{pids} are gone")


def test_killed_it_leaves_nothing_running(data: Path) -> None:
    with running(data, "api", "demo") as process:
        children = children_at_work(process)
        process.kill()
        all_gone(children)


def test_ctrl_c_ends_it_in_order(data: Path) -> None:
    with running(data, "api", "demo") as process:
        children = children_at_work(process)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 128 + signal.SIGINT
        all_gone(children)


def test_one_demo_at_a_time_in_a_folder(data: Path) -> None:
    (data / "demo").mkdir()
    lock = FolderLock(data / "demo" / "demo.lock")
    assert lock.try_acquire()
    with running(data, "api", "demo") as process:
        out, err = process.communicate(timeout=PATIENCE)
    lock.release()
    assert (process.returncode, out) == (1, "")
    assert err == f"api: {data / 'demo'} is in use by process {os.getpid()}\n"


def descendants(pid: int) -> list[int]:
    """Return the processes that this one has started, by the kernel's word."""
    table = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
    ).stdout
    parents = [tuple(map(int, line.split())) for line in table.splitlines()]
    found = [child for child, parent in parents if parent == pid]
    return found + [grandchild for child in found for grandchild in descendants(child)]
