"""`SettleMachine` accepts right settle functions and finds what is wrong with wrong ones."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from psycopg.rows import DictRow

from jobengine import InvalidArgument, JobInfo, NewJob
from jobengine.testing.settle import SettleMachine

RUN = settings(
    max_examples=40,
    stateful_step_count=20,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)

TABLES = """
drop table if exists public.tally, public.newest;
create table public.tally (parent integer, status text, jobs integer not null default 0,
    primary key (parent, status));
create table public.newest (parent integer primary key, last_job_id uuid, status text);
"""

SETTLE_TALLY = """
create or replace function public.settle_tally(p_jobs jobengine.settled_job[]) returns void
language plpgsql security definer set search_path = public, pg_temp as $$
begin
    if exists (select from unnest(p_jobs) j where j.input ? 'poison') then
        raise exception 'poison';
    end if;
    update tally t
    set jobs = t.jobs + c.change
    from (
        select (j.input ->> 'parent')::int as parent, e.status, sum(e.change) as change
        from unnest(p_jobs) j
        cross join lateral (values (j.status, 1), (j.prior_status, -1)) e (status, change)
        group by 1, 2
    ) c
    where t.parent = c.parent and t.status = c.status;
end $$;
"""

SETTLE_NEWEST = """
create or replace function public.settle_newest(p_jobs jobengine.settled_job[]) returns void
language plpgsql security definer set search_path = public, pg_temp as $$
begin
    update newest p
    set last_job_id = n.job_id, status = n.status
    from (
        select distinct on (j.input ->> 'parent')
               (j.input ->> 'parent')::int as parent, j.job_id, j.status
        from unnest(p_jobs) j
        order by j.input ->> 'parent', j.job_id desc
    ) n
    where p.parent = n.parent and (p.last_job_id is null or p.last_job_id <= n.job_id);
