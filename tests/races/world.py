"""Seven jobs, each in another state, that a race starts from again and again."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import psycopg
from psycopg.rows import DictRow

from jobengine.testing import Clock
from tests.races import parents
from tests.races.calls import Lease, call, extend, finish
from tests.races.jobs import held, run, waiting

# Everything but `job`, which no call here changes, can be put back as it was.
_SAVE = """
drop schema if exists saved cascade;
create schema saved;
grant usage, create on schema saved to jobengine_owner;
grant select, update on host.folder to jobengine_owner;
set role jobengine_owner;
create table saved.ready as table jobengine.ready;
create table saved.lease as table jobengine.lease;
create table saved.ended as table jobengine.ended;
create table saved.failure as table jobengine.failure;
create function saved.restore() returns void
language sql as $$
    delete from jobengine.ready;
    delete from jobengine.lease;
    delete from jobengine.ended;
    delete from jobengine.failure;
    insert into jobengine.ready table saved.ready;
    insert into jobengine.lease table saved.lease;
    insert into jobengine.ended table saved.ended;
    insert into jobengine.failure table saved.failure;
    update host.folder set completed = 0;
$$;
"""

_STATE = """
select v.job_id, v.status, v.lease_epoch, v.attempt, v.agent_id, v.cancel_reason, v.error_code,
       v.lease_expires_at, v.settled_status, v.settle_error,
       (r.job_id is not null)::int + (l.job_id is not null)::int + (e.job_id is not null)::int
           as places,
       (select count(*) from jobengine.failure f where f.job_id = v.job_id) as failures
from jobengine.jobs v
left join jobengine.ready r on r.job_id = v.job_id
left join jobengine.lease l on l.job_id = v.job_id
left join jobengine.ended e on e.job_id = v.job_id
"""

State = dict[str, DictRow]


@dataclass
class World:
    """The jobs by name, the leases that are held, and a connection of the engine's owner."""

    owner: psycopg.Connection[DictRow]
    jobs: dict[str, UUID]
    leases: list[Lease]

    def restore(self) -> None:
        self.owner.execute("select saved.restore()")

    def state(self) -> State:
        """Return where each job stands."""
        names = {job_id: name for name, job_id in self.jobs.items()}
        return {names[row.pop("job_id")]: row for row in self.owner.execute(_STATE)}

    def completed_in_parents(self) -> int:
        return sum(parents.completed(self.owner).values())


def build(db: psycopg.Connection[DictRow], clock: Clock) -> World:
    """Make the jobs; `db` becomes the owner's connection."""
    run(db, call("register_job_type", job_type="work", backoff_seconds=0.0))
    run(db, call("register_job_type", job_type="once", delivery="at_most_once"))
    parents.create(db, "work", "once")
    (failed,) = held(db, **parents.folder(1))
    run(db, finish(failed, outcome="rejected"))
    leases = {
        "overdue": held(db, **parents.folder(1))[0],
        "unstarted": held(db, two_phase="always", **parents.folder(2))[0],
        "once": held(db, job_type="once", **parents.folder(2))[0],
        "running": held(db, **parents.folder(1))[0],
    }
    run(db, extend(leases["running"], seconds=86400.0))
    jobs = {name: job_id for name, (job_id, _) in leases.items()}
    (jobs["due"],) = waiting(db, **parents.folder(2))
    (jobs["expired"],) = waiting(db, expires_ins=1.0, **parents.folder(1))
    clock.advance(3600)
    db.execute(_SAVE.encode())
    return World(db, jobs | {"failed": failed[0]}, list(leases.values()))
