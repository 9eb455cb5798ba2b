"""Six jobs, each in another state, that a race starts from again and again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import DictRow

from tests.conftest import Clock
from tests.races import parents
from tests.races.calls import Lease, call, cancel, claim, extend, finish, sweep
from tests.races.jobs import held, run, waiting
from tests.races.sessions import Call, Rows

# Everything but `job`, which no call here changes, is put back as it was. The caller is the owner.
_SAVE = """
drop schema if exists saved cascade;
create schema saved;
grant usage, create on schema saved to jobengine_owner;
grant select, update on host.folder to jobengine_owner;
set role jobengine_owner;
create table saved.ready as table jobengine.ready;
create table saved.lease as table jobengine.lease;
create function saved.restore() returns void
language sql as $$
    delete from jobengine.ready;
    delete from jobengine.lease;
    delete from jobengine.ended;
    delete from jobengine.failure;
    insert into jobengine.ready table saved.ready;
    insert into jobengine.lease table saved.lease;
    update host.folder set completed = 0;
$$;
"""

_STATE = """
select v.job_id, v.status, v.lease_epoch, v.attempt, v.agent_id, v.cancel_reason, v.error_code,
       v.settled_status, v.settle_error,
       (r.job_id is not null)::int + (l.job_id is not null)::int + (e.job_id is not null)::int
           as places,
       (select count(*) from jobengine.failure f where f.job_id = v.job_id) as failures
from jobengine.jobs v
left join jobengine.ready r on r.job_id = v.job_id
left join jobengine.lease l on l.job_id = v.job_id
left join jobengine.ended e on e.job_id = v.job_id
"""


@dataclass
class World:
    """The jobs by name, and a connection of the engine's owner."""

    owner: psycopg.Connection[DictRow]
    jobs: dict[str, UUID]
    leases: list[Lease]

    def restore(self) -> None:
        self.owner.execute("select saved.restore()")

    def state(self) -> dict[str, DictRow]:
        """Return where each job stands, by its name."""
        names = {job_id: name for name, job_id in self.jobs.items()}
        return {names[row.pop("job_id")]: row for row in self.owner.execute(_STATE)}

    def said(self, rows: Rows) -> dict[str, Any]:
        """Return what a call answered about each job; a sweep says nothing about any."""
        names = {job_id: name for name, job_id in self.jobs.items()}
        told = ("verdict", "status", "cancel_reason", "lease_epoch", "attempt")
        return {
            names[row["job_id"]]: tuple(row.get(column) for column in told)
            for row in rows
            if "job_id" in row
        }

    def completed(self) -> int:
        """Return how many completed jobs the parents have counted."""
        return sum(parents.completed(self.owner).values())


def build(db: psycopg.Connection[DictRow], clock: Clock) -> World:
    """Make the jobs; `db` becomes a connection of the engine's owner."""
    run(db, call("register_job_type", job_type="work", backoff_seconds=0.0))
    run(db, call("register_job_type", job_type="once", delivery="at_most_once"))
    parents.create(db, "work", "once")
    jobs: dict[str, UUID] = {}
    leases = [
        *held(db, **parents.folder(1)),
        *held(db, two_phase="always", **parents.folder(2)),
        *held(db, job_type="once", **parents.folder(2)),
        *held(db, **parents.folder(1)),
    ]
    names = ("overdue", "unstarted", "once", "running")
    jobs = {name: job_id for name, (job_id, _) in zip(names, leases, strict=True)}
    run(db, extend(leases[3], seconds=86400.0))
    (jobs["due"],) = waiting(db, **parents.folder(2))
    (jobs["expired"],) = waiting(db, expires_ins=1.0, **parents.folder(1))
    clock.advance(3600)
    db.execute(_SAVE.encode())
    return World(db, jobs, leases)


Operation = Callable[[World, int], Call]


def _ordered(things: Sequence[Any], number: int) -> Sequence[Any]:
    """Let every other session name its jobs backwards."""
    return things if number % 2 == 0 else list(reversed(things))


OPERATIONS: dict[str, Operation] = {
    "claim": lambda world, number: claim(limit=10, agent_id=f"agent {number}"),
    "finish": lambda world, number: finish(*_ordered(world.leases, number)),
    "sweep": lambda world, number: sweep(),
    "cancel": lambda world, number: cancel(*_ordered(list(world.jobs.values()), number)),
    "extend": lambda world, number: extend(*_ordered(world.leases, number)),
}
