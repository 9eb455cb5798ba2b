"""An agent that claims, reports by chance, forgets some jobs, and writes down all it saw.

`python history_agent.py URL AGENT FILE SEED`
"""

from __future__ import annotations

import random
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import orjson
import psycopg
from psycopg.rows import dict_row

from tests.history import Claimed, Reported

CLAIM = "select * from jobengine.claim(%s::jsonb)"
FINISH = "select * from jobengine.finish(%s, %s, %s, %s::jsonb[], p_delays => %s)"
RELEASE = "select * from jobengine.release(%s, %s)"
DRAINED = """select not exists (select from jobengine.ready)
    and not exists (select from jobengine.lease) as drained"""


class Agent:
    """One agent with its own connection and its own file."""

    def __init__(self, url: str, name: str, file: TextIO, seed: int) -> None:
        self.conn = psycopg.connect(url, autocommit=True, row_factory=dict_row)
        self.name = name
        self.file = file
        self.chance = random.Random(seed)  # noqa: S311 - repeatable, not secret

    def note(self, kind: str, record: Claimed | Reported) -> None:
        self.file.write(orjson.dumps({"kind": kind, **asdict(record)}).decode() + "\n")
        self.file.flush()

    def work(self) -> None:
        """Work until nothing is left anywhere."""
        while True:
            jobs = self.claim()
            kept = [job for job in jobs if self.chance.random() > 0.02]
            self.release([job for job in kept if self.release_it(job)])
            self.finish([job for job in kept if not self.release_it(job)])
            if self.chance.random() < 0.2 or not jobs:
                self.conn.execute("select jobengine.sweep()")
            if not jobs and self.drained():
                return

    def drained(self) -> bool:
        row = self.conn.execute(DRAINED).fetchone()
        return bool(row and row["drained"])

    def release_it(self, job: dict[str, Any]) -> bool:
        return bool(job["job_id"].int % 31 == 0 and job["lease_epoch"] == 1)

    def claim(self) -> list[dict[str, Any]]:
        request = {"queues": ["default"], "agent_id": self.name, "limit": 25}
        asked = time.monotonic()
        jobs = self.conn.execute(CLAIM, (orjson.dumps([request]).decode(),)).fetchall()
        answered = time.monotonic()
        for job in jobs:
            self.note(
                "claimed",
                Claimed(
                    self.name,
                    str(job["job_id"]),
                    job["lease_epoch"],
                    job["lease_seconds"],
                    asked,
                    answered,
                ),
            )
        return jobs

    def outcome(self) -> str:
        return self.chance.choices(("completed", "failed", "snooze", "rejected"), (88, 6, 4, 2))[0]

    def report(self, job: dict[str, Any], outcome: str, answer: dict[str, Any] | None) -> None:
        self.note(
            "reported",
            Reported(
                self.name,
                str(job["job_id"]),
                job["lease_epoch"],
                outcome,
                time.monotonic(),
                answer["verdict"] if answer else None,
                answer.get("status") if answer else None,
            ),
        )

    def finish(self, jobs: list[dict[str, Any]]) -> None:
        if not jobs:
            return
        outcomes = [self.outcome() for _ in jobs]
        for job, outcome in zip(jobs, outcomes, strict=True):
            self.report(job, outcome, None)
        outputs = [orjson.dumps(f"{self.name}/{job['lease_epoch']}").decode() for job in jobs]
        answers = self.conn.execute(
            FINISH,
            (
                [job["job_id"] for job in jobs],
                [job["lease_epoch"] for job in jobs],
                outcomes,
                outputs,
                [0.01] * len(jobs),
            ),
        ).fetchall()
        for answer in answers:
            place = answer["item"] - 1
            self.report(jobs[place], outcomes[place], answer)

    def release(self, jobs: list[dict[str, Any]]) -> None:
        if not jobs:
            return
        for job in jobs:
            self.report(job, "release", None)
        self.conn.execute(
            RELEASE, ([job["job_id"] for job in jobs], [job["lease_epoch"] for job in jobs])
        )


def main(url: str, name: str, path: str, seed: str) -> None:
    with Path(path).open("a") as file:
        Agent(url, name, file, int(seed)).work()


if __name__ == "__main__":
    main(*sys.argv[1:])
