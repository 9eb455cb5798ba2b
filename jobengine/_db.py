"""How a call reaches PostgreSQL: typed rows out, arrays and JSON in, driver errors translated."""

from __future__ import annotations

import asyncio
import functools
import itertools
import math
import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString, TypeAlias, TypeVar
from uuid import UUID

import orjson
import psycopg
from psycopg import AsyncConnection, AsyncCursor
from psycopg.adapt import AdaptersMap
from psycopg.postgres import register_default_adapters
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from jobengine import _rows
from jobengine._cancelling import heeded
from jobengine.errors import InvalidArgument, translated

Connection: TypeAlias = AsyncConnection[Any]


@dataclass(frozen=True, slots=True)
class Brief:
    """A connection on which a call waits 50 ms for a lock at most, else `TryAgain`, nothing done.

    The limit ends with the transaction, which has to be the call's own.
    """

    connection: Connection


@dataclass(frozen=True, slots=True)
class Lined:
    """A connection to which calls are given before the last one is answered: it takes them in turn.

    A call lets the next one be sent before it reads its own rows, so that the server need not wait.
    """

    connection: Connection


AnyConnection: TypeAlias = Connection | psycopg.Connection[Any]
Rows = list  # a name for `list` where a call of that name hides it
R = TypeVar("R")

_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_JSON_OPTIONS = (
    orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_SUBCLASS
)


class _Adaptation:
    """How values go and come: the driver's ways, whatever the program has set up for its own."""

    connection = None

    def __init__(self) -> None:
        self.adapters = AdaptersMap(types=psycopg.postgres.types)
        register_default_adapters(self)
        _rows.load_raw(self.adapters)


_ADAPTERS = _Adaptation().adapters


class _Cursor(AsyncCursor[R]):
    """Not conn.cursor(): the program's pool may make cursors of another kind."""

    __slots__ = ()

    @property
    def adapters(self) -> AdaptersMap:
        return _ADAPTERS


class _SyncCursor(psycopg.Cursor[R]):
    """The same for a connection that is not async."""

    __slots__ = ()

    @property
    def adapters(self) -> AdaptersMap:
        return _ADAPTERS


async def rows(
    conn: AnyConnection | Brief | Lined,
    kind: type[R],
    query: LiteralString,
    parameters: Mapping[str, Any],
) -> Rows[R]:
    """Return one `kind` per row; its fields are the columns, in their order (tests/contract)."""
    columns = await _columns(conn, query, parameters)
    made = _rows.maker(kind)  # type: ignore[arg-type]  # a type is hashable
    return list(map(made, *columns)) if columns else []


async def rows_of_few(
    conn: AnyConnection | Brief | Lined,
    kind: type[R],
    query: LiteralString,
    parameters: Mapping[str, Any],
    *,
    needed: int = 1,
) -> Rows[R]:
    """Do the same without the arguments that are None, after the first `needed` ones.

    Their defaults must be null. The driver's part of a call with 2 of 15 is shorter by a third.
    """
    absent = tuple(name for name, value in parameters.items() if value is None)
    short = _short(query, absent, needed)
    return await rows(conn, kind, short, parameters)


async def scalars(
    conn: AnyConnection, query: LiteralString, parameters: Mapping[str, Any]
) -> Rows[Any]:
    """Return the first column."""
    columns = await _columns(conn, query, parameters)
    return list(columns[0]) if columns else []


async def _columns(
    conn: AnyConnection | Brief | Lined, query: LiteralString, parameters: Mapping[str, Any]
) -> _rows.Columns:
    """Return the columns; a connection that is not async suspends nobody (jobengine.sync)."""
    if isinstance(conn, psycopg.Connection):
        with translated():
            now = _SyncCursor(conn, row_factory=tuple_row)
            now.execute(query, _checked(parameters), binary=True)
            return _rows.columns(now, now.fetchall())
    lined = isinstance(conn, Lined)
    if isinstance(conn, Brief):
        query = _brief(query)
    if isinstance(conn, Brief | Lined):
        conn = conn.connection
    with translated(), heeded():
        cursor = _Cursor(conn, row_factory=tuple_row)
        await cursor.execute(query, _checked(parameters), binary=True)
        if lined:
            await asyncio.sleep(0)
        return _rows.columns(cursor, await cursor.fetchall())


_ARGUMENT = re.compile(r",\s*p_(\w+) => %\(\1\)s")


@functools.lru_cache(maxsize=256)
def _short(query: LiteralString, absent: tuple[str, ...], needed: int) -> LiteralString:
    """Return the query without these arguments, unless they are among the first `needed` ones."""
    places = itertools.count(1)  # the first argument of all has no comma before it

    def kept(argument: re.Match[str]) -> str:
        return "" if next(places) >= needed and argument[1] in absent else argument[0]

    short: LiteralString = _ARGUMENT.sub(kept, query)
    return short


