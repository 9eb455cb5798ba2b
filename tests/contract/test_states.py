"""docs/states.md says what the headers say, and the headers say what the functions do."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, get_args

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from jobengine import records
from jobengine.testing import Clock
from tests.contract.documents import code, diagram, tables
from tests.contract.situations import KINDS, SITUATIONS, Kind, calls
from tests.sql.helpers import Db, Engine
from tools.sql_rules import headers
from tools.sql_rules.headers import NO_JOB, STATUSES
from tools.sql_rules.reading import Engine as SqlFiles
from tools.sql_rules.rights import granted_functions

Change = tuple[str, str, str]

DOCUMENT = "states.md"


def documented() -> set[Change]:
    return {(code(row[0]), code(row[1]), code(row[2])) for row in tables(DOCUMENT)["from"]}


def test_each_transition_is_listed_once() -> None:
    rows = [row[:3] for row in tables(DOCUMENT)["from"]]
    assert len(rows) == len(set(rows))


def test_the_table_says_what_the_headers_of_the_public_functions_say(sql_files: SqlFiles) -> None:
    said = {
        (before, after, name)
        for name in granted_functions(sql_files)
        for before, after in headers.parse(sql_files.functions[name]).transitions
    }
    assert documented() == said


def test_internal_functions_make_only_transitions_of_the_table(sql_files: SqlFiles) -> None:
    said = {
        edge
        for function in sql_files.functions.values()
        for edge in headers.parse(function).transitions
    }
    assert said == {change[:2] for change in documented()}


def test_the_diagram_shows_the_table() -> None:
    assert diagram(DOCUMENT) == {change[:2] for change in documented()}


@pytest.fixture(scope="module")
def observed(database_url: str) -> dict[Change, str]:
    """What the functions were seen to do with a job of every kind, and to which one."""
    found: dict[Change, str] = {}
    with psycopg.connect(database_url, autocommit=True, row_factory=dict_row) as conn:
        engine = Engine(conn, Clock(conn))
        engine.register("work")
        engine.register("trade", delivery="at_most_once")
        for situation, kind in product(SITUATIONS, KINDS):
            for change in changes(engine, situation, kind):
                found[change] = f"{situation}, {kind}"
    return found


def test_functions_change_a_status_only_as_the_table_says(observed: dict[Change, str]) -> None:
    known = documented()
    assert {change: seen for change, seen in observed.items() if change not in known} == {}


def test_every_transition_of_the_table_happens(observed: dict[Change, str]) -> None:
    assert documented() - observed.keys() == set()


def changes(engine: Engine, situation: str, kind: Kind) -> Iterator[Change]:
    """Try every call on one job and yield what happened to the statuses."""
    with engine.db.transaction(force_rollback=True):
        job = SITUATIONS[situation](engine, kind)
        engine.clock.advance(1)
        before = attempt(engine.db, "get", {"job_ids": []})
        for name, arguments in calls(job):
            after = attempt(engine.db, name, arguments)
            for job_id in before.keys() | after.keys():
                change = (before.get(job_id, NO_JOB), after.get(job_id, NO_JOB), name)
                if change[0] != change[1]:
                    yield change


def attempt(db: Db, name: str, arguments: dict[str, Any]) -> dict[str, str]:
    """Make a call, return every job's status and undo it, all in one message to the server."""
    query = sql.SQL(
        "savepoint before; select * from jobengine.{}({});"
        "select job_id, status from jobengine.jobs; rollback to before"
    ).format(
        sql.Identifier(name),
        sql.SQL(", ").join(
            sql.SQL("{} => {}").format(sql.Identifier(f"p_{argument}"), value)
            for argument, value in arguments.items()
        ),
    )
    results = [found.fetchall() for found in db.execute(query).results() if found.description]
    return {row["job_id"]: row["status"] for row in results[-1]}


def test_the_statuses_are_those_of_the_code() -> None:
    assert tuple(code(row[0]) for row in tables(DOCUMENT)["status"]) == STATUSES
    assert get_args(records.Status) == STATUSES


def test_the_outcomes_are_those_of_the_code() -> None:
    assert [code(row[0]) for row in tables(DOCUMENT)["outcome"]] == [*get_args(records.Outcome)]


def test_the_verdicts_are_those_of_the_code() -> None:
    assert {code(row[0]) for row in tables(DOCUMENT)["verdict"]} == {*get_args(records.Verdict)}
