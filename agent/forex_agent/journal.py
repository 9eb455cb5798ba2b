"""What the agent must still know after it was killed, or the power failed: an SQLite file.

An order goes received → intent → sent → outcome → acknowledged, under its job and lease epoch.
Every step survives the death of the process. The power may fail as well: `sent` is on the disk
before the terminal is called, and so is a refusal before it is reported, as the broker keeps no
record of one. What else the last moments held is found again at the broker or at the service.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from forex_agent.clock import utc_now
from forex_agent.job import Job, Report, load_report, read_job, read_time, show_time

_SCHEMA = """
create table if not exists work (
    job_id text not null,
    lease_epoch integer not null,
    job text not null,              -- what the service handed out
    received_at text not null,
    intent_at text,
    outcome text,
    final integer,                  -- 0: reported as unknown, and looked for
    outcome_at text,
    acked_at text,
    answer integer,                 -- the HTTP status that ended it
    primary key (job_id, lease_epoch)
) without rowid;
-- An order is sent once, under whichever lease: the key refuses a second time.
create table if not exists sent (
    job_id text primary key, lease_epoch integer not null, sent_at text not null
) without rowid;
create table if not exists deal (
    deal_id text primary key, body text not null, time text not null, acked_at text
) without rowid;
create table if not exists fact (name text primary key, value text not null) without rowid;
create index if not exists work_open on work (received_at) where acked_at is null or final = 0;
create index if not exists deal_spool on deal (time, deal_id) where acked_at is null;
"""
KEEP_DAYS = 30  # how long ended work is kept, for whoever wants to know


class AlreadySent(Exception):
    """The order was sent before: it must never be again."""


class Broken(Exception):
    """The journal cannot be read or written: the disk is full, or the file is damaged or gone."""


class InUse(Exception):
    """Another agent has this state folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An order or other work, and how far it came."""

    job: Job
    received_at: datetime
    sent_at: datetime | None
    report: Report | None
    acked: bool


class Journal:
    """One agent's memory; for any number of threads."""

    def __init__(self, path: Path) -> None:
        """Open or make the file; raises `InUse` while another process has it, `Broken`, OSError."""
        self._lock = threading.RLock()
        path.touch(mode=0o600)  # jobs may hold signed URLs: they are nobody else's business
        self._path, self._number = path, path.stat().st_ino
        self._db = sqlite3.connect(path, timeout=1, isolation_level=None, check_same_thread=False)
        try:
            # The lock is held until the end: two agents in one folder would not see each other.
            self._db.execute("pragma locking_mode = exclusive")
            self._db.execute("pragma journal_mode = wal")
            self._db.executescript(_SCHEMA)
            self._db.execute("pragma synchronous = normal")
        except sqlite3.DatabaseError as error:
            self._db.close()
            if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                raise InUse(f"{path}: {error}; is another agent running there?") from error
            raise Broken(f"{path}: {error}; if it cannot be repaired, move it away") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._db.close()

    # The question for a job

    def asked(self) -> str | None:
        """Return the id of the question whose answer was never read."""
        return self.fact("asked")

    def ask(self, request_id: str) -> None:
        """Remember the question before it is asked."""
        self.remember("asked", request_id)

    # An order's steps

    def received(self, *jobs: Job) -> None:
        """Note jobs that came, and that the question is answered; a known one stays as it is."""
        with self._change() as db:
            db.execute("delete from fact where name = 'asked'")
            db.executemany(
                "insert into work (job_id, lease_epoch, job, received_at) values (?, ?, ?, ?)"
                " on conflict do nothing",
                [(job.job_id, job.lease_epoch, job.raw, _now()) for job in jobs],
            )

    def intent(self, job: Job) -> None:
        """Note that the order is about to be sent; nothing has reached the terminal yet."""
        self._mark(job, "intent_at = ?", _now())

    def sent(self, job: Job) -> None:
        """Note, on the disk, that the order is being sent now; raises `AlreadySent`."""
        self._check_there()
        with self._change(durable=True) as db:
            try:
                db.execute(
                    "insert into sent (job_id, lease_epoch, sent_at) values (?, ?, ?)",
                    (job.job_id, job.lease_epoch, _now()),
                )
            except sqlite3.IntegrityError as error:
                raise AlreadySent(f"job {job.job_id} was sent before") from error

    def _check_there(self) -> None:
        """Raise `Broken` where the file was removed or replaced: nobody would find the note."""
        try:
            there = self._path.stat().st_ino == self._number
        except OSError:
            there = False
        if not there:
            raise Broken(f"{self._path} is gone: start the agent again")

    def outcome(self, job: Job, report: Report) -> None:
        """Note what came of it, to be reported until that is acknowledged."""
        marks = "outcome = ?, final = ?, outcome_at = ?, acked_at = null"
        refused = report.final and report.status == "failed"
        self._mark(job, marks, report.dump(), int(report.final), _now(), durable=refused)

    def acked(self, job: Job, answer: int) -> None:
        """Note that the report was heard, or that the service wants none (`answer`: 404, 409)."""
        self._mark(job, "acked_at = ?, answer = ?", _now(), answer)

    def dropped(self, job: Job, answer: int) -> None:
        """Note that the job is not ours any more, and that nothing was done."""
        self._mark(job, "acked_at = ?, answer = ?, final = 1", _now(), answer)

    def gave_up(self, job: Job) -> None:
        """Look no longer for an order that was reported unknown."""
        self._mark(job, "final = 1")

    # What is on record

    def open_work(self) -> Sequence[Entry]:
        """Return the work that is not reported, or whose outcome is not known, oldest first."""
        return self._entries("w.acked_at is null or w.final = 0")

    def sent_entry(self, job_id: str) -> Entry | None:
        """Return the work under whose lease this job's order was sent."""
        found = self._entries("w.job_id = ? and s.lease_epoch = w.lease_epoch", job_id)
        return found[0] if found else None

    def entry(self, job: Job) -> Entry | None:
        """Return what is known of this job under this lease."""
        found = self._entries("w.job_id = ? and w.lease_epoch = ?", job.job_id, job.lease_epoch)
        return found[0] if found else None

    def _entries(self, condition: str, *values: object) -> Sequence[Entry]:
        query = (
            "select w.job, w.received_at, s.sent_at, w.outcome, w.acked_at from work w"  # noqa: S608
            " left join sent s on s.job_id = w.job_id"
            f" where {condition} order by w.received_at, w.job_id"
        )
        return [_entry(*row) for row in self._ask(query, *values)]

    # Deals

    def spool(self, deals: Iterable[tuple[str, str, datetime]]) -> int:
        """Keep deals (id, JSON, time) until they are acknowledged; returns how many are new."""
        rows = [(deal_id, body, show_time(at)) for deal_id, body, at in deals]
        with self._change() as db:
            before = db.total_changes
            db.executemany(
                "insert into deal (deal_id, body, time) values (?, ?, ?) on conflict do nothing",
                rows,
            )
            return db.total_changes - before

    def spooled(self, limit: int) -> Sequence[tuple[str, str]]:
        """Return the oldest deals (id, JSON) that nobody has acknowledged."""
        return self._ask(
            "select deal_id, body from deal where acked_at is null order by time, deal_id limit ?",
            limit,
        )

    def deals_acked(self, deal_ids: Iterable[str]) -> None:
        """Note that the service has these deals."""
        now = _now()
        with self._change() as db:
            db.executemany(
                "update deal set acked_at = ? where deal_id = ?",
                [(now, deal_id) for deal_id in deal_ids],
            )

    def newest_deal(self) -> datetime | None:
        """Return the time of the newest deal that was ever seen."""
        ((newest,),) = self._ask("select max(time) from deal")
        return None if newest is None else read_time(newest)

    # The rest

    def fact(self, name: str) -> str | None:
        """Return what was remembered under this name."""
        found = self._ask("select value from fact where name = ?", name)
        return str(found[0][0]) if found else None

    def remember(self, name: str, value: str) -> None:
        """Remember a value, in place of what was there."""
        with self._change() as db:
            db.execute(
                "insert into fact (name, value) values (?, ?)"
                " on conflict (name) do update set value = excluded.value",
                (name, value),
            )

    def forget(self, before: datetime) -> None:
        """Forget ended work and acknowledged deals of earlier; what was sent is never forgotten."""
        with self._change() as db:
            limit = show_time(before)
            db.execute("delete from work where acked_at < ? and final = 1", (limit,))
            db.execute(
                "delete from deal where acked_at < ? and time < ?"
                " and time < (select max(time) from deal)",
                (limit, limit),
            )

    def _mark(self, job: Job, marks: str, *values: object, durable: bool = False) -> None:
        with self._change(durable=durable) as db:
            db.execute(
                f"update work set {marks} where job_id = ? and lease_epoch = ?",  # noqa: S608
                (*values, job.job_id, job.lease_epoch),
            )

    def _ask(self, query: str, *values: object) -> list[Any]:
        with self._lock, _told():
            return self._db.execute(query, values).fetchall()

    @contextmanager
    def _change(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """One transaction; `durable` waits for the disk, and so for all before it."""
        with self._lock, _told():
            if durable:
                self._db.execute("pragma synchronous = full")
            try:
                self._db.execute("begin immediate")
                yield self._db
                self._db.execute("commit")
            finally:
                # A commit that fails, as of a full disk, leaves the transaction open.
                if self._db.in_transaction:
                    self._db.execute("rollback")
                if durable:
                    self._db.execute("pragma synchronous = normal")


@contextmanager
def _told() -> Iterator[None]:
    """Turn the errors of SQLite into `Broken`."""
    try:
        yield
    except sqlite3.Error as error:
        raise Broken(f"the journal cannot be used: {error}") from error


def _entry(
    job: str, received_at: str, sent_at: str | None, outcome: str | None, acked_at: str | None
) -> Entry:
    return Entry(
        job=read_job(job),
        received_at=read_time(received_at),
        sent_at=None if sent_at is None else read_time(sent_at),
        report=None if outcome is None else load_report(outcome),
        acked=acked_at is not None,
    )


def _now() -> str:
    return show_time(utc_now())
