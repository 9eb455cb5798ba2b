"""The demo's course: find files, enqueue them in portions, kill workers, wait, prove."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

from jobengine import JobEngine, NewJob
from jobengine.demo.crew import Crew
from jobengine.demo.files import Found, find
from jobengine.demo.proof import Result, prove
from jobengine.errors import EngineError
from jobengine.progress import Progress

_FOLDER = Path(__file__).parent
_ENQUEUE = 5000
# The first jobs of a portion linger, so that the kill that follows finds work under way.
_LINGER = 0.4
_LOOK_EVERY = 1.0


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks for."""

    path: Path
    workers: int
    kills: int
    seed: int


async def run_demo(url: str, options: Options) -> Result:
    """Run the demo on the database at `url`; raises nothing for a proof that fails."""
    found = list(find(options.path))
    if not found:
        raise EngineError(f"no files under {options.path}")
    async with JobEngine(url) as engine:
        await _prepare(engine)
        demo = _Demo(engine, options, found)
        began = time.monotonic()
        with Crew(url, demo.run, options.workers) as crew:
            await demo.work(crew)
        seconds = time.monotonic() - began
        return await prove(
            engine,
            demo.run,
            options.path,
            found,
            crew=crew,
            kills=options.kills,
            seconds=seconds,
        )


async def _prepare(engine: JobEngine) -> None:
    await engine.install(roles=await _with_roles(engine))
    async with engine.connection() as conn:
        await conn.execute((_FOLDER / "schema.sql").read_bytes())
    await engine.register_job_type(
        "hash_file",
        lease=3,
        max_attempts=1000,
        backoff=0.05,
        backoff_max=0.5,
        settle="jobengine_demo.settle_hash_file",
    )


async def _with_roles(engine: JobEngine) -> bool:
    """Install as it was installed before; with roles where it is new and this role may."""
    async with engine.connection() as conn:
        cursor = await conn.execute((_FOLDER / "with_roles.sql").read_bytes())
        row = await cursor.fetchone()
    return bool(row and row[0])


class _Demo:
    def __init__(self, engine: JobEngine, options: Options, found: list[Found]) -> None:
        self.run: UUID = uuid4()
        self._engine = engine
        self._options = options
        self._found = found
        self._chance = random.Random(options.seed)  # noqa: S311 - repeatable, not secret
        self._progress = Progress("hashing", len(found))
        self._enqueued = 0

    async def work(self, crew: Crew) -> None:
        """One portion of the files per kill, and one more; a kill comes while its portion runs."""
        await self._create_folders()
        for number, portion in enumerate(_portions(self._found, self._options.kills + 1), 1):
            await self._enqueue(portion)
            last = portion[-1] is self._found[-1]
            kills = self._options.kills if last else min(number, self._options.kills)
            await self._watch(crew, kills, last=last)
        self._progress.end()

    async def _watch(self, crew: Crew, kills: int, *, last: bool) -> None:
        """Go on when so many were killed, and at the end, or with nobody to kill, when all is over.

        Whether all is over, the engine's tables say: a job that got lost would never be counted.
        """
        began = time.monotonic()
        while True:
            done = await self._done()
            self._progress.show(done, f"{crew.kills} killed")
            if crew.kills < kills:
                await self._kill(crew)
            if crew.kills >= kills and not last:
                return
            if done >= self._enqueued or time.monotonic() - began > _LOOK_EVERY:
                if await self._over():
                    return
                began = time.monotonic()
            crew.keep_up()
            await asyncio.sleep(0.05)

    async def _over(self) -> bool:
        """Whether every job has ended, and its folder knows."""
        queues = await self._engine.stats(tenant_id=self.run)
        return not any(
            queue.due + queue.scheduled + queue.claimed + queue.running + queue.unsettled
            for queue in queues
        )

    async def _kill(self, crew: Crew) -> bool:
        """Kill from a thread: it asks the database between stopping a worker and killing it."""
        return await asyncio.to_thread(crew.kill_one, self._chance, self._asker())

    def _asker(self) -> Callable[[str], bool]:
        loop = asyncio.get_running_loop()

        def holds_jobs(agent: str) -> bool:
            return agent in asyncio.run_coroutine_threadsafe(self._holders(), loop).result()

        return holds_jobs

    async def _holders(self) -> set[str]:
        """The agents that hold jobs now."""
        held = await self._engine.list(tenant_id=self.run, status="running", limit=1000)
        return {job.agent_id for job in held if job.agent_id is not None}

    async def _done(self) -> int:
        async with self._engine.connection() as conn:
            cursor = await conn.execute(
                "select coalesce(sum(files + failed), 0) from jobengine_demo.folder where run = %s",
                (self.run,),
            )
            row = await cursor.fetchone()
        return int(row[0]) if row else 0

    async def _create_folders(self) -> None:
        folders = sorted({file.folder for file in self._found})
        async with self._engine.connection() as conn:
            await conn.execute(
                "insert into jobengine_demo.folder (run, path) select %s, unnest(%s::text[])",
                (self.run, folders),
            )

    async def _enqueue(self, portion: list[Found]) -> None:
        lingering = self._options.workers if self._options.kills else 0
        jobs = [
            NewJob(
                job_type="hash_file",
                input={"folder": file.folder, "path": file.path}
                | ({"linger": _LINGER} if place < lingering else {}),
                queue="demo",
                tenant_id=self.run,
            )
            for place, file in enumerate(portion)
        ]
        for start in range(0, len(jobs), _ENQUEUE):
            await self._engine.enqueue_many(jobs[start : start + _ENQUEUE])
        self._enqueued += len(jobs)


def _portions(found: list[Found], count: int) -> Iterator[list[Found]]:
    """Part the files into at most `count` portions of about one size, none empty."""
    count = min(count, len(found))
    for number in range(count):
        yield found[len(found) * number // count : len(found) * (number + 1) // count]
