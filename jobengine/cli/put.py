"""`enqueue`: one job from the command line, or many from lines of JSON."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import IO, Any
from uuid import UUID

import orjson

from jobengine.cli import codes
from jobengine.cli.options import (
    Options,
    UsageError,
    add_tenant,
    command,
    json_value,
    moment,
    positive,
)
from jobengine.cli.show import details, note, say, say_json, say_lines, tally
from jobengine.engine import JobEngine
from jobengine.errors import InvalidArgument
from jobengine.progress import Progress
from jobengine.records import Enqueued, NewJob

BATCH = 10_000
_FIELDS = [field.name for field in fields(NewJob)]
_ABOUT = """
The job type must be registered. INPUT is JSON: the text itself, `-` for standard input, `@FILE`
for a file. The job exists once the command answers. With a --dedup-key or --live-key that is taken
the answer is `duplicate` with the first job's id.

  jobengine enqueue resize '{"path": "a.png"}' --queue images --priority 2
  jobengine enqueue resize @job.json --wait 30

--many FILE reads one JSON object per line, with the fields of jobengine.NewJob (`job_type`,
`input`, `queue`, `run_at`, …), and puts all of them in or, if one is refused, none; the error
names its line. What is given besides is the default of every line.

  jobengine enqueue resize --many jobs.ndjson --queue images

