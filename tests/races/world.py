"""Six jobs, each in another state, that a race starts from again and again."""

from __future__ import annotations

from itertools import count
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import DictRow

from tests.conftest import Clock
from tests.races import parents
from tests.races.calls import Lease, call, enqueue, extend
from tests.races.jobs import held, run, waiting

# Everything but `job`, which is never changed, is put back to how it was.
_RESTORE = """
create schema saved;
grant usage, create on schema saved to jobengine_owner;
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
$$;
"""
