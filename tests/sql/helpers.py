"""The SQL functions as the tests call them: named notation, one connection, one clock."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeAlias
from uuid import UUID

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import Jsonb

from jobengine.testing import Clock

Db: TypeAlias = psycopg.Connection[DictRow]

START = datetime(2030, 1, 1, tzinfo=UTC)  # where the fixture `clock` stands at first
NO_TENANT = UUID(int=0)
ANNA = UUID(int=0xA)
BERT = UUID(int=0xB)
NOBODY = UUID("00000000-0000-7000-8000-00000000dead")  # a job that does not exist
PLURAL = {
    "input": "inputs",
    "queue": "queues",
    "tenant_id": "tenant_ids",
    "priority": "priorities",
    "run_at": "run_ats",
    "delay": "delays",
    "expires_at": "expires_ats",
    "expires_in": "expires_ins",
    "dedup_key": "dedup_keys",
    "live_key": "live_keys",
    "max_attempts": "max_attempts",
    "lease_seconds": "lease_seconds",
    "meta": "metas",
    "wake": "wakes",
}


def after(seconds: float) -> datetime:
    """The time that many seconds after the clock's start."""
    return START + timedelta(seconds=seconds)


def call(db: Db, function: str, /, **arguments: Any) -> list[DictRow]:
    """Call a function of the engine; its parameters are named without `p_`."""
    named = sql.SQL(", ").join(
        sql.SQL("{} => {}").format(sql.Identifier(f"p_{name}"), sql.Placeholder(name))
        for name in arguments
    )
    query = sql.SQL("select * from jobengine.{}({})").format(sql.Identifier(function), named)
    return db.execute(query, {name: _sent(value) for name, value in arguments.items()}).fetchall()


def _sent(value: Any) -> Any:
    if isinstance(value, dict):
        return Jsonb(value)
    if isinstance(value, list):
        return [_sent(element) for element in value]
    return value


@contextmanager
def second_session(db: Db) -> Iterator[Db]:
    """Another connection to the same database."""
    info = db.info
    with psycopg.connect(info.dsn, password=info.password, row_factory=dict_row) as conn:
        conn.autocommit = True
        yield conn


def everything(db: Db) -> list[str]:
    """Every row of every table of the engine."""
    tables = ["job_type", "job", "ready", "lease", "ended", "failure", "live_key", "waiting"]
    each = sql.SQL(" union all ").join(
        sql.SQL("select {} || to_jsonb(t)::text as row from jobengine.{} t").format(
            name, sql.Identifier(name)
        )
        for name in tables
    )
    return [row["row"] for row in db.execute(each + sql.SQL(" order by 1")).fetchall()]


def refused(db: Db, function: str, /, **arguments: Any) -> tuple[str, int | None]:
    """Call what has to be refused as JE002, nothing being written; return field and item."""
    before = everything(db)
    with pytest.raises(psycopg.Error) as caught:
        call(db, function, **arguments)
    assert caught.value.sqlstate == "JE002", caught.value
    assert everything(db) == before
    detail = json.loads(caught.value.diag.message_detail or "")
    assert caught.value.diag.message_primary == f"invalid {detail['field']}: {detail['rule']}"
    return detail["field"], detail["item"]


def ids(rows: Iterable[DictRow]) -> list[UUID]:
    return [row["job_id"] for row in rows]


