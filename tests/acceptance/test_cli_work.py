"""`jobengine work`: a worker of the program's own, or housekeeping alone."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest

from jobengine import JobEngine
from jobengine.cli import house
from jobengine.housekeeping import KEEP, Housekeeping
from tests.acceptance.command_line import PATIENCE, CommandLine
from tests.acceptance.world import Db, as_owner, counts, in_loop, scalar, until, within

APP = """
import asyncio
import logging
import os
import time

from jobengine import Job, JobEngine, Worker

def make(engine: JobEngine) -> Worker:
    worker = Worker(engine, poll=0.2, drain_timeout=0)
    worker.handles("resize")(resize)
    worker.handles("deaf")(deaf)
    worker.handles("thread")(thread)
    return worker

async def resize(job: Job) -> dict:
    return {"path": job.input["path"], "pid": os.getpid()}

async def deaf(job: Job) -> None:
    print("begun", flush=True)
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass

def noisy(engine: JobEngine) -> Worker:
    worker = Worker(engine, poll=0.2)

    @worker.handles("resize")
    async def loud(job: Job) -> None:
        logging.getLogger("app").info("I resize %s", job.input["path"])

    return worker

def thread(job: Job) -> None:
    print("begun", flush=True)
    time.sleep(3600)

def nothing(engine: JobEngine) -> None:
    return None

APPS = [make]
"""


@pytest.fixture
def jobengine(db: Db, database_url: str, tmp_path: Path) -> CommandLine:
    for job_type in ("resize", "deaf", "thread"):
        db.execute("select jobengine.register_job_type(%s)", (job_type,))
    (tmp_path / "app.py").write_text(APP)
    return CommandLine(database_url, tmp_path, PYTHONDONTWRITEBYTECODE="1")


def enqueue(db: Db, job_type: str) -> None:
    db.execute(
        'select jobengine.enqueue(array[%s], array[\'{"path": "a.png"}\'::jsonb])', (job_type,)
    )


@contextmanager
def running(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait(fact: str, db: Db) -> None:
    asyncio.run(until(lambda: scalar(db, fact)))


def test_it_works_until_it_is_told_to_stop(jobengine: CommandLine, db: Db) -> None:
    enqueue(db, "resize")
    with running(jobengine.start("work", "app:make")) as process:
        wait("select 1 from jobengine.ended", db)
        job = db.execute("select output, status from jobengine.ended").fetchone()
        assert job == {"status": "completed", "output": {"path": "a.png", "pid": process.pid}}
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, out, err) == (0, b"", b"")


@pytest.mark.parametrize("job_type", ["deaf", "thread"])
def test_a_handler_that_never_ends_does_not_hold_the_process(
    jobengine: CommandLine, db: Db, job_type: str
) -> None:
    enqueue(db, job_type)
    with running(jobengine.start("work", "app:make")) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 1
        assert b"left without it" in err
    assert db.execute("select status, attempt from jobengine.jobs").fetchall() == [
        {"status": "pending", "attempt": 0}
    ]


def test_its_log_is_json_where_json_is_asked_for(jobengine: CommandLine, db: Db) -> None:
    enqueue(db, "resize")
    with running(
        jobengine.start("work", "app:noisy", "--log-format", "json", "--log-level", "info")
    ) as process:
        wait("select 1 from jobengine.ended", db)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=PATIENCE)
    events = [orjson.loads(line) for line in err.splitlines()]
    assert [(e["level"], e["logger"]) for e in events if e["message"] == "I resize a.png"] == [
        ("INFO", "app")
    ]


@pytest.mark.parametrize(
    "app, message",
    [
        ("nowhere:make", "No module named 'nowhere'"),
        ("app:nowhere", "app has no function nowhere"),
        ("app", "app has no function worker"),
        ("app:APPS", "app has no function APPS"),
        (":make", "names no module"),
        ("app:nothing", "returned None, not a Worker"),
    ],
)
def test_an_app_that_is_none_is_named(jobengine: CommandLine, app: str, message: str) -> None:
    said = jobengine("work", app)
    assert (said.code, said.out) == (1, "")
    assert message in said.err
    assert "Traceback" not in said.err


def test_what_a_worker_keeps_is_said_by_its_factory(jobengine: CommandLine) -> None:
    said = jobengine("work", "app:make", "--keep-days", "90")
    assert (said.code, said.out) == (2, "")
    assert "Worker(keep=…)" in said.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("work", "--keep-days", "-1"),
        ("prune", "--keep-days", "-1"),
        ("prune", "--keep-days", "nan"),
        ("sweep", "--limit", "0"),
    ],
    ids=" ".join,
)
def test_numbers_out_of_range_are_wrong_usage(
    jobengine: CommandLine, arguments: tuple[str, ...]
) -> None:
    said = jobengine(*arguments)
    assert (said.code, said.out) == (2, "")
    assert f"argument {arguments[1]}: " in said.err


@in_loop
async def test_a_housekeeper_that_dies_ends_the_command(
    db: Db, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_: Housekeeping) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Housekeeping, "run", broken)
    async with JobEngine(database_url) as engine:
        with pytest.raises(ZeroDivisionError):
            await within(house._keep_house(engine, KEEP))


def test_without_an_app_it_keeps_house(jobengine: CommandLine, db: Db) -> None:
    enqueue(db, "resize")
    enqueue(db, "resize")
    claim = '[{"queues": ["default"], "agent_id": "gone", "limit": 1}]'
    db.execute("select from jobengine.claim(%s::text::jsonb)", (claim,))
    db.execute("select from jobengine.cancel(array(select job_id from jobengine.ready))")
    as_owner(db, "update jobengine.ended set finished_at = finished_at - interval '20 days'")
    as_owner(db, "update jobengine.lease set lease_expires_at = lease_expires_at - interval '1 h'")
    with running(jobengine.start("work", "--keep-days", "0")) as process:
        wait("select count(*) = 1 from jobengine.ready", db)
        wait("select count(*) = 0 from jobengine.ended", db)
        assert counts(db) == {"job": 1, "ready": 1, "lease": 0, "ended": 0}
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, out, err) == (0, b"", b"")
