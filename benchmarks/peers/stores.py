"""Where a side keeps its jobs: a new database, or Redis emptied, for each measurement."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol, Self
from urllib.parse import quote, urlencode

import psycopg
import redis
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from benchmarks.database import Database, Usage
from benchmarks.peers.child import PATIENCE, Child, SideFailed
from benchmarks.peers.environment import Environment
from benchmarks.peers.side import Side
from benchmarks.server import Server

_POLL_SECONDS = 0.005


class Store(Protocol):
    """A place with the side's tables, and nothing in them at first."""

    @property
    def url(self) -> str:
        """What the side's programs are given."""

    def settle(self) -> None:
        """Leave nothing to clean or to write out."""

    def done(self, jobs: int) -> float:
        """Wait until all jobs have ended; return when they had, on the monotonic clock."""

    def left(self) -> int | None:
        """How many jobs have not ended; None where it takes too long to tell."""

    def ended(self) -> int | None:
        """How many jobs have completed, as the store knows; None where it forgets them."""

    def measure(self) -> AbstractContextManager[Usage | None]:
        """Return what is filled in when the block has ended; of None where it cannot be told."""


class Postgres:
    """A copy of a database in which the side was installed."""

    def __init__(self, side: Side, server: Server, name: str) -> None:
        """The database exists."""
        self._side = side
        self._admin_url = make_conninfo(server.admin_url, dbname=name)
        self._database = Database(server, name, self._admin_url, self._admin_url)
        self.url = _url(server, name)

    def settle(self) -> None:
        with self._admin() as admin:
            admin.execute("vacuum (analyze)")
            admin.execute("checkpoint")

    def done(self, jobs: int) -> float:
        with self._admin() as admin:

            def looks() -> bool:
                if not self._side.ends_counted:
                    found = admin.execute(f"{self._side.left} limit 1".encode())
                    return found.fetchone() is None
                return _number(admin, self._side.ended) >= jobs

            return _when(self._side, looks)

    def left(self) -> int | None:
        if self._side.ends_counted:
            return None
        with self._admin() as admin:
            return _number(admin, f"select count(*) from ({self._side.left}) jobs")

    def ended(self) -> int | None:
        if self._side.ended is None:
            return None
        with self._admin() as admin:
            return _number(admin, self._side.ended)

    def measure(self) -> AbstractContextManager[Usage]:
        return self._database.measure()

    def _admin(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self._admin_url, autocommit=True)


def _number(admin: psycopg.Connection[Any], query: str | None) -> int:
    assert query is not None
    row = admin.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])


def _when(side: Side, looks: Any) -> float:
    """Return when the first look began that found no job left: they had ended by then, or just."""
    deadline = time.monotonic() + PATIENCE
    while (now := time.monotonic()) < deadline:
        if looks():
            return now
        time.sleep(_POLL_SECONDS)
    raise SideFailed(f"{side.name}: all handlers were called, but jobs are left after {PATIENCE} s")


class Redis:
    """All of a Redis."""

    def __init__(self, side: Side, url: str) -> None:
        """It is emptied."""
        assert side.left is not None
        self._keys = side.left.split()
        self._side = side
        self._client = redis.Redis.from_url(url)
        self._client.flushall()
        self.url = url

    def settle(self) -> None:
        """Nothing to do."""

    def done(self, jobs: int) -> float:  # noqa: ARG002 - the protocol's
        return _when(self._side, lambda: self.left() == 0)

    def left(self) -> int:
        return sum(self._size(key) for key in self._keys)

    def _size(self, key: str) -> int:
        sizes = {b"list": "llen", b"zset": "zcard", b"hash": "hlen"}
        kind = self._client.type(key)
        return int(getattr(self._client, sizes[kind])(key)) if kind in sizes else 0

    def ended(self) -> int | None:
        return None

    def measure(self) -> AbstractContextManager[None]:
        return nullcontext()


@dataclass(slots=True)
class Stores:
    """Makes the stores of all sides; what it made goes at the end of the block."""

    server: Server
    environment: Environment
    redis_url: str
    _templates: dict[str, str] = field(default_factory=dict)
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @contextmanager
    def store(self, side: Side) -> Iterator[Store]:
        if side.redis:
            yield Redis(side, self.redis_url)
            return
        with _new(self.server, self._template(side)) as name:
            yield Postgres(side, self.server, name)

    def _template(self, side: Side) -> str:
        if side.program not in self._templates:
            name = self._stack.enter_context(_new(self.server, "template0"))
            url = _url(self.server, name)
            with Child(self.environment, side, "install", url) as child:
                child.wait()
            self._templates[side.program] = name
        return self._templates[side.program]


@contextmanager
def _new(server: Server, template: str) -> Iterator[str]:
    """Yield the name of a database that the application owns."""
    name = f"peers_bench_{secrets.token_hex(4)}"
    owner = conninfo_to_dict(server.url).get("user")
    create = sql.SQL("create database {} template {}").format(
        sql.Identifier(name), sql.Identifier(template)
    )
    if owner:
        create += sql.SQL(" owner {}").format(sql.Identifier(str(owner)))
    with psycopg.connect(server.admin_url, autocommit=True) as admin:
        admin.execute(create)
        try:
            yield name
        finally:
            admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


def _url(server: Server, name: str) -> str:
    """A URL that every driver reads: the host, which may be a socket's folder, in the query."""
    known = conninfo_to_dict(server.url)
    user = quote(str(known.pop("user", "")), safe="")
    secret = known.pop("password", None)
    known.pop("dbname", None)
    account = user + (f":{quote(str(secret), safe='')}" if secret else "")
    return f"postgresql://{account}@/{name}?{urlencode(known)}"