@dataclass
class Engine:
    """A database with the job types `work` (at_least_once) and `trade` (at_most_once)."""

    db: Db
    clock: Clock

    def call(self, function: str, /, **arguments: Any) -> list[DictRow]:
        return call(self.db, function, **arguments)

    def register(self, job_type: str, **limits: Any) -> None:
        self.call("register_job_type", job_type=job_type, **limits)

    def enqueue(self, job_type: str = "work", **item: Any) -> UUID:
        """Put one job in and return its id."""
        return self.enqueue_many(1, job_type, **item)[0]

    def enqueue_many(self, count: int, job_type: str = "work", **item: Any) -> list[UUID]:
        """Put in equal jobs and return their ids."""
        arrays = {PLURAL[name]: [value] * count for name, value in item.items()}
        rows = self.call("enqueue", job_types=[job_type] * count, **arrays)
        assert {row["verdict"] for row in rows} == {"ok"}
        return ids(rows)

    def claim(self, limit: int = 1, **request: Any) -> list[DictRow]:
        """Claim with one request."""
        return self.claim_all({"limit": limit, **request})

    def claim_all(self, *requests: dict[str, Any]) -> list[DictRow]:
        """Claim with several requests, from queue `default` as agent `agent` by default."""
        defaults = {"queues": ["default"], "agent_id": "agent", "limit": 1}
        whole = [{**defaults, **request} for request in requests]
        return self.call("claim", requests=Jsonb(whole, dumps=partial(json.dumps, default=str)))

    def hold(self, job_type: str = "work", *, started: bool = True, **item: Any) -> DictRow:
        """Put a job in, take it and return its lease."""
        job_id = self.enqueue(job_type, **item)
        return self.take(job_id, started=started)

    def take(self, job_id: UUID, *, started: bool = True) -> DictRow:
        """Claim this job, which has to be the first one due in its queue."""
        job = self.job(job_id)
        two_phase = "never" if started else "always"
        leases = self.claim(queues=[job["queue"]], tenant_id=job["tenant_id"], two_phase=two_phase)
        assert ids(leases) == [job_id]
        return leases[0]

    def finish(self, lease: DictRow, outcome: str, **report: Any) -> tuple[str, str | None]:
        """Report on one lease; the report's values are named in the singular."""
        arrays = {f"{name}s": [value] for name, value in report.items()}
        [row] = self.call("finish", **named(lease), outcomes=[outcome], **arrays)
        assert (row["item"], row["job_id"]) == (1, lease["job_id"])
        return row["verdict"], row["status"]

    def verdict(self, function: str, lease: DictRow, **arguments: Any) -> str:
        """Call start, extend or release with one lease."""
        [row] = self.call(function, **named(lease), **arguments)
        assert (row["item"], row["job_id"]) == (1, lease["job_id"])
        answer: str = row["verdict"]
        return answer

    def cancel(self, *job_ids: UUID, **arguments: Any) -> list[tuple[str, str | None]]:
        """Cancel by id; the answers in the order of the ids given."""
        rows = self.call("cancel", job_ids=list(job_ids), **arguments)
        answers = {row["job_id"]: (row["verdict"], row["status"]) for row in rows}
        assert len(answers) == len(rows)
        return [answers[job_id] for job_id in job_ids]

    def retry(self, *job_ids: UUID, **arguments: Any) -> list[tuple[str, str | None]]:
        """Retry; the answers in the order of the ids given."""
        rows = self.call("retry", job_ids=list(job_ids), **arguments)
        answers = {row["job_id"]: (row["verdict"], row["status"]) for row in rows}
        assert len(answers) == len(rows)
        return [answers[job_id] for job_id in job_ids]

    def sweep(self, **arguments: Any) -> tuple[int, int, int, bool]:
        """Sweep: returned, ended, settled, more."""
        [row] = self.call("sweep", **arguments)
        return row["returned"], row["ended"], row["settled"], row["more"]

    def job(self, job_id: UUID) -> DictRow:
        """Return the job as the view shows it."""
        [row] = self.call("get", job_ids=[job_id])
        return row

    def status(self, job_id: UUID) -> str:
        status: str = self.job(job_id)["status"]
        return status

    def rows(self, table: str, job_id: UUID) -> list[DictRow]:
        """Return a job's rows of one table."""
        query = sql.SQL("select * from jobengine.{} where job_id = %s")
        return self.db.execute(query.format(sql.Identifier(table)), (job_id,)).fetchall()

    def size(self, table: str) -> int:
        """Return how many rows a table has."""
        query = sql.SQL("select count(*) as size from jobengine.{}")
        [row] = self.db.execute(query.format(sql.Identifier(table))).fetchall()
        size: int = row["size"]
        return size


def named(*leases: DictRow) -> dict[str, Sequence[Any]]:
    """Name leases as start, extend, finish and release want them."""
    return {
        "job_ids": [lease["job_id"] for lease in leases],
        "lease_epochs": [lease["lease_epoch"] for lease in leases],
    }
