"""The pool, and the transactions in which the platform's functions are called.

A user's call runs as `authenticated` with the token's claims, so that row level security decides
what is seen; a call of the service itself runs as `service_role`. Both hold for one transaction:
a connection goes back to the pool as what it was.
"""

from __future__ import annotations

import select
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, LiteralString, TypeAlias, TypeVar

import orjson
from psycopg import AsyncConnection, sql
from psycopg.types.json import set_json_loads
from psycopg_pool import AsyncConnectionPool

from jobengine._db import cursor_for_records, records
from jobengine._pool import WarmPool, defaults

Connection: TypeAlias = AsyncConnection[Any]
Pool: TypeAlias = AsyncConnectionPool[Connection]
R = TypeVar("R")

RECONNECT_SECONDS = 2.0
POOL_TIMEOUT = 5.0  # seconds that a request may wait for a connection
_AS = (
    "select set_config('role', %s, true), set_config('request.jwt.claims', %s, true),"
    " set_config('request.jwt.claim.sub', %s, true)"
)
_SERVICE = ("service_role", '{"role":"service_role"}', "")
_AS_BRIEF = _AS + ", set_config('lock_timeout', '50ms', true)"
USER_STATEMENT = "8s"  # what a user's statement may take; then the answer is `busy`
# BEGIN and the role in one round trip.
_BEGIN_AS_SERVICE = (
    b"begin; select set_config('role', 'service_role', true),"
    b""" set_config('request.jwt.claims', '{"role":"service_role"}', true),"""
    b" set_config('request.jwt.claim.sub', '', true)"
)
_BEGIN_AS_USER = (
    "begin; select set_config('role', 'authenticated', true),"
    " set_config('request.jwt.claims', {claims}, true),"
    " set_config('request.jwt.claim.sub', {sub}, true),"
    f" set_config('statement_timeout', '{USER_STATEMENT}', true)"
)


def create_pool(url: str, size: int) -> Pool:
    """Return a pool that holds no connection before it is opened."""
    return WarmPool(
        url,
        # One that rests among the idle for hours may lose its server without a word.
        kwargs={"autocommit": True, **defaults(url, application_name="api")},
        min_size=2,
        max_size=size,
        timeout=POOL_TIMEOUT,
        open=False,
        configure=_configure,
        # No request meets a connection that died with its server.
        check=_check,
        # The pool's pauses grow with an outage: it gives up in time, and begins again.
        reconnect_timeout=RECONNECT_SECONDS,
        reconnect_failed=AsyncConnectionPool.check,
        name="api",
    )


async def _check(conn: Connection) -> None:
    """Ask the server, if it said something unasked: its end, most likely.

    Asking in any case was a tenth of the service's time at work on orders.
    """
    poll = select.poll()
    poll.register(conn.fileno(), select.POLLIN)
    if poll.poll(0):
        await AsyncConnectionPool.check_connection(conn)


async def _configure(conn: Connection) -> None:
    set_json_loads(orjson.loads, conn)
    await conn.execute("set timezone to 'UTC'")


@asynccontextmanager
async def as_user(pool: Pool, claims: Mapping[str, Any]) -> AsyncIterator[Connection]:
    """Yield a connection whose transaction is the user's; the pool ends it with the block."""
    text = orjson.dumps(claims).decode()
    begin = _BEGIN_AS_USER.format(claims=sql.quote(text), sub=sql.quote(str(claims["sub"])))
    async with pool.connection() as conn:
        await conn.execute(begin.encode(), prepare=False)
        yield conn


async def service_rows(
    conn: Connection,
    kind: type[R],
    query: LiteralString,
    values: Mapping[str, Any],
    *,
    brief: bool = False,
) -> list[R]:
    """Return the rows of one call of the service's own, in one round trip for all of it.

    A `brief` one waits 50 ms for a lock at most, then fails and has done nothing.

    What goes through a pipeline before its end is one transaction without BEGIN and COMMIT.
    """
    cursor = cursor_for_records(conn)
    async with conn.pipeline():
        await conn.execute(_AS_BRIEF if brief else _AS, _SERVICE)
        await cursor.execute(query, values, binary=True)
    return await records(kind, cursor)


@asynccontextmanager
async def as_service(pool: Pool) -> AsyncIterator[Connection]:
    """Yield a connection whose transaction is the service's own; the pool ends it likewise."""
    async with pool.connection() as conn:
        await conn.execute(_BEGIN_AS_SERVICE, prepare=False)
        yield conn
