"""The life of a job on the agent's side: asked for, taken, begun, done, acknowledged.

Each step is in the journal before the next is taken, so an agent that was killed goes on where it
was: a question whose answer it never read is asked again under the same `request_id`, and a job
that it took and did not finish is finished under the lease that it has.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from uuid import uuid4

from api.demo.agent.client import Answer, Client, Unreachable
from api.demo.agent.journal import Entry, Journal
from api.demo.agent.terminal import Json, Refused, Terminal, Work

WAIT_SECONDS = 20  # of a long-poll
AGAIN_SECONDS = 0.2


@dataclass(slots=True)
class Worker:
    """Works on one job at a time."""

    client: Client
    path: str
    terminal: Terminal
    journal: Journal
    idle: bool = False
    """While it waits for a job; to end then loses nothing, as the question is asked again."""

    def run(self, stop: threading.Event) -> None:
        """Finish what an earlier process left, then work until told to stop."""
        for left, report in unfinished(self.journal.before):
            self._finish(left, report)
        again = unanswered(self.journal.before)
        while not stop.is_set():
            self.idle = True
            job = self._next(again or str(uuid4()))
            self.idle = False
            if job is not None:
                self._finish(job, None)
            again = None

    def _next(self, request_id: str) -> Json | None:
        self.journal.write("asked", request_id=request_id)
        query = f"wait={WAIT_SECONDS}&ack=1&request_id={request_id}"
        answer = self._insist("GET", f"{self.path}/jobs/next?{query}")
        if answer.status != HTTPStatus.OK:  # a key that is not let in any more, for one
            raise SystemExit(f"jobs/next answered {answer.status}: {answer.body}")
        job: Json | None = answer.body if "job_id" in answer.body else None
        if job is None:
            self.journal.write("nothing", request_id=request_id)
        else:
            self.journal.write("claimed", request_id=request_id, job=job)
        return job

    def _finish(self, job: Json, report: Json | None) -> None:
        """Begin the job and do it, unless an earlier process has; report it until that is heard."""
        place = f"{self.path}/jobs/{job['job_id']}"
        if report is None:
            begun = self._insist("POST", f"{place}/start", {"lease_epoch": job["lease_epoch"]})
            if begun.status != HTTPStatus.OK:
                self._note("lost", job, status=begun.status)
                return
            self._note("begun", job)
            report = self._do(job)
            self._note("done", job, report=report)
        answer = self._insist(
            "POST", f"{place}/result", {"lease_epoch": job["lease_epoch"], **report}
        )
        heard = answer.status == HTTPStatus.OK
        self._note("acknowledged" if heard else "lost", job, status=answer.status)

    def _do(self, job: Json) -> Json:
        work = Work(job["job_id"], job["job_type"], job["input_data"])
        time.sleep(work.input.get("work_ms", 0) / 1000)
        try:
            return {"status": "completed", "output_data": self.terminal.do(work)}
        except Refused as refused:
            output = {"output_data": refused.output} if refused.output else {}
            return {"status": "failed", "error_message": str(refused), **output}

    def _insist(self, method: str, path: str, body: Json | None = None) -> Answer:
        """Repeat a call that can be repeated until somebody answers for it."""
        while True:
            try:
                answer = self.client.call(method, path, body)
                if answer.status < HTTPStatus.INTERNAL_SERVER_ERROR and (
                    answer.status != HTTPStatus.TOO_MANY_REQUESTS
                ):
                    return answer
            except Unreachable:
                pass
            time.sleep(AGAIN_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 - jitter

    def _note(self, event: str, job: Json, **fields: Any) -> None:
        self.journal.write(event, job_id=job["job_id"], lease_epoch=job["lease_epoch"], **fields)


def unfinished(entries: Iterable[Entry]) -> Iterator[tuple[Json, Json | None]]:
    """Yield the jobs that were taken and not acknowledged, with the report if it is known.

    Work without a report was not done: in the simulated terminal doing and writing it down are
    one. A real agent would look for its order at the broker.
    """
    jobs: dict[str, Json] = {}
    reports: dict[str, Json] = {}
    for entry in entries:
        if entry["event"] == "claimed":
            jobs[entry["job"]["job_id"]] = entry["job"]
        elif entry["event"] == "done":
            reports[entry["job_id"]] = entry["report"]
        elif entry["event"] in {"acknowledged", "lost"}:
            jobs.pop(entry["job_id"], None)
    for job_id, job in jobs.items():
        yield job, reports.get(job_id)


def unanswered(entries: Iterable[Entry]) -> str | None:
    """Return the id of the question whose answer was never read."""
    asked: str | None = None
    for entry in entries:
        if entry["event"] == "asked":
            asked = entry["request_id"]
        elif entry["event"] in {"claimed", "nothing"}:
            asked = None
    return asked


def deals(entries: Iterable[Entry]) -> list[Json]:
    """Return what earlier processes bought or sold and did not close."""
    jobs: dict[str, Json] = {}
    open_deals: dict[str, Json] = {}
    for entry in entries:
        if entry["event"] == "claimed":
            jobs[entry["job"]["job_id"]] = entry["job"]
        elif entry["event"] == "done" and entry["report"]["status"] == "completed":
            job = jobs[entry["job_id"]]
            if job["job_type"] == "trade":
                deal = entry["report"]["output_data"]
                open_deals[str(deal["ticket"])] = deal
            elif job["job_type"] == "close_position":
                open_deals.pop(str(job["input_data"]["ticket"]), None)
    return list(open_deals.values())
