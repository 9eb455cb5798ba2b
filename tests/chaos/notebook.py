"""An actor's notebook: a line before and a line after each call, as tests/history.py reads it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import orjson

from jobengine import (
    Cancelled,
    Extended,
    Finished,
    Job,
    JobEngine,
    Released,
    Report,
    Started,
    calls,
)
from jobengine import Retried as Returned
from jobengine.records import Held, Verdict


class Notebook:
    """One file per actor; what is written survives the death of its writer."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self._file = os.open(folder / f"{name}.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._calls = 0

    def ask(self, op: str, items: Sequence[Any], **fields: Any) -> str:
        """Note what is about to be asked; return the call's name."""
        self._calls += 1
        call = f"{self.name}/{self._calls}"
        record = {"call": call, "op": op, "asked": time.monotonic(), "items": items, **fields}
        self._write(record)
        return call

    def answer(self, call: str, items: Sequence[Any]) -> None:
        """Note the answer, one element per item that was asked."""
        self._write({"call": call, "answered": time.monotonic(), "items": items})

    def _write(self, record: dict[str, Any]) -> None:
        os.write(self._file, orjson.dumps(record) + b"\n")  # one write: whole or not at all


class NotedEngine(JobEngine):
    """The library's engine, with a line before and a line after what a holder says."""

    def __init__(self, url: str, notebook: Notebook) -> None:
        super().__init__(url, max_size=4)
        self.notebook = notebook
        self._orders = 0

    async def start(self, leases: Iterable[Held]) -> Sequence[Started]:
        held = list(leases)
        call = self._ask("start", held)
        answers = await super().start(held)
        self._answer(call, answers)
        return answers

    async def extend(
        self, leases: Iterable[Held], *, seconds: float | None = None
    ) -> Sequence[Extended]:
        held = list(leases)
        call = self._ask("extend", held)
        answers = await super().extend(held, seconds=seconds)
        self._answer(call, answers)
        return answers

    async def release(self, leases: Iterable[Held]) -> Sequence[Released]:
        held = list(leases)
        call = self._ask("release", held)
        answers = await super().release(held)
        self._answer(call, answers)
        return answers

    async def finish(
        self, reports: Iterable[Report], *, job_types: Sequence[str] | None = None
    ) -> Sequence[Finished]:
        said = list(reports)
        call = self._report(said)
        answers = await super().finish(said, job_types=job_types)
        self.notebook.answer(call, [[a.verdict, a.status] for a in answers])
        return answers

    async def finish_own(self, reports: Sequence[Report]) -> Sequence[Finished]:
        call = self._report(reports)
        answers = await super().finish_own(reports)
        inorder = sorted(answers, key=lambda answer: answer.item)
        self.notebook.answer(call, [[a.verdict, a.status] for a in inorder])
        return answers

    def _report(self, reports: Sequence[Report]) -> str:
        items = [[str(r.job_id), r.lease_epoch, r.outcome, *_token(r)] for r in reports]
        return self.notebook.ask("report", items)

    async def cancel_one(self, job_id: Any) -> None:
        """Cancel a job under a reason of its own."""
        self._orders += 1
        reason = f"{self.notebook.name}/cancel/{self._orders}"
        call = self.notebook.ask("order", [[str(job_id), "cancel"]])
        self._answer_order(call, await self.cancel([job_id], reason=reason))

    async def retry_one(self, job_id: Any) -> None:
        """Put an ended job back."""
        call = self.notebook.ask("order", [[str(job_id), "retry"]])
        self._answer_order(call, await self.retry([job_id]))

    def _ask(self, outcome: str, held: Sequence[Held]) -> str:
        return self.notebook.ask(
            "report", [[str(one.job_id), one.lease_epoch, outcome] for one in held]
        )

    def _answer(self, call: str, answers: Sequence[Started | Extended | Released]) -> None:
        verdicts: dict[int, Verdict] = {answer.item: answer.verdict for answer in answers}
        self.notebook.answer(call, [[verdicts[item], None] for item in sorted(verdicts)])

    def _answer_order(self, call: str, answers: Sequence[Cancelled | Returned]) -> None:
        self.notebook.answer(call, [[answer.verdict, answer.status] for answer in answers])


def note_claims(notebook: Notebook) -> None:
    """Note every claim of this process: of its `Worker`, which calls no method, and its own."""
    claim = calls.claim

    async def noted(conn: Any, *, requests: str) -> list[Job]:
        request = orjson.loads(requests)[0]
        agent, request_id = request["agent_id"], request.get("request_id")
        call = notebook.ask("claim", [], agent=agent, request=request_id)
        jobs = await claim(conn, requests=requests)
        leases = [[str(j.job_id), j.lease_epoch, j.attempt, j.lease_seconds] for j in jobs]
        notebook.answer(call, leases)
        return jobs

    calls.claim = noted


def _token(report: Report) -> list[str]:
    """Return what the tables show of this report if it is heard."""
    if isinstance(report.output, dict):
        return [report.output["by"]]
    return [report.error_message] if report.error_message else []
