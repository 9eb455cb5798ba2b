"""Each fault of a server, of the way to it, or of its jobs, made for real, is found and mended."""

from __future__ import annotations

import asyncio
import re
import secrets
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import pq, sql
from psycopg.conninfo import make_conninfo

from jobengine import InvalidSettleFunction, JobEngine
from jobengine.doctor import CODES, Finding, Limits, examination, patient, server
from jobengine.embedded import EmbeddedPostgres
from tests.acceptance.clinic import codes, findings, follow, hospital
from tests.acceptance.transaction_pooler import pooled
from tests.acceptance.world import Db, as_owner, scalar
from tests.faults.embedded_owner import execute, fetch, wait_until

SETTLE = """
create or replace function public.settle_it(p_jobs jobengine.settled_job[]) returns void
language plpgsql security definer set search_path = public, pg_temp
as $$ begin {} end $$;
revoke execute on function public.settle_it from public;
grant execute on function public.settle_it to jobengine_owner;
"""


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A server whose settings a test may change."""
    settings = {
        "max_prepared_transactions": "2",
        "max_connections": "20",
        "max_notify_queue_pages": "64",
    }
    with hospital(tmp_path_factory.mktemp("clinic"), **settings) as server:
        yield server


@pytest.fixture
def url(db: Db, database_url: str) -> str:
    """The module's database, emptied, with a job type."""
    db.execute("drop function if exists public.settle_it")
    db.execute("select jobengine.register_job_type('work')")
    return database_url


def only(url: str, code: str, **arguments: Any) -> Finding:
    """The one finding that there is."""
    found = findings(url, **arguments)
    assert [finding.code for finding in found] == [code], found
    return found[0]


def enqueue(db: Db, count: int = 1, job_type: str = "work") -> None:
    db.execute(
        "select from jobengine.enqueue(array_fill(%s::text, array[%s]), null)", (job_type, count)
    )


def end(db: Db) -> None:
    """Claim and complete a job."""
    claim(db)
    db.execute(
        "select from jobengine.finish(array(select job_id from jobengine.lease),"
        " array(select lease_epoch from jobengine.lease), array['completed'])"
    )


def claim(db: Db) -> None:
    claim = '[{"queues": ["default"], "agent_id": "anna", "limit": 1}]'
    db.execute("select from jobengine.claim(%s::text::jsonb)", (claim,))


# the server