end $$;
"""

RIGHTS = """
revoke execute on function public.settle_tally, public.settle_newest from public;
grant execute on function public.settle_tally, public.settle_newest to jobengine_owner;
"""

PARENTS = (1, 2)
STATUSES = ("completed", "failed", "cancelled", "expired", "unknown")


def jobs(*job_types: str, **more: bool) -> st.SearchStrategy[NewJob]:
    return st.builds(
        NewJob,
        job_type=st.sampled_from(job_types),
        input=st.builds(lambda parent: {"parent": parent} | more, st.sampled_from(PARENTS)),
    )


class Tally(SettleMachine):
    """A sum: how many jobs of a parent have ended how."""

    jobs = jobs("tally", "tally_once")
    outputs = st.integers(0, 9)

    def expected(self, told: Sequence[JobInfo]) -> object:
        return Counter((job.input["parent"], job.status) for job in told if job.ended)

    def actual(self, connection: psycopg.Connection[Any]) -> object:
        rows = connection.execute("select parent, status, jobs from tally where jobs <> 0")
        return Counter({(parent, status): count for parent, status, count in rows})


class PoisonedTally(Tally):
    poison = jobs("tally", poison=True)


class Newest(SettleMachine):
    """A last state: how the newest job of a parent stands."""

    jobs = jobs("newest", "newest_once")

    def expected(self, told: Sequence[JobInfo]) -> object:
        return {job.input["parent"]: (job.id, job.status) for job in told}

    def actual(self, connection: psycopg.Connection[Any]) -> object:
        rows = connection.execute(
            "select parent, last_job_id, status from newest where last_job_id is not null"
        )
        return {parent: (job_id, status) for parent, job_id, status in rows}


class Bug(NamedTuple):
    machine: type[SettleMachine]
    pattern: str
    replacement: str
    message: str = "settled_equals_ended"


BUGS = {
    "a sum without prior_status": Bug(Tally, r", \(j\.prior_status, -1\)", ""),
    "a sum that ignores cancelled": Bug(
        Tally, r"where t\.parent", "where c.status <> 'cancelled' and t.parent"
    ),
    "a sum that counts two jobs of a parent once": Bug(Tally, r"sum\(e\.change\)", "max(e.change)"),
    "a sum that joins the jobs": Bug(
        Tally,
        r"from \(.*\) c\n",
        "from (select (j.input ->> 'parent')::int as parent, j.status, 1 as change"
        " from unnest(p_jobs) j) c\n",
    ),
    "a sum that fails for what expired": Bug(
        Tally,
        r"update tally t",
        "if exists (select from unnest(p_jobs) j where j.status = 'expired') then"
        " raise exception 'never heard of'; end if; update tally t",
        "a tally.* that ended expired was not settled: P0001 never heard of",
    ),
    "a last state without its guard": Bug(
        Newest, r" and \(p\.last_job_id is null or p\.last_job_id <= n\.job_id\)", ""
    ),
    "a last state of any of a batch": Bug(Newest, r"j\.job_id desc", "j.job_id"),
    "a last state that ignores retries": Bug(
        Newest, r"from unnest\(p_jobs\) j\n", "from unnest(p_jobs) j where j.status <> 'pending'\n"
    ),
}


@pytest.fixture
def shop(database_url: str, db: psycopg.Connection[DictRow]) -> str:
    """The tables, functions and job types of a program, in a database of this module."""
    for part in (TABLES, SETTLE_TALLY, SETTLE_NEWEST, RIGHTS):
        db.execute(part.encode())
    for parent in PARENTS:
        db.execute("insert into public.newest values (%s)", (parent,))
        for status in STATUSES:
            db.execute("insert into public.tally values (%s, %s)", (parent, status))
    for settle in ("tally", "newest"):
        register(db, settle, f"public.settle_{settle}")
        register(db, f"{settle}_once", f"public.settle_{settle}", "at_most_once")
    return database_url


def register(
    db: psycopg.Connection[DictRow], job_type: str, settle: str, delivery: str = "at_least_once"
) -> None:
    db.execute(
        "select jobengine.register_job_type(%s, p_settle => %s, p_delivery => %s)",
        (job_type, settle, delivery),
    )


@pytest.mark.parametrize("machine", [Tally, PoisonedTally, Newest])
def test_a_right_settle_function_passes(shop: str, machine: type[SettleMachine]) -> None:
    machine.check(shop, settings=RUN)


@pytest.mark.parametrize("name", BUGS)
def test_a_wrong_settle_function_is_found(
    shop: str, db: psycopg.Connection[DictRow], name: str
) -> None:
    bug = BUGS[name]
    right = SETTLE_TALLY if issubclass(bug.machine, Tally) else SETTLE_NEWEST
    wrong, places = re.subn(bug.pattern, bug.replacement, right, flags=re.DOTALL)
    assert places == 1
    db.execute(wrong.encode())
    with pytest.raises(AssertionError, match=bug.message):
        bug.machine.check(shop, settings=RUN)


@pytest.mark.parametrize("autocommit", [True, False])
def test_nothing_of_a_run_stays_on_a_connection_of_the_program(
    shop: str, db: psycopg.Connection[DictRow], *, autocommit: bool
) -> None:
    clock = "select pg_get_functiondef('jobengine._now()'::regprocedure) as text"
    before = db.execute(clock).fetchone()
    with psycopg.connect(shop, autocommit=autocommit) as conn:
        Tally.check(conn, settings=settings(RUN, max_examples=3))
        assert conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        assert conn.autocommit == autocommit
    assert db.execute("select count(*) as n from jobengine.job").fetchall() == [{"n": 0}]
    assert db.execute("select sum(jobs) as n from public.tally").fetchall() == [{"n": 0}]
    assert db.execute(clock).fetchone() == before


def test_parents_may_be_made_for_each_example(shop: str, db: psycopg.Connection[DictRow]) -> None:
    class Prepared(Newest):
        def prepare(self, connection: psycopg.Connection[Any]) -> None:
            connection.execute("insert into public.newest (parent) values (1), (2)")

    db.execute("truncate public.newest")
    with pytest.raises(AssertionError, match="settled_equals_ended"):
        Newest.check(shop, settings=RUN)
    Prepared.check(shop, settings=settings(RUN, max_examples=5))


def test_what_could_not_be_prepared_leaves_no_connection(
    shop: str, db: psycopg.Connection[DictRow]
) -> None:
    class Broken(Newest):
        def prepare(self, connection: psycopg.Connection[Any]) -> None:
            connection.execute("select 1/0")

    with pytest.raises(psycopg.errors.DivisionByZero):
        Broken.check(shop, settings=RUN)
    assert db.execute(
        "select count(*) as n from pg_stat_activity where state like 'idle in transaction%%'"
        " and datname = current_database()",
        (),
    ).fetchall() == [{"n": 0}]


def test_a_job_type_without_a_settle_function_is_named(
    shop: str, db: psycopg.Connection[DictRow]
) -> None:
    class Plain(Tally):
        jobs = jobs("plain")

    db.execute("select jobengine.register_job_type('plain')")
    with pytest.raises(AssertionError, match=r"a plain that ended .*: its job type has no settle"):
        Plain.check(shop, settings=RUN)


def test_a_poisonous_job_is_named_where_nobody_said_so(
    shop: str, db: psycopg.Connection[DictRow]
) -> None:
    class Surprised(Tally):
        jobs = jobs("tally") | jobs("tally", poison=True)

    with pytest.raises(AssertionError, match="was not settled: P0001 poison"):
        Surprised.check(shop, settings=RUN)


def test_a_poisonous_job_is_drawn_and_held_back(shop: str) -> None:
    """What the machine says is unsettled is so, and its neighbours are settled all the same."""
    seen: set[bool] = set()

    class Watched(PoisonedTally):
        def expected(self, told: Sequence[JobInfo]) -> object:
            assert not any("poison" in job.input for job in told)
            batch = {job.finished_at for job in told}
            poisoned = {job.finished_at for job in self._found if "poison" in job.input}
            seen.add(bool(batch & (poisoned - {None})))
            return super().expected(told)

    Watched.check(shop, settings=RUN)
    assert seen == {True, False}


def test_a_database_of_another_kind_is_refused() -> None:
    class Nowhere(Tally):
        database = None  # type: ignore[assignment]

    with pytest.raises(InvalidArgument, match="database"):
        Nowhere.check(settings=RUN)