contract: sql/engine/functions/enqueue.sql
"""


def add(commands: Any) -> None:
    """Add the command."""
    parser = command(commands, _enqueue, "Put a job in, or many.", _ABOUT, check=_check)
    parser.add_argument("job_type", nargs="?")
    parser.add_argument("input", nargs="?", help="JSON, - or @FILE (default: {})")
    parser.add_argument("--many", metavar="FILE", help="a job per line of FILE, - for stdin")
    parser.add_argument("--queue")
    add_tenant(parser, "whose job it is")
    parser.add_argument("--priority", type=int, help="0 (first) to 9")
    parser.add_argument("--run-at", type=moment, metavar="TIME", help="not before")
    parser.add_argument("--delay", type=float, metavar="SECONDS", help="not before so long")
    parser.add_argument("--expires-at", type=moment, metavar="TIME", help="not begun later")
    parser.add_argument("--expires-in", type=float, metavar="SECONDS", help="the same, from now")
    parser.add_argument("--dedup-key", metavar="KEY", help="one job of it, until it is pruned")
    parser.add_argument("--live-key", metavar="KEY", help="one job of it at a time")
    parser.add_argument("--max-attempts", type=int, metavar="N")
    parser.add_argument("--lease", type=float, metavar="SECONDS", help="how long it is held")
    parser.add_argument("--meta", metavar="JSON", help="an object of yours, kept with the job")
    parser.add_argument(
        "--wake", action="store_const", const=True, help="its end wakes those who wait for it"
    )
    parser.add_argument(
        "--wait", type=positive, metavar="SECONDS", help="wait for its end; says --wake"
    )


def _check(options: Options) -> None:
    if options.many is None and options.job_type is None:
        raise UsageError("JOB_TYPE or --many is needed")
    if options.many is not None and (options.wait is not None or options.input is not None):
        raise UsageError("--many takes neither INPUT nor --wait")


async def _enqueue(url: str, options: Options) -> int:
    if options.many is not None:
        return await _enqueue_many(url, options)
    given = _given(options)
    given.setdefault("input", {})
    if options.wait is not None:
        given["wake"] = True
    async with JobEngine(url) as engine:
        (job,) = await engine.enqueue_many([NewJob(**given)])
        if options.wait is None:
            _say_enqueued(job, json=options.json)
            return codes.DONE
        return await _wait(engine, job, options)


def _given(options: Options) -> dict[str, Any]:
    """Return the fields of a NewJob that the command line gives."""
    given = {name: getattr(options, name, None) for name in _FIELDS}
    for name in ("input", "meta"):
        if (text := given[name]) is not None:
            given[name] = json_value(text, name)
    return {name: value for name, value in given.items() if value is not None}


def _say_enqueued(job: Enqueued, *, json: bool) -> None:
    if json:
        say_json(job)
    else:
        say(f"{job.job_id} {job.verdict}")


async def _wait(engine: JobEngine, job: Enqueued, options: Options) -> int:
    if not options.json:
        note(f"{job.job_id} {job.verdict}; waiting for its end")
    ended = await engine.wait(job.job_id, timeout=options.wait)
    if options.json:
        say_json(ended)
    else:
        say(details(ended))
    return codes.DONE if ended.status == "completed" else codes.FAILED


async def _enqueue_many(url: str, options: Options) -> int:
    defaults = _given(options)
    with _lines(options.many) as (lines, total):
        async with JobEngine(url) as engine:
            answers = await _put_all(engine, _new_jobs(lines, defaults), total)
    if options.json:
        say_lines(answers)
    else:
        say(tally(answer.verdict for answer in answers))
    return codes.DONE


@contextmanager
def _lines(name: str) -> Iterator[tuple[Iterable[bytes], int | None]]:
    """Yield the lines of a file and, unless it is standard input, their number."""
    if name == "-":
        yield sys.stdin.buffer, None
        return
    try:
        file = Path(name).open("rb")  # noqa: SIM115 - closed below, and only its opening is tried
    except OSError as error:
        raise InvalidArgument("many", f"a file that can be read: {error}") from error
    with file:
        yield file, _count(file)


def _count(file: IO[bytes]) -> int | None:
    """Count the lines of a file that can be read twice."""
    if not file.seekable():
        return None
    total = sum(1 for _ in file)
    file.seek(0)
    return total


def _new_jobs(lines: Iterable[bytes], defaults: dict[str, Any]) -> Iterator[tuple[int, NewJob]]:
    """Yield the number of each line that is not empty, and its job."""
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield number, _new_job(line, defaults, number)


def _new_job(line: bytes, defaults: dict[str, Any], number: int) -> NewJob:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise InvalidArgument("line", f"JSON: {error}", number) from error
    if not isinstance(found, dict):
        raise InvalidArgument("line", "a JSON object", number)
    given = {**defaults, **found}
    for name in found.keys() - set(_FIELDS):
        raise InvalidArgument(name, f"no field of a job; they are {', '.join(_FIELDS)}", number)
    if "job_type" not in given:
        raise InvalidArgument("job_type", "there must be one", number)
    for name, read in _READERS.items():
        if isinstance(given.get(name), str):
            given[name] = _read(given[name], name, read, number)
    return NewJob(**{"input": {}, **given})


def _read(text: str, name: str, read: Any, number: int) -> Any:
    try:
        return read(text)
    except ValueError as error:
        raise InvalidArgument(name, _RULES[read], number) from error


_READERS: dict[str, Any] = {
    "tenant_id": UUID,
    "run_at": datetime.fromisoformat,
    "expires_at": datetime.fromisoformat,
}
_RULES = {UUID: "a UUID", datetime.fromisoformat: "a time, as 2030-01-31T12:00:00Z"}


async def _put_all(
    engine: JobEngine, jobs: Iterator[tuple[int, NewJob]], total: int | None
) -> Sequence[Enqueued]:
    """Put all jobs in, in one transaction; an answer's and an error's item is the line."""
    answers: list[Enqueued] = []
    progress = Progress("jobs", total)
    async with engine.connection() as conn, conn.transaction():
        while batch := list(itertools.islice(jobs, BATCH)):
            numbers = [number for number, _ in batch]
            try:
                found = await engine.enqueue_many([job for _, job in batch], connection=conn)
            except InvalidArgument as error:
                line = None if error.item is None else numbers[error.item - 1]
                raise InvalidArgument(error.field, error.rule, line) from error
            answers += [Enqueued(numbers[a.item - 1], a.job_id, a.verdict) for a in found]
            progress.show(len(answers))
    progress.end()
    return answers
