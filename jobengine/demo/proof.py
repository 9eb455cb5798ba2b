"""Compares what the engine says of a run with a plain recount of the disk."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from psycopg.rows import class_row, tuple_row

from jobengine import JobEngine
from jobengine.demo.crew import Crew
from jobengine.demo.files import Found, Hashed, decoded, find, hash_file, version_of
from jobengine.progress import Progress

_FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Hashing:
    """One job of the run, as the database has it."""

    folder: str
    path: str
    status: str
    bytes: int | None
    digest: int | None
    lease_epoch: int
    error_code: str | None
    wait_ms: float | None
    run_ms: float | None
    settles: int


@dataclass(slots=True)
class Totals:
    """A folder: what its row says, or what the disk says."""

    files: int = 0
    failed: int = 0
    bytes: int = 0
    digest: int = 0

    def add(self, hashed: Hashed | None) -> None:
        """Count a file, None for one that could not be read."""
        if hashed is None:
            self.failed += 1
        else:
            self.files += 1
            self.bytes += hashed.bytes
            self.digest ^= hashed.digest


@dataclass(frozen=True, slots=True)
class Result:
    """What the demo found."""

    proved: bool
    proofs: dict[str, bool]
    figures: dict[str, Any]
    wrong: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {"proved": self.proved, **self.figures, "proofs": self.proofs, "wrong": self.wrong}


async def prove(
    engine: JobEngine,
    run: UUID,
    root: Path,
    found: list[Found],
    *,
    crew: Crew,
    kills: int,
    seconds: float,
) -> Result:
    """Recount the disk and compare."""
    jobs = await _jobs(engine, run)
    folders = await _folders(engine, run)
    disk, changed = _recount(root, found, jobs)
    wrong = [
        *(f"{path}: {job} is not {disk.get(path)}" for path, job in _differing(jobs, disk)),
        *(
            f"folder {path}: the row says {row}, the disk {real}"
            for path, row, real in _differing_folders(folders, found, disk)
        ),
    ]
    duplicates = sum(job.settles - 1 for job in jobs if job.settles > 1)
    proofs = {
        "every file is accounted for": sorted(job.path for job in jobs)
        == sorted(file.path for file in found)
        and not any(_differing(jobs, disk)),
        "every folder row is right": not any(_differing_folders(folders, found, disk)),
        "no job was lost": all(job.status in {"completed", "failed"} for job in jobs)
        and len(jobs) == len(found),
        "no job was settled twice": not duplicates and all(job.settles == 1 for job in jobs),
        f"at least {kills} workers were killed": crew.kills >= kills,
    }
    figures = _figures(jobs, folders, crew, seconds)
    figures |= {"duplicates": duplicates, "changed_meanwhile": changed}
    return Result(all(proofs.values()), proofs, figures, wrong[:20] + crew.deaths[:20])


async def _jobs(engine: JobEngine, run: UUID) -> list[Hashing]:
    async with engine.connection() as conn:
        cursor = conn.cursor(row_factory=class_row(Hashing))
        await cursor.execute((_FOLDER / "proof.sql").read_bytes(), (run,))
        return await cursor.fetchall()


async def _folders(engine: JobEngine, run: UUID) -> dict[str, Totals]:
    async with engine.connection() as conn:
        cursor = conn.cursor(row_factory=tuple_row)
        await cursor.execute(
            "select path, files, failed, bytes, digest from jobengine_demo.folder where run = %s",
            (run,),
        )
        return {path: Totals(*totals) for path, *totals in await cursor.fetchall()}


def _recount(
    root: Path, found: list[Found], jobs: list[Hashing]
) -> tuple[dict[str, Hashed | None], int]:
    """Read every file again, None for what cannot be read.

    For a file that has changed since it was found nobody can say what its job read: the job's own
    word stands in, and the number of such files is part of the result.
    """
    said = {
        job.path: None if job.bytes is None or job.digest is None else Hashed(job.bytes, job.digest)
        for job in jobs
    }
    disk: dict[str, Hashed | None] = {}
    changed = len({file.path for file in find(root)} - {file.path for file in found})
    progress = Progress("recounting", len(found))
    for number, file in enumerate(found, 1):
        if version_of(decoded(file.path)) == file.version:
            disk[file.path] = _read(file.path)
        else:
            changed += 1
            disk[file.path] = said.get(file.path)
        progress.show(number)
    progress.end()
    return disk, changed


def _read(path: str) -> Hashed | None:
    try:
        return hash_file(path)
    except OSError:
        return None


def _differing(
    jobs: Iterable[Hashing], disk: dict[str, Hashed | None]
) -> list[tuple[str, Hashed | None]]:
    """Return the files whose job says something else than the disk."""
    differing = []
    for job in jobs:
        good = job.status == "completed" and job.bytes is not None and job.digest is not None
        said = Hashed(job.bytes or 0, job.digest or 0) if good else None
        if job.path not in disk or said != disk[job.path]:
            differing.append((job.path, said))
    return differing


def _differing_folders(
    rows: dict[str, Totals], found: list[Found], disk: dict[str, Hashed | None]
) -> list[tuple[str, Totals | None, Totals]]:
    real: defaultdict[str, Totals] = defaultdict(Totals)
    for file in found:
        real[file.folder].add(disk[file.path])
    return [
        (path, rows.get(path), real[path])
        for path in sorted(real.keys() | rows.keys())
        if rows.get(path) != real[path]
    ]


def _figures(
    jobs: list[Hashing], folders: dict[str, Totals], crew: Crew, seconds: float
) -> dict[str, Any]:
    claims = sum(job.lease_epoch for job in jobs)
    return {
        "files": len(jobs),
        "folders": len(folders),
        "bytes": sum(job.bytes or 0 for job in jobs),
        "failed": sum(job.status == "failed" for job in jobs),
        "errors": dict(Counter(job.error_code for job in jobs if job.error_code)),
        "kills": crew.kills,
        "claims": claims,
        "retries": claims - len(jobs),
        "seconds": round(seconds, 2),
        "jobs_per_second": round(len(jobs) / seconds),
        "wait_ms": _percentiles([job.wait_ms for job in jobs if job.wait_ms is not None]),
        "run_ms": _percentiles([job.run_ms for job in jobs if job.run_ms is not None]),
    }


def _percentiles(values: list[float]) -> dict[str, float]:
    if len(values) < 2:  # noqa: PLR2004 - quantiles need two
        return {"p50": round(sum(values), 2)}
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {f"p{p}": round(cuts[p - 1], 2) for p in (50, 95, 99)} | {"max": round(max(values), 2)}