def test_an_old_server_is_too_old(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MINIMUM_SERVER", 990000)
    assert "PostgreSQL" in only(url, "server_too_old").seen


@pytest.mark.parametrize(
    "setting, code",
    [
        ("fsync", "fsync_off"),
        ("full_page_writes", "full_page_writes_off"),
        ("synchronous_commit", "synchronous_commit_off"),
        ("autovacuum", "autovacuum_off"),
        ("track_counts", "autovacuum_off"),
    ],
)
def test_a_setting_that_is_off_is_found_and_put_on(
    own_server: EmbeddedPostgres, tmp_path: Path, setting: str, code: str
) -> None:
    def is_(value: str) -> bool:
        return bool(fetch(own_server.url, f"show {setting}") == value)

    admin = make_conninfo(own_server.admin_url, dbname="jobengine")
    execute(admin, f"alter system set {setting} = off")
    execute(admin, "select pg_reload_conf()")
    wait_until(lambda: is_("off"))
    (found,) = [f for f in _all(own_server.url) if f.severity != "note"]
    assert (found.code, setting in found.seen) == (code, True)
    follow(found, admin, tmp_path)
    wait_until(lambda: is_("on"))
    assert _all(own_server.url) == []


def _all(url: str) -> list[Finding]:
    return list(asyncio.run(examination(url)).findings)


@pytest.mark.parametrize("what", ["database {db}", "role {role}", "role {role} in database {db}"])
def test_commits_that_do_not_wait_are_found_where_it_was_said(
    own_server: EmbeddedPostgres, tmp_path: Path, what: str
) -> None:
    admin = make_conninfo(own_server.admin_url, dbname="jobengine")
    execute(
        admin, f"alter {what.format(db='jobengine', role='jobengine')} set synchronous_commit = off"
    )
    (found,) = _all(own_server.url)
    assert found.code == "synchronous_commit_off"
    follow(found, admin, tmp_path)
    assert _all(own_server.url) == []


def test_few_connections_that_are_left_are_found(own_server: EmbeddedPostgres) -> None:
    with ExitStack() as stack:
        for _ in range(13):
            stack.enter_context(psycopg.connect(own_server.url))
        assert "connections are open" in only(own_server.url, "connections_full").seen
    wait_until(lambda: codes(own_server.url) == [])


def test_a_prepared_transaction_that_is_forgotten_is_found(
    own_server: EmbeddedPostgres, tmp_path: Path
) -> None:
    url = own_server.url
    execute(url, "create table public.mine (n integer)")
    execute(url, "begin; insert into public.mine values (1); prepare transaction 'lost'")
    found = only(url, "horizon_held", limits=Limits(hold=0.001))
    assert found.seen.startswith("prepared transaction lost, of jobengine, prepared, for ")
    follow(found, url, tmp_path)
    assert codes(url) == []


@contextmanager
def standby(url: str, slot: str = "") -> Iterator[None]:
    """What a standby with hot_standby_feedback says: the oldest transaction that it needs."""
    replication = make_conninfo(url, replication="true", application_name="standby")
    conn = pq.PGconn.connect(replication.encode())
    try:
        began = conn.exec_(f"START_REPLICATION {slot} 0/{fetch(url, _LSN)}".encode())
        assert began.status == pq.ExecStatus.COPY_BOTH, conn.error_message
        oldest = int(fetch(url, "select pg_current_xact_id()::text")) % 2**32
        conn.put_copy_data(struct.pack("!cqIIII", b"h", 0, oldest, 0, 0, 0))
        conn.flush()
        yield
    finally:
        conn.finish()


_LSN = "select split_part(pg_current_wal_lsn()::text, '/', 2)"


def test_a_standby_that_needs_old_rows_is_found(own_server: EmbeddedPostgres) -> None:
    admin = make_conninfo(own_server.admin_url, dbname="jobengine")
    limits = Limits(slot_transactions=3)
    with standby(admin):
        wait_until(lambda: fetch(admin, _FEEDBACK))
        for _ in range(3):
            execute(admin, "select pg_current_xact_id()")
        held = [f for f in findings(admin, limits=limits) if f.code == "horizon_held"]
        assert [f.seen.startswith("standby ") for f in held] == [True], held
        assert "hot_standby_feedback" in held[0].remedy
    wait_until(lambda: codes(own_server.url) == [])


_FEEDBACK = "select count(*) from pg_stat_replication where backend_xmin is not null"


def test_a_slot_whose_consumer_is_gone_is_found(
    own_server: EmbeddedPostgres, tmp_path: Path
) -> None:
    admin = make_conninfo(own_server.admin_url, dbname="jobengine")
    limits = Limits(slot_transactions=3)
    execute(admin, "select pg_create_physical_replication_slot('gone', true)")
    with standby(admin, "SLOT gone PHYSICAL"):
        wait_until(lambda: fetch(admin, "select count(xmin) from pg_replication_slots"))
    wait_until(lambda: fetch(admin, "select not active from pg_replication_slots"))
    for _ in range(3):
        execute(admin, "select pg_current_xact_id()")
    found = only(own_server.url, "horizon_held", limits=limits)
    assert found.seen.startswith("replication slot gone, inactive, ")
    follow(found, admin, tmp_path)
    assert codes(own_server.url, limits=limits) == []


def test_a_notification_queue_that_fills_is_found(own_server: EmbeddedPostgres) -> None:
    with psycopg.connect(own_server.url) as deaf:
        deaf.execute("listen mine")
        deaf.commit()
        deaf.execute("select 1")
        # 64 pages of 8 kB; a notification takes what its payload has.
        execute(
            own_server.url,
            "select pg_notify('mine', n || repeat('x', 7000)) from generate_series(1, 12) n",
        )
        assert "% full" in only(own_server.url, "notification_queue").seen


def test_dead_rows_are_found_and_vacuumed(url: str, db: Db, tmp_path: Path) -> None:
    enqueue(db, 300)
    db.execute("select from jobengine.cancel(array(select job_id from jobengine.ready))")
    db.execute("select pg_stat_force_next_flush()")
    limits = Limits(dead_rows=200)
    wait_until(lambda: codes(url, limits=limits) == ["dead_rows"])
    found = only(url, "dead_rows", limits=limits)
    assert "jobengine.ready: 300 dead rows beside 0 living" in found.seen
    follow(found, url, tmp_path)
    wait_until(lambda: codes(url, limits=limits) == [])


# the way to it


def test_a_pooler_in_transaction_mode_is_found(own_server: EmbeddedPostgres) -> None:
    with pooled(own_server.url) as url:
        found = {finding.code: finding for finding in findings(url)}
    assert found.keys() == {"transaction_pooler", "notification_lost"}
    assert "served by process" in found["transaction_pooler"].seen
    assert "session" in found["transaction_pooler"].remedy


@pytest.mark.parametrize("offset, side", [(5.0, "ahead of"), (-5.0, "behind")])
def test_a_clock_that_differs_is_found(url: str, offset: float, side: str) -> None:
    found = only(url, "clock_offset", clock=lambda: time.time() + offset)
    seen = re.fullmatch(rf"this machine is ([0-9.]+) s {side} the server", found.seen)
    assert seen
    assert 3 < float(seen[1]) < 7, "the rest is how long the machine took to look"


def test_a_superuser_is_found(admin_url: str, url: str) -> None:
    name = fetch(url, "select current_database()")
    admin = make_conninfo(admin_url, dbname=name)
    assert "sees every tenant's rows" in only(admin, "superuser").seen


@contextmanager
def stranger(admin_url: str, url: str) -> Iterator[str]:
    """A role that may do nothing; yields its URL."""
    name = f"stranger_{secrets.token_hex(4)}"
    with psycopg.connect(admin_url, autocommit=True) as admin:
        role = sql.Identifier(name)
        admin.execute(sql.SQL("create role {} login password {}").format(role, name))
        try:
            yield make_conninfo(url, user=name, password=name)
        finally:
            admin.execute(sql.SQL("drop role {}").format(role))


def test_a_role_that_may_do_nothing_is_found_and_told_what_was_not_checked(
    admin_url: str, url: str
) -> None:
    with stranger(admin_url, url) as strange, psycopg.connect(url) as conn:
        conn.execute("select pg_current_xact_id()")
        found = findings(strange)
    notes = [finding.seen for finding in found if finding.code == "not_checked"]
    assert [f.code for f in found if f.code != "not_checked"] == ["no_engine_role"]
    skipped = " ".join(notes)
    for check in ("listener", "settle", "unsettled", "parent_gone", "unknown", "leases", "queues"):
        assert check in skipped, check
    assert "horizon: 1 session of other roles with a snapshot, since when" in skipped


@pytest.mark.parametrize(
    "role, skipped",
    [
        ("jobengine_owner", set()),
        ("jobengine_operator", {"listener"}),
        ("jobengine_client", {"listener", "settle", "unsettled", "leases", "queues"}),
        ("jobengine_worker", {"listener", "settle", "unsettled", "leases", "queues"}),
    ],
)
def test_each_role_sees_what_it_may_and_is_told_the_rest(
    url: str, role: str, skipped: set[str]
) -> None:
    found = findings(make_conninfo(url, options=f"-c role={role}"))
    assert {finding.code for finding in found} <= {"not_checked"}
    seen = " ".join(finding.seen for finding in found)
    assert [check for check in skipped if check not in seen] == []
    assert bool(found) or not skipped


def test_what_is_locked_is_told_not_waited_for(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patient, "STATEMENT_SECONDS", 0.5)
    with psycopg.connect(url) as conn:
        conn.execute("lock table jobengine.ended in access exclusive mode")
        note = only(url, "not_checked")
    checks, _, why = note.seen.partition(": ")
    assert why.startswith("the query took")
    assert {*checks.split(", ")} >= {"schema", "unsettled", "parent_gone", "unknown", "queues"}
    assert codes(url) == []


# the jobs


def test_processes_that_died_asleep_are_found(url: str, db: Db, tmp_path: Path) -> None:
    as_owner(
        db,
        "insert into jobengine.waiting values (gen_random_uuid(), 'default', null,"
        " clock_timestamp() - interval '5 min')",
    )
    follow(only(url, "stale_sleepers"), url, tmp_path)
    assert codes(url) == []


SETTLE_FAULTS = {
    "dropped": "drop function public.settle_it",
    "invoker": "alter function public.settle_it security invoker",
    "search path": "alter function public.settle_it reset search_path",
    "for everybody": "grant execute on function public.settle_it to public",
    "not for the owner": "revoke execute on function public.settle_it from jobengine_owner",
}


@pytest.mark.parametrize("fault", SETTLE_FAULTS.values(), ids=SETTLE_FAULTS.keys())
def test_a_settle_function_that_would_be_refused_is_found(
    url: str, db: Db, tmp_path: Path, fault: str
) -> None:
    db.execute(SETTLE.format("null;").encode())
    asyncio.run(register(url))
    assert codes(url) == []
    db.execute(fault.encode())
    with pytest.raises(InvalidSettleFunction):
        asyncio.run(register(url))
    found = only(url, "settle_invalid")
    assert found.seen == "public.settle_it of job type work"
    if fault.startswith("drop"):
        db.execute(SETTLE.format("null;").encode())
    follow(found, url, tmp_path)
    assert codes(url) == []
    asyncio.run(register(url))


async def register(url: str) -> None:
    async with JobEngine(url) as engine:
        await engine.register_job_type("work", settle="public.settle_it")


def test_unsettled_jobs_are_found_and_settled(url: str, db: Db, tmp_path: Path) -> None:
    db.execute(SETTLE.format("raise 'no such folder';").encode())
    asyncio.run(register(url))
    enqueue(db, 2)
    end(db)
    end(db)
    found = only(url, "unsettled")
    assert re.match(r"2 jobs, the oldest for \d+ s; most often: ", found.seen)
    assert "no such folder" in found.seen
    db.execute(SETTLE.format("null;").encode())
    as_owner(db, "update jobengine.ended set settle_at = clock_timestamp()")
    follow(found, url, tmp_path)
    assert codes(url) == []


def test_jobs_whose_parents_were_gone_are_found(url: str, db: Db) -> None:
    db.execute(SETTLE.format("raise using errcode = 'JE010', message = 'gone';").encode())
    asyncio.run(register(url))
    enqueue(db)
    end(db)
    seen = only(url, "parent_gone").seen
    assert re.fullmatch(r"1 job, the oldest for \d+ s: 1 work", seen)


def test_unknown_jobs_are_found(url: str, db: Db) -> None:
    db.execute("select jobengine.register_job_type('careful', p_delivery => 'at_most_once')")
    enqueue(db, 2, "careful")
    for _ in range(2):
        claim(db)
    as_owner(db, "update jobengine.lease set lease_expires_at = now() - interval '1 h'")
    db.execute("select from jobengine.sweep()")
    found = only(url, "unknown")
    assert re.fullmatch(r"2 jobs, the oldest for \d+ s: 2 careful", found.seen)
    job_id = scalar(db, "select min(job_id::text) from jobengine.ended")
    assert found.remedy.endswith("jobengine finish <job> --outcome completed")
    assert job_id


def test_leases_that_nobody_takes_back_are_found(url: str, db: Db, tmp_path: Path) -> None:
    enqueue(db)
    claim(db)
    as_owner(db, "update jobengine.lease set lease_expires_at = now() - interval '10 min'")
    found = only(url, "leases_overdue")
    # 600 s, and as long as it took to look.
    assert re.match(r"1 lease run out, the first 6\d\d s ago", found.seen)
    follow(found, url, tmp_path)
    assert codes(url) == []


def test_a_queue_without_a_worker_is_found(url: str, db: Db) -> None:
    enqueue(db, 3)
    assert codes(url) == [], "they are not due for long"
    as_owner(db, "update jobengine.ready set run_at = now() - interval '10 min'")
    found = only(url, "no_worker")
    due = r"default \(3 jobs, due for 6\d\d s, last claim: none that is known\)"
    assert re.fullmatch(due, found.seen), "600 s, and as long as it took to look"
    assert codes(url, limits=Limits(idle=3600)) == []
    end(db)
    assert codes(url) == [], "somebody claims"
    as_owner(db, "update jobengine.ended set claimed_at = now() - interval '7 min'")
    assert re.search(r"last claim: 4\d\d s ago", only(url, "no_worker").seen), "some 420 s ago"
    claim(db)
    as_owner(db, "update jobengine.lease set claimed_at = now() - interval '1 h'")
    assert codes(url) == [], "somebody keeps a lease: a long job is worked on"
    as_owner(db, "update jobengine.lease set lease_expires_at = now() - interval '1 s'")
    assert re.search(r"last claim: 4\d\d s ago", only(url, "no_worker").seen), "and now nobody does"
    as_owner(
        db,
        "insert into jobengine.waiting values (gen_random_uuid(), 'default', null,"
        " clock_timestamp() + interval '5 min')",
    )
    assert codes(url) == [], "somebody sleeps there and will look"


def test_every_code_is_found_in_a_test() -> None:
    tests = "".join(file.read_text() for file in Path(__file__).parent.glob("test_doctor*.py"))
    assert [code for code in CODES if f'"{code}"' not in tests] == []
