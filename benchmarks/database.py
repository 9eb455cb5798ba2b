"""A database with the engine and known jobs in it, and what the server spends on them."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from benchmarks.cpu import tree_cpu
from benchmarks.report import Column
from benchmarks.server import Server
from jobengine import JobEngine

JOB_TYPE = "noop"
PAYLOAD_BYTES = 100
PAD = "x" * (PAYLOAD_BYTES - 24)
RESULT = '{"ok": true}'

_TABLES = "job, ready, lease, ended, failure, live_key, waiting"
_ENQUEUE_AT_ONCE = 10_000
# {"n": 100001, "pad": "xx…"}: as long in every job.
_PAYLOAD = f"""jsonb_build_object('n', 100000 + g, 'pad', repeat('x', {len(PAD)}))"""
_QUIET_SECONDS = 30.0


@dataclass(slots=True)
class Usage:
    """What the server spent on a measurement; `cpu_seconds` is None where it is not our server.

    `dead` are the rows that were left behind for VACUUM, in the tables of the engine and of its
    users: those deleted and the old versions of those updated, whether it has come by or not.
    """

    wal_bytes: float = 0.0
    commits: float = 0.0
    dead: float = 0.0
    cpu_seconds: float | None = None

    def per_job(self, jobs: int) -> dict[str, float | None]:
        """Return the figures of `USAGE_COLUMNS`."""
        cpu = self.cpu_seconds
        return {
            "wal_bytes_per_job": self.wal_bytes / jobs,
            "commits_per_job": self.commits / jobs,
            "dead_per_job": self.dead / jobs,
            "server_cpu_us_per_job": None if cpu is None else cpu / jobs * 1e6,
        }


USAGE_COLUMNS = (
    Column("wal_bytes_per_job", "WAL bytes/job"),
    Column("commits_per_job", "commits/job", digits=4),
    Column("dead_per_job", "dead tuples/job", digits=2),
    Column("server_cpu_us_per_job", "server CPU µs/job", digits=1),
)


@dataclass(frozen=True, slots=True)
class Database:
    """`url` for the application, `admin_url` for a superuser in the same database."""

    server: Server
    name: str
    url: str
    admin_url: str

    def prepare(self, jobs: int) -> None:
        """Leave exactly `jobs` waiting jobs, no history, no garbage, and nothing to write out."""
        with psycopg.connect(self.admin_url, autocommit=True) as admin:
            tables = ", ".join(f"jobengine.{table}" for table in _TABLES.split(", "))
            admin.execute(f"truncate {tables}".encode())
            for begin in range(0, jobs, _ENQUEUE_AT_ONCE):
                admin.execute(
                    "select count(*) from jobengine.enqueue("
                    "    array_fill(%(job_type)s::text, array[%(count)s::integer]),"
                    f"   array(select {_PAYLOAD} from generate_series(1, %(count)s::integer) g))",
                    {"job_type": JOB_TYPE, "count": min(_ENQUEUE_AT_ONCE, jobs - begin)},
                )
            admin.execute("vacuum (analyze)")
            admin.execute("checkpoint")

    def check(self, *, ended: int, left: int) -> None:
        """Refuse a measurement that did not complete so many jobs with their results."""
        with psycopg.connect(self.admin_url, autocommit=True) as admin:
            found = admin.execute(
                "select (select count(*) from jobengine.ended"
                f"       where status = 'completed' and output = '{RESULT}'),"
                " (select count(*) from jobengine.ended), (select count(*) from jobengine.lease),"
                " (select count(*) from jobengine.ready)"
            ).fetchone()
        if found != (ended, ended, 0, left):
            raise AssertionError(
                f"expected {ended} jobs with results, none held, {left} waiting; found (with "
                f"result, ended, held, waiting): {found}"
            )

    def ended(self) -> int:
        """Return how many jobs have ended; refuse a job that is nowhere, or in two places."""
        with psycopg.connect(self.admin_url, autocommit=True) as admin:
            row = admin.execute(
                "select (select count(*) from jobengine.ended),"
                " (select count(*) from jobengine.lease) + (select count(*) from jobengine.ready),"
                " (select count(*) from jobengine.job)"
            ).fetchone()
        assert row is not None
        ended, others, jobs = row
        if ended + others != jobs:
            raise AssertionError(f"of {jobs} jobs {ended} have ended and {others} have not")
        return int(ended)

    @contextmanager
    def measure(self) -> Iterator[Usage]:
        """Yield what is filled in when the block has ended and its connections are gone.

        Whatever else the server does meanwhile (autovacuum) is counted too.
        """
        usage = Usage()
        with psycopg.connect(self.server.admin_url, autocommit=True) as admin:
            self._quiet(admin)
            dead = self._dead()
            self._quiet(admin)
            wal, commits = self._counters(admin)
            cpu = tree_cpu(self.server.pid)
            yield usage
            self._quiet(admin)
            wal_after, commits_after = self._counters(admin)
            cpu_after = tree_cpu(self.server.pid)
            usage.dead = self._dead() - dead
        usage.wal_bytes = wal_after - wal
        usage.commits = commits_after - commits
        usage.cpu_seconds = None if cpu is None or cpu_after is None else cpu_after - cpu

    def _quiet(self, admin: psycopg.Connection[Any]) -> None:
        """Wait until nobody is connected: a session that ends has written its statistics."""
        deadline = time.monotonic() + _QUIET_SECONDS
        while admin.execute(
            "select 1 from pg_stat_activity where datname = %s and backend_type = 'client backend'",
            [self.name],
        ).fetchone():
            if time.monotonic() > deadline:
                raise TimeoutError(f"somebody stays connected to {self.name}")
            time.sleep(0.01)

    def _dead(self) -> float:
        # Not n_dead_tup, which autovacuum sets back.
        with psycopg.connect(self.admin_url, autocommit=True) as admin:
            row = admin.execute(
                "select coalesce(sum(n_tup_del + n_tup_upd), 0)::float8 from pg_stat_user_tables"
            ).fetchone()
        assert row is not None
        return float(row[0])

    def _counters(self, admin: psycopg.Connection[Any]) -> tuple[float, float]:
        row = admin.execute(
            "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8,"
            " xact_commit::float8 from pg_stat_database where datname = %s",
            [self.name],
        ).fetchone()
        assert row is not None
        return row[0], row[1]


@contextmanager
def database(server: Server) -> Iterator[Database]:
    """Yield a new database with the engine installed; drop it at the end."""
    name = f"jobengine_bench_{secrets.token_hex(4)}"
    owner = conninfo_to_dict(server.url).get("user")
    url = make_conninfo(server.url, dbname=name)
    with psycopg.connect(server.admin_url, autocommit=True) as admin:
        admin.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        try:
            if owner:
                admin.execute(
                    sql.SQL("alter database {} owner to {}").format(
                        sql.Identifier(name), sql.Identifier(str(owner))
                    )
                )
            asyncio.run(_install(url))
            yield Database(server, name, url, make_conninfo(server.admin_url, dbname=name))
        finally:
            admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


async def _install(url: str) -> None:
    async with JobEngine(url) as engine:
        await engine.install()
        await engine.register_job_type(JOB_TYPE)