# What is lateral can only run after what it leans on; `offset 0` keeps it one piece.
_BRIEFLY: LiteralString = """select r.*
    from (select set_config('lock_timeout', '50ms', true)) b (timeout)
    cross join lateral (select f.* from {} f where b.timeout is not null offset 0) r"""


@functools.lru_cache(maxsize=256)
def _brief(query: LiteralString) -> LiteralString:
    """Return the query with a limit for its waits, which is set before its function runs."""
    function = query.removeprefix("select * from ")
    assert function != query
    return _BRIEFLY.format(function)


@asynccontextmanager
async def transaction(conn: AnyConnection) -> AsyncIterator[None]:
    """All that the block writes, or nothing; never a commit that is the program's to make.

    The driver commits after a block that begins a transaction. Where there is no autocommit the
    program commits, so its transaction begins first, as any statement of its own would begin it.
    """
    begins = not conn.autocommit and conn.info.transaction_status == TransactionStatus.IDLE
    with translated():
        if isinstance(conn, psycopg.Connection):
            if begins:
                conn.execute("select 1")
            with conn.transaction():
                yield
        else:
            if begins:
                await conn.execute("select 1")
            async with conn.transaction():
                yield


def broken_rule(value: object) -> str | None:
    """Name the rule that a text or time breaks which cannot be sent, or would arrive as another."""
    if isinstance(value, str):
        if "\x00" in value:
            return "text without NUL characters"
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                return "text without lone surrogates"
    if isinstance(value, datetime) and value.tzinfo is None:
        return "a datetime with a time zone"
    return None


def _checked(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    for name, value in parameters.items():
        if rule := broken_rule(value):
            raise InvalidArgument(name, rule)
    return parameters


def array(values: Iterable[object] | None) -> str | None:
    """Return PostgreSQL's text form of an array, or None where every element is None.

    The driver's own list dumper looks up a dumper per element; one join is what makes calls of
    hundreds of items cheap.
    """
    if values is None:
        return None
    elements = ["NULL" if value is None else element(value) for value in values]
    if all(element == "NULL" for element in elements):
        return None
    return "{" + ",".join(elements) + "}"


def element(value: object) -> str:
    """Return a value, not None, as an element of PostgreSQL's text form of an array."""
    if type(value) is UUID or type(value) is int:  # most elements, before the slower isinstance
        return str(value)
    if isinstance(value, str):
        return '"' + _escaped(value) + '"'
    if isinstance(value, UUID | int | float):
        return str(value)
    if isinstance(value, bytes):
        return element(value.decode())
    if isinstance(value, datetime):
        return '"' + value.isoformat() + '"'
    raise TypeError(f"no array element: {value!r}")


def json_array(texts: Sequence[bytes | None]) -> str:
    """Return what `array` returns for texts of `json`, escaped all at once.

    JSON by orjson holds no control characters, so two of them may stand for what is between
    elements and for None; only an `orjson.Fragment` may bring line breaks.
    """
    joined = b"\n".join([b"\0" if text is None else text for text in texts]).decode()
    if joined.count("\n") >= len(texts):
        return "{" + ",".join(["NULL" if text is None else element(text) for text in texts]) + "}"
    array = '{"' + _escaped(joined).replace("\n", '","') + '"}'
    return array.replace('"\0"', "NULL")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def json(value: object, field: str, item: int | None = None) -> bytes | None:
    """Return `value` as JSON, None for None; refuse what JSON or jsonb cannot hold."""
    if value is None:
        return None
    try:
        text = orjson.dumps(value, option=_JSON_OPTIONS)
    except TypeError as error:
        raise InvalidArgument(field, f"JSON: {error}", item) from error
    if b"null" in text and _has_nan(value):
        raise InvalidArgument(field, "JSON: NaN and Infinity are not numbers of JSON", item)
    if holds_nul(text):
        raise InvalidArgument(field, "JSON without the character U+0000", item)
    return text


def plain_json(values: Iterable[object]) -> list[bytes | None] | None:
    """Return what `json` returns for each, or None where one of them may be refused."""
    try:
        texts = [
            None if value is None else orjson.dumps(value, option=_JSON_OPTIONS) for value in values
        ]
    except TypeError:
        return None
    together = b"".join(filter(None, texts))
    return None if b"null" in together or b"\\u0000" in together else texts


def holds_nul(text: bytes) -> bool:
    """Tell whether JSON holds the character U+0000, which jsonb cannot."""
    # An even number of backslashes before `\u0000` spells other characters.
    return b"\\u0000" in text and _NUL.search(text) is not None


def _has_nan(value: object) -> bool:
    """Tell whether orjson wrote a `null` for a float that is not finite."""
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, dict):
        return any(_has_nan(element) for element in value.values())
    if isinstance(value, list | tuple):
        return any(_has_nan(element) for element in value)
    return False
