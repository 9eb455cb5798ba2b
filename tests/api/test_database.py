"""The pool, and whose a transaction is that it gives out."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from api.database import Connection, Pool, as_service, as_user, create_pool

WHO = "select current_user, current_setting('request.jwt.claims'), auth.uid()"
CLAIMS = {"sub": str(uuid4()), "role": "authenticated", "email": "o'neil\\%s{x}ü@example.org"}


def with_pool(url: str, work: Any) -> Any:
    async def run() -> Any:
        async with create_pool(url, 5) as pool:
            return await work(pool)

    return asyncio.run(run())


async def who(conn: Connection) -> tuple[Any, ...]:
    row = await (await conn.execute(WHO)).fetchone()
    assert row
    return tuple(row)


def test_the_connection_that_came_back_last_is_given_out_first(platform_url: str) -> None:
    async def work(pool: Pool) -> None:
        await pool.wait()
        async with pool.connection() as first, pool.connection() as second:
            assert first is not second
        for _ in range(3):  # `second` came back first
            async with pool.connection() as again:
                assert again is first

    with_pool(platform_url, work)


def test_a_server_that_vanishes_is_noticed_by_who_rests(platform_url: str) -> None:
    async def work(pool: Pool) -> None:
        async with pool.connection() as conn:
            found = conn.info.get_parameters()
        assert {"keepalives_idle", "tcp_user_timeout"} <= found.keys()
        assert found["application_name"] == "api"

    with_pool(platform_url, work)


def test_a_transaction_is_its_users_until_it_ends(platform_url: str) -> None:
    async def work(pool: Pool) -> None:
        for _ in range(10):  # beyond what it takes a driver to prepare a statement
            async with as_user(pool, CLAIMS) as conn:
                role, claims, subject = await who(conn)
            assert (role, str(subject)) == ("authenticated", CLAIMS["sub"])
            assert "o'neil\\\\%s{x}ü@example.org" in claims
            async with pool.connection() as conn:
                left, claims, subject = await who(conn)
            assert left != "authenticated"
            assert not claims
            assert subject is None

    with_pool(platform_url, work)


def test_a_transaction_of_the_services_own_ends_likewise(platform_url: str) -> None:
    async def work(pool: Pool) -> None:
        async with as_service(pool) as conn:
            assert (await who(conn))[0] == "service_role"
        async with pool.connection() as conn:
            assert (await who(conn))[0] != "service_role"

    with_pool(platform_url, work)


async def added(pool: Pool, email: str, *, fails: bool) -> None:
    async with as_service(pool) as conn:
        await conn.execute("select public.user_add(%s)", (email,))
        if fails:
            await conn.execute("select 1 / 0")


async def found(pool: Pool, email: str) -> Any:
    async with as_service(pool) as conn:
        row = await (await conn.execute("select public.user_find(%s)", (email,))).fetchone()
    assert row
    return row[0]


def test_what_a_failed_block_wrote_is_gone_and_what_another_wrote_stays(platform_url: str) -> None:
    async def work(pool: Pool) -> None:
        with pytest.raises(psycopg.errors.DivisionByZero):
            await added(pool, "gone@example.org", fails=True)
        await added(pool, "stays@example.org", fails=False)
        assert await found(pool, "gone@example.org") is None
        assert await found(pool, "stays@example.org") is not None

    with_pool(platform_url, work)
