"""How a call's rows are read, and its JSON written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, LiteralString, TypeVar

import orjson
from psycopg.rows import args_row, dict_row, scalar_row
from pydantic import BaseModel

from api import models
from api.database import Connection

M = TypeVar("M", bound=BaseModel)
R = TypeVar("R")


def json(value: object) -> str | None:
    if value is None:
        return None
    return orjson.dumps(value, default=models.plain).decode()


async def many(
    conn: Connection, kind: type[M], query: LiteralString, values: Mapping[str, Any]
) -> list[M]:
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query, values, binary=True)
        return [kind.model_validate(row) for row in await cursor.fetchall()]


async def one(
    conn: Connection, kind: type[M], query: LiteralString, values: Mapping[str, Any]
) -> M:
    (found,) = await many(conn, kind, query, values)
    return found


async def records(
    conn: Connection, kind: type[R], query: LiteralString, values: Mapping[str, Any]
) -> list[R]:
    async with conn.cursor(row_factory=args_row(kind)) as cursor:
        await cursor.execute(query, values, binary=True)
        return await cursor.fetchall()


async def row(conn: Connection, query: LiteralString, values: Mapping[str, Any]) -> dict[str, Any]:
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query, values, binary=True)
        (found,) = await cursor.fetchall()
        return found


async def scalar(conn: Connection, query: LiteralString, values: Mapping[str, Any]) -> Any:
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(query, values, binary=True)
        return await cursor.fetchone()
