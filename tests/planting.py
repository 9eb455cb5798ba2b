"""Breaks one of the engine's functions in a test's database, to see that a test can fail."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from jobengine import schema


@dataclass(frozen=True, slots=True)
class Bug:
    """A function's file, and what is changed in it."""

    function: str
    pattern: str
    replacement: str


@contextmanager
def planted(conn: psycopg.Connection[Any], bug: Bug) -> Iterator[None]:
    """Put the broken function in place of the right one, for a while."""
    right = plant(conn, bug)
    try:
        yield
    finally:
        _replace(conn, right)


def plant(conn: psycopg.Connection[Any], bug: Bug) -> str:
    """Put the broken function in place of the right one, for good; return the right one."""
    right = (schema.sql_folder() / "functions" / f"{bug.function}.sql").read_text()
    broken, places = re.subn(bug.pattern, bug.replacement, right)
    assert places == 1, f"{bug.function}.sql: {bug.pattern} is there {places} times"
    _replace(conn, broken)
    return right


def _replace(conn: psycopg.Connection[Any], function: str) -> None:
    conn.execute("set role jobengine_owner")
    conn.execute(function.encode())
    conn.execute("reset role")
