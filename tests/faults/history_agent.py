"""An agent that enqueues its share, claims, reports by chance, and writes down all it saw.

`python -m tests.faults.history_agent URL NAME FOLDER SHARE JOBS`: an agent that takes the share of
a killed one enqueues it again, under the same keys.
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path
from typing import Any, TextIO

import orjson
import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

LEASE_SECONDS = 1.0
CHUNK = 50
ENQUEUE = """select * from jobengine.enqueue(
    %s::text[], p_dedup_keys => %s::text[]) order by item"""
CLAIM = "select * from jobengine.claim(%s)"
FINISH = """select item, verdict, status from jobengine.finish(
    %s, %s, %s::text[], %s::jsonb[], %s::text[], %s::text[], %s::float8[]) order by item"""
OTHERS = {
    "start": "select verdict, null as status from jobengine.start(%s, %s) order by item",
    "extend": "select verdict, null as status from jobengine.extend(%s, %s) order by item",
    "release": "select verdict, null as status from jobengine.release(%s, %s) order by item",
}
DRAINED = """select not exists (select from jobengine.ready)
    and not exists (select from jobengine.lease) as drained"""

FATES = {"finish": 86, "release": 5, "extend": 4, "late": 3, "forget": 2}  # in a hundred

Job = dict[str, Any]


class Agent:
    """One agent with its own connection and its own file."""

    def __init__(self, url: str, name: str, file: TextIO) -> None:
        self.conn = psycopg.connect(url, autocommit=True, row_factory=dict_row)
        self.name = name
        self.file = file
        self.chance = random.Random(name)  # noqa: S311 - repeatable, not secret
        self.calls = 0
        self.late: list[tuple[float, Job]] = []  # to be reported when the lease has run out

    def work(self, keys: list[str]) -> None:
        """Enqueue the keys, and work until nothing is left anywhere."""
        while True:
            self.enqueue(keys[:CHUNK])
            keys = keys[CHUNK:]
            jobs = self.claim()
            self.deal_with(jobs)
            self.report_late(time.monotonic())
            if not jobs or self.chance.random() < 0.1:
                self.conn.execute("select jobengine.sweep()")
            if not jobs and not keys and self.drained():
                self.report_late(float("inf"))
                return
            if not jobs:
                time.sleep(0.01)  # what is left is held by others or waits for its time

    def deal_with(self, jobs: list[Job]) -> None:
        started = self.start([job for job in jobs if job["started_at"] is None])
        begun = [job for job in jobs if job["started_at"] is not None] + started
        fates: dict[str, list[Job]] = {fate: [] for fate in FATES}
        for job in begun:
            fates[self.fate(job)].append(job)
        self.hold("release", fates["release"])
        self.hold("extend", fates["extend"])
        self.finish(fates["finish"] + fates["extend"])
        due = time.monotonic() + 1.5 * LEASE_SECONDS
        self.late += [(due, job) for job in fates["late"]]

    def fate(self, job: Job) -> str:
        """Slow jobs are slow with everyone, so that a late report meets the next holder."""
        if job["job_id"].int % 25 == 0 and self.chance.random() < 0.5:
            return "late"
        return self.chance.choices(list(FATES), list(FATES.values()))[0]

    def start(self, jobs: list[Job]) -> list[Job]:
        verdicts = self.hold("start", jobs)
        return [job for job, verdict in zip(jobs, verdicts, strict=True) if verdict == "ok"]

    def report_late(self, now: float) -> None:
        due = [job for at, job in self.late if at <= now]
        self.late = [(at, job) for at, job in self.late if at > now]
        self.hold("extend", due)
        self.finish(due)

    def drained(self) -> bool:
        row = self.conn.execute(DRAINED).fetchone()
        return bool(row and row["drained"])

    # --- calls, each with a line before and a line after ---

    def enqueue(self, keys: list[str]) -> None:
        if keys:
            call = self.ask("enqueue", keys)
            types = ["once" if hash_of(key) % 4 == 0 else "again" for key in keys]
            rows = self.conn.execute(ENQUEUE, (types, keys)).fetchall()
            self.answer(call, [[row["verdict"], str(row["job_id"])] for row in rows])

    def claim(self) -> list[Job]:
        request = {
            "queues": ["default"],
            "agent_id": self.name,
            "limit": self.chance.randint(1, 25),
            "two_phase": "at_most_once",
        }
        call = self.ask("claim", [])
        jobs = self.conn.execute(CLAIM, (Jsonb([request]),)).fetchall()
        names = ("lease_epoch", "attempt", "lease_seconds")
        self.answer(call, [[str(job["job_id"]), *(job[name] for name in names)] for job in jobs])
        return jobs

    def hold(self, outcome: str, jobs: list[Job]) -> list[str]:
        """Start, extend or release leases."""
        if not jobs:
            return []
        call = self.ask("report", [_item(job, outcome) for job in jobs])
        rows = self.conn.execute(OTHERS[outcome], _columns(jobs)).fetchall()
        self.answer(call, [[row["verdict"], row["status"]] for row in rows])
        return [row["verdict"] for row in rows]

    def finish(self, jobs: list[Job]) -> None:
        if not jobs:
            return
        outcomes = self.chance.choices(
            ("completed", "failed", "snooze", "rejected", "unknown"), (84, 8, 4, 2, 2), k=len(jobs)
        )
        call = self.ask("report", [_item(*pair) for pair in zip(jobs, outcomes, strict=True)])
        tokens = [f"{call}/{place}" for place in range(len(jobs))]
        done = [outcome == "completed" for outcome in outcomes]
        rows = self.conn.execute(
            FINISH,
            (
                *_columns(jobs),
                outcomes,
                [Jsonb({"by": token}) for token in tokens],
                [None if good else "chance" for good in done],
                [None if good else token for good, token in zip(done, tokens, strict=True)],
                [0.02 if outcome == "snooze" else None for outcome in outcomes],
            ),
        ).fetchall()
        self.answer(call, [[row["verdict"], row["status"]] for row in rows])

    def ask(self, op: str, items: list[Any]) -> str:
        self.calls += 1
        call = f"{self.name}/{self.calls}"
        self.write({"call": call, "op": op, "asked": time.monotonic(), "items": items})
        return call

    def answer(self, call: str, items: list[Any]) -> None:
        self.write({"call": call, "answered": time.monotonic(), "items": items})

    def write(self, record: dict[str, Any]) -> None:
        self.file.write(orjson.dumps(record).decode() + "\n")
        self.file.flush()


def hash_of(key: str) -> int:
    """Return a number that every process gets for this key."""
    return sum(key.encode())


def _item(job: Job, outcome: str) -> list[Any]:
    return [str(job["job_id"]), job["lease_epoch"], outcome]


def _columns(jobs: list[Job]) -> tuple[list[Any], list[Any]]:
    return [job["job_id"] for job in jobs], [job["lease_epoch"] for job in jobs]


def main(url: str, name: str, folder: str, share: str, jobs: str) -> None:
    with (Path(folder) / f"{name}.jsonl").open("a") as file:
        Agent(url, name, file).work([f"{share}-{number}" for number in range(int(jobs))])


if __name__ == "__main__":
    main(*sys.argv[1:])
