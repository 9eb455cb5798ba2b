"""Runs plpgsql_check over an installed engine and platform, and the doctor's queries."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import class_row

from api import schema as platform_schema
from jobengine import schema
from jobengine.embedded import EmbeddedPostgres
from tools.sql_rules import debian, doctor
from tools.sql_rules.reading import Engine, Finding, Function

# Function, message: why the finding is not true of it.
ACCEPTED = {
    ("_alert_keep", "control reached end of function without RETURN"): (
        "its loop ends by a return alone"
    ),
    ("_gate", 'unused parameter "p_symbol"'): (
        "callers tell it the whole order, so that a rule by symbol needs no change of theirs"
    ),
    ("_hold", "routine is marked as VOLATILE, should be STABLE"): (
        "it locks rows, which a STABLE function must not"
    ),
    ("_settle", "routine is marked as VOLATILE, should be STABLE"): (
        "it calls the settle function, which writes"
    ),
    ("_settle", "text type variable is not sanitized"): (
        "the one statement it builds comes from format('%I.%I') in the select above"
    ),
}

# A trigger function is checked with a table that it serves.
_FINDINGS = """
select p.proname as function, c.lineno as line, c.level, c.message, c.detail
from pg_proc p
join pg_language l on l.oid = p.prolang and l.lanname = 'plpgsql'
left join lateral (select t.tgrelid from pg_trigger t where t.tgfoid = p.oid limit 1) t on true
cross join lateral checker.plpgsql_check_function_tb(
    p.oid, relid => coalesce(t.tgrelid, 0),
    fatal_errors => false, other_warnings => true, extra_warnings => true,
    performance_warnings => true, security_warnings => true, compatibility_warnings => true) c
where p.pronamespace = any (array['jobengine', 'public']::regnamespace[])
order by p.proname, c.lineno
"""


@dataclass(frozen=True, slots=True)
class Checked:
    """One row of plpgsql_check's answer."""

    function: str
    line: int | None
    level: str
    message: str
    detail: str | None


def check(engine: Engine, platform: Engine) -> list[Finding]:
    """Install both into a private PostgreSQL 15 and list what plpgsql_check says of them.

    Raises `debian.Unavailable` where there is none.
    """
    os.environ["JOBENGINE_PG_BIN"] = str(debian.programs())
    with (
        tempfile.TemporaryDirectory(prefix="jobengine-sql-") as folder,
        EmbeddedPostgres(Path(folder) / "pg", durable=False) as server,
    ):
        asyncio.run(_install(server.url))
        rows = list(_ask(server.admin_url))
        refused = list(_refused(engine, server.url))
    functions = engine.functions | platform.functions
    return [
        *refused,
        *_unused(rows),
        *(_finding(functions, row) for row in _not_accepted(rows)),
    ]


async def _install(url: str) -> None:
    async with await AsyncConnection.connect(url) as conn:
        await schema.apply(conn)
        await platform_schema.apply(conn)


def _ask(admin_url: str) -> Iterator[Checked]:
    with psycopg.connect(admin_url, dbname="jobengine", autocommit=True) as conn:
        conn.execute("create schema checker")
        conn.execute("create extension plpgsql_check with schema checker")
        cursor = conn.cursor(row_factory=class_row(Checked))
        yield from cursor.execute(_FINDINGS.encode())


def _refused(engine: Engine, url: str) -> Iterator[Finding]:
    """Run the doctor's queries, reading only, and name those that fail."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.read_only = True
        for query in doctor.queries(engine):
            try:
                conn.execute(query.path.read_bytes())
            except psycopg.Error as error:
                yield Finding(query.path, 1, "doctor-query", str(error))


def _not_accepted(rows: list[Checked]) -> Iterator[Checked]:
    """An exception covers one place: the same finding elsewhere in the function is a new one."""
    left = set(ACCEPTED)
    for row in rows:
        if (row.function, row.message) in left:
            left.remove((row.function, row.message))
        else:
            yield row


def _unused(rows: list[Checked]) -> Iterator[Finding]:
    """An exception that nothing needs any more goes from the list."""
    for function, message in ACCEPTED.keys() - {(row.function, row.message) for row in rows}:
        yield Finding(Path(__file__), 1, "plpgsql", f"not needed any more: {function}, {message}")


def _finding(functions: dict[str, Function], row: Checked) -> Finding:
    function = functions[row.function]
    detail = f" ({row.detail})" if row.detail else ""
    line = function.body_line + (row.line or 1) - 1
    return Finding(function.path, line, f"plpgsql-{row.level}", row.message + detail)
