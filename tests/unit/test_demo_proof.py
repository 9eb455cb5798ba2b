"""The demo's proof holds for a run that was right, and fails for each thing that may be wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from jobengine import JobEngine, Worker
from jobengine.demo.crew import Crew
from jobengine.demo.files import Found, find
from jobengine.demo.proof import Result, prove
from jobengine.demo.report import print_result
from jobengine.demo.run import Options, _Demo, _prepare
from jobengine.demo.worker import hash_one
from tests.acceptance.world import Db, as_owner, counts, in_loop, until, working

FILES = ("one", "two", "a/three", "a/four", "b/five")


@dataclass
class Run:
    """A run whose jobs have ended, in this process."""

    engine: JobEngine
    root: Path
    found: list[Found]
    demo: _Demo
    crew: Crew
    db: Db

    async def prove(self, kills: int = 1) -> Result:
        return await prove(
            self.engine, self.demo.run, self.root, self.found,
            crew=self.crew, kills=kills, seconds=1.0,
        )  # fmt: skip

    def path(self, name: str) -> str:
        return next(file.path for file in self.found if file.path.endswith(f"/{name}"))


def tree(root: Path) -> None:
    for name in FILES:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(name * 100)


@asynccontextmanager
async def run(
    db: Db, url: str, root: Path, *, before: Callable[[Path], object] = lambda _: None
) -> AsyncIterator[Run]:
    tree(root)
    async with JobEngine(url) as engine:
        await _prepare(engine)
        db.execute("truncate jobengine_demo.folder, jobengine_demo.settled")
        found = list(find(root))
        demo = _Demo(engine, Options(root, 1, 0, 1), found)
        before(root)
        await demo._create_folders()
        await demo._enqueue(found)
        worker = Worker(engine, queues=["demo"], tenant_id=demo.run)
        worker.handles("hash_file")(hash_one)
        async with working(worker):
            await until(lambda: counts(db)["ended"] == len(found))
        crew = Crew(url, demo.run, 0)
        crew.kills = 1
        yield Run(engine, root, found, demo, crew, db)


def broken(result: Result) -> set[str]:
    """The proofs that fail; a proof that fails is never a success."""
    failing = {proof for proof, holds in result.proofs.items() if not holds}
    assert result.proved == (not failing)
    return failing


ACCOUNTED = "every file is accounted for"
FOLDERS = "every folder row is right"
NOT_LOST = "no job was lost"
NOT_TWICE = "no job was settled twice"
KILLED = "at least 1 workers were killed"


@in_loop
async def test_a_run_that_was_right_is_proved(db: Db, database_url: str, tmp_path: Path) -> None:
    async with run(db, database_url, tmp_path) as done:
        result = await done.prove()
        assert result.proved
        assert set(result.proofs) == {ACCOUNTED, FOLDERS, NOT_LOST, NOT_TWICE, KILLED}
        assert result.wrong == []
        figures = result.figures
        assert (figures["files"], figures["folders"], figures["failed"]) == (5, 3, 0)
        assert figures["bytes"] == sum(100 * len(name) for name in FILES)
        assert (figures["claims"], figures["retries"], figures["duplicates"]) == (5, 0, 0)
        assert figures["changed_meanwhile"] == 0


WAIT_AGAIN = (
    "with gone as (delete from jobengine.ended returning *)"
    " insert into jobengine.ready (job_id, tenant_id, queue, priority, run_at, attempt,"
    " lease_epoch, lost) select job_id, tenant_id, 'demo', 5, now(), 0, 1, 0 from gone"
)
TAMPERED: dict[str, tuple[str, set[str]]] = {
    "a folder's bytes": ("update jobengine_demo.folder set bytes = bytes + 1", {FOLDERS}),
    "a folder's digest": ("update jobengine_demo.folder set digest = digest # 1", {FOLDERS}),
    "a folder's files": ("update jobengine_demo.folder set files = files - 1", {FOLDERS}),
    "a folder that is gone": ("delete from jobengine_demo.folder where path like '%/a'", {FOLDERS}),
    "a folder that nobody asked for": (
        "insert into jobengine_demo.folder select run, 'x', 1 from jobengine_demo.folder limit 1",
        {FOLDERS},
    ),
    "an end that was settled twice": (
        "insert into jobengine_demo.settled select * from jobengine_demo.settled limit 1",
        {NOT_TWICE},
    ),
    "an end that was not settled": (
        "delete from jobengine_demo.settled where ctid = '(0,1)'",
        {NOT_TWICE},
    ),
    "another digest": (
        "update jobengine.ended set output = jsonb_set(output, '{digest}', '7')",
        {ACCOUNTED},
    ),
    "a job that failed for nothing": (
        "update jobengine.ended set status = 'failed', output = null",
        {ACCOUNTED},
    ),
    "a job that is gone": (
        "delete from jobengine.job where input ->> 'path' ~ '/one$'",
        {ACCOUNTED, NOT_LOST},
    ),
    "a job that waits again": (WAIT_AGAIN, {ACCOUNTED, NOT_LOST}),
}


@pytest.mark.parametrize("case", TAMPERED)
@in_loop
async def test_no_proof_holds_for_a_run_that_was_tampered_with(
    db: Db, database_url: str, tmp_path: Path, case: str
) -> None:
    statement, failing = TAMPERED[case]
    async with run(db, database_url, tmp_path) as done:
        if "jobengine." in statement:
            as_owner(db, statement)
        else:
            db.execute(statement.encode())
        result = await done.prove()
        assert broken(result) == failing
        if failing & {FOLDERS, ACCOUNTED} and "gone" not in case:
            assert result.wrong


@in_loop
async def test_too_few_kills_are_no_proof(db: Db, database_url: str, tmp_path: Path) -> None:
    async with run(db, database_url, tmp_path) as done:
        assert broken(await done.prove(kills=2)) == {"at least 2 workers were killed"}


@in_loop
async def test_a_file_that_cannot_be_read_is_counted_as_failed(
    db: Db, database_url: str, tmp_path: Path
) -> None:
    """Its folder says so, and the disk does too: it was there when it was found."""
    async with run(
        db, database_url, tmp_path, before=lambda root: (root / "a" / "four").unlink()
    ) as done:
        result = await done.prove()
        assert result.proved
        assert (result.figures["failed"], result.figures["errors"]) == (1, {"unreadable": 1})
        failed = "select failed from jobengine_demo.folder where path like '%/a'"
        assert db.execute(failed.encode()).fetchall() == [{"failed": 1}]


@in_loop
async def test_what_changes_meanwhile_is_counted_and_no_error(
    db: Db, database_url: str, tmp_path: Path
) -> None:
    async with run(db, database_url, tmp_path) as done:
        (tmp_path / "one").write_text("changed after it was hashed")
        (tmp_path / "b" / "new").write_text("nobody looked for it")
        result = await done.prove()
        assert result.proved
        assert result.figures["changed_meanwhile"] == 2


@in_loop
async def test_the_report_names_each_proof_and_what_is_wrong(
    db: Db, database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with run(db, database_url, tmp_path) as done:
        db.execute("update jobengine_demo.folder set bytes = bytes + 1 where path like '%/b'")
        print_result(await done.prove())
        said = capsys.readouterr().out
        assert f"proved  {ACCOUNTED}" in said
        assert f"FAILED  {FOLDERS}" in said
        assert "/b: the row says" in said
