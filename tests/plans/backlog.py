"""Large tables, written directly: so many jobs that wait, are held and have ended.

The n-th job of a kind is known by its id. Half of them are one tenant's, 1,000 others share the
rest; there are three queues and ten priorities. What waits in the third queue is not due yet. Half
of the leases have run out and half have begun; ten leases are of one request. One waiting job in a
thousand (of the small tenants) has expired. Of five ended jobs one has failed and one is unknown;
one in fifty is to be settled again.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.rows import DictRow

from tests.conftest import TABLES

BIG = UUID(int=0)
QUEUES = ["q0", "q1", "q2"]
READY, LEASE, ENDED = 1, 2, 3
LEASES_AT_MOST = 20_000

_SETTLE = """
create schema host;
grant usage on schema host to jobengine_owner;
create function host.settle(p_jobs jobengine.settled_job[]) returns void
language sql security definer set search_path = host, pg_temp
as $$ select $$;
revoke execute on function host.settle from public;
grant execute on function host.settle to jobengine_owner;
"""
_ID = "('01900000-000' || %(kind)s || '-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid"
_TENANT = """('00000000-0000-0000-0000-' || lpad(
    case when n %% 2 = 0 then 0 else n %% 2000 end::text, 12, '0'))::uuid"""

_JOBS = """
insert into jobengine.job (
    job_id, tenant_id, queue, job_type, priority, input, meta, max_attempts, lease_seconds,
    delivery, dedup_key, live_key, wake, created_at)
select {id}, {tenant}, 'q' || n %% 3, 'work', n %% 10, '{{}}', '{{}}', 5, 60, 'at_least_once',
       case when %(kind)s = 3 then 'dedup ' || n end, case when %(kind)s = 2 then 'live ' || n end,
       false, now()
from generate_series(%(first)s::integer, %(last)s) n
"""
_READY = """
insert into jobengine.ready (
    job_id, tenant_id, queue, priority, run_at, attempt, lease_epoch, lost, expires_at)
select {id}, {tenant}, 'q' || n %% 3, n %% 10,
       now() + n * interval '1 ms' + (n %% 3 / 2 * 2 - 1) * interval '1 day', 0, 0, 0,
       case when n %% 1000 = 999 then now() - interval '1 hour' end
from generate_series(%(first)s::integer, %(last)s) n
"""
_LEASE = """
insert into jobengine.lease (
    job_id, tenant_id, queue, priority, job_type, delivery, max_attempts, wake, live_key,
    lease_epoch, attempt, lost, agent_id, claimed_at, started_at, lease_expires_at, request_id)
select {id}, {tenant}, 'q' || n %% 3, n %% 10, 'work', 'at_least_once', 5, false, 'live ' || n,
       1, 1, 0, 'agent ' || n / 10, now(), case when n %% 4 < 2 then now() end,
       now() + n * interval '1 ms' + (n / 10 %% 2 * 2 - 1) * interval '1 hour',
       ('00000000-0000-0000-0000-' || lpad((n / 10)::text, 12, '0'))::uuid
from generate_series(%(first)s::integer, %(last)s) n
"""
_LIVE_KEY = """
insert into jobengine.live_key (tenant_id, live_key, job_id)
select {tenant}, 'live ' || n, {id} from generate_series(%(first)s::integer, %(last)s) n
"""
_ENDED = """
insert into jobengine.ended (
    job_id, tenant_id, status, attempt, lease_epoch, agent_id, claimed_at, started_at, finished_at,
    settle_error, settle_tries, settle_at)
select {id}, {tenant},
       case n %% 5 when 0 then 'failed' when 1 then 'unknown' else 'completed' end, 1, 1, 'agent',
       now(), now(), now() - interval '1 day',
       case when n %% 50 = 3 then 'broken' end, (n %% 50 = 3)::integer,
       case when n %% 50 = 3 then now() - interval '1 minute' end
from generate_series(%(first)s::integer, %(last)s) n
"""
_FAILURE = """
insert into jobengine.failure (job_id, lease_epoch, attempt, reported_by, failed_at)
select {id}, 1, 1, 'holder', now() from generate_series(%(first)s::integer, %(last)s) n
where n %% 5 = 0
"""


class Backlog:
    """The tables of a database, which grow and are analyzed only when a test says so."""

    def __init__(self, conn: psycopg.Connection[DictRow]) -> None:
        self._conn = conn
        self.size = 0
        conn.execute(_SETTLE.encode())
        conn.execute("select jobengine.register_job_type('work', p_settle => 'host.settle')")
        conn.execute("set role jobengine_owner")
        for table in TABLES.split(", "):
            conn.execute(
                sql.SQL("alter table jobengine.{} set (autovacuum_enabled = off)").format(
                    sql.Identifier(table)
                )
            )

    def grow(self, size: int) -> None:
        """Let there be `size` jobs that wait, as many that have ended, and some that are held."""
        first, last = self.size + 1, size
        self._write(READY, first, last, _JOBS, _READY)
        self._write(ENDED, first, last, _JOBS, _ENDED, _FAILURE)
        self._write(LEASE, first, min(last, LEASES_AT_MOST), _JOBS, _LEASE, _LIVE_KEY)
        self.size = size

    def analyze(self) -> None:
        self._conn.execute("analyze")

    def _write(self, kind: int, first: int, last: int, *statements: str) -> None:
        for statement in statements:
            text = statement.format(id=_ID, tenant=_TENANT).encode()
            self._conn.execute(text, {"kind": kind, "first": first, "last": last})


def tenant(number: int) -> UUID:
    """Return the tenant of the n-th job of each kind."""
    return BIG if number % 2 == 0 else UUID(f"00000000-0000-0000-0000-{number % 2000:012d}")


def ids(kind: int, numbers: Iterable[int]) -> list[UUID]:
    return [UUID(f"01900000-000{kind}-7000-8000-{n:012x}") for n in numbers]
