"""Each rule of tools/sql_check.py finds what is planted for it, where it is, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from jobengine import schema
from tests.contract.small_engine import FILES, write
from tools.sql_check import RULES, own_rules
from tools.sql_rules.reading import read


class Plant(NamedTuple):
    """A change of one file and the rules that find it, each with its line."""

    file: str
    old: str
    new: str
    found: list[tuple[str, int]]


TOUCH = "functions/touch.sql"
REFUSE = "functions/_refuse.sql"
MIGRATION = "migrations/0001_engine.sql"
LOOK = "doctor/look.sql"

PLANTS = {
    # the form of a header
    "no header": Plant(TOUCH, FILES[TOUCH].partition("create")[0], "", [("header-form", 1)]),
    "other name in the header": Plant(
        TOUCH, "-- jobengine.touch:", "-- jobengine.touched:", [("header-form", 1)]
    ),
    "two sentences": Plant(
        TOUCH, "marks jobs as seen.", "marks jobs. As seen.", [("header-form", 1)]
    ),
    "field missing": Plant(TOUCH, "-- Raises: JE002\n", "", [("header-form", 2)]),
    "fields in another order": Plant(
        REFUSE,
        "-- Locks: nothing\n-- Calls: nothing\n",
        "-- Calls: nothing\n-- Locks: nothing\n",
        [("header-form", 2)],
    ),
    "unknown field": Plant(REFUSE, "-- Raises", "-- Author: x\n-- Raises", [("header-form", 2)]),
    "field without a text": Plant(
        REFUSE, "-- Locks: nothing", "-- Locks:", [("header-form", 2), ("header-form", 5)]
    ),
    "header too long": Plant(
        REFUSE, "safe.\n", "safe.\n" + "--   more\n" * 20, [("header-form", 1)]
    ),
    "unknown status": Plant(TOUCH, "→ running;", "→ working;", [("header-form", 2)]),
    "transition to itself": Plant(
        TOUCH, "pending → running;", "pending → pending;", [("header-form", 2)]
    ),
    # a header that is not true
    "write that is not listed": Plant(
        TOUCH, "Writes: job", "Writes: nothing", [("header-writes", 4)]
    ),
    "write that does not happen": Plant(
        TOUCH, "Writes: job", "Writes: job, lease", [("header-writes", 4)]
    ),
    "delete that is not listed": Plant(
        TOUCH,
        "return query",
        "delete from jobengine._migration;\n    return query",
        [("header-writes", 4)],
    ),
    "call that is not listed": Plant(
        TOUCH, "Calls: _now, _refuse", "Calls: _now", [("header-calls", 6)]
    ),
    "call that does not happen": Plant(
        REFUSE, "Calls: nothing", "Calls: _now", [("header-calls", 6)]
    ),
    "error raised below that is not listed": Plant(
        TOUCH, "Raises: JE002", "Raises: nothing", [("header-raises", 7)]
    ),
    "error that nothing raises": Plant(
        TOUCH, "Raises: JE002", "Raises: JE002, JE001", [("header-raises", 7)]
    ),
    "wait that is not told": Plant(
        TOUCH, "; it waits for those that others hold", "", [("header-locks", 5)]
    ),
    "skip that is not told": Plant(
        TOUCH, "for update;", "for update skip locked;", [("header-locks", 5)]
    ),
    "locks that are denied": Plant(
        TOUCH,
        "Locks: its jobs, sorted by id; it waits for those that others hold.",
        "Locks: nothing; it waits.",
        [("header-locks", 5)],
    ),
    # files and functions
    "two functions in a file": Plant(
        REFUSE,
        FILES[REFUSE],
        FILES[REFUSE] + FILES["functions/_now.sql"],
        [("header-raises", 7), ("one-function", 1)],
    ),
    "function of another name": Plant(
        REFUSE, "function jobengine._refuse", "function jobengine._reject", [("file-name", 9)]
    ),
    "function of another schema": Plant(
        REFUSE, "function jobengine._refuse", "function public._refuse", [("file-name", 9)]
    ),
    "body too long": Plant(
        REFUSE, "begin\n", "begin\n" + "    -- more\n" * 80, [("body-length", 9)]
    ),
    # rights
    "search path left open": Plant(
        REFUSE, "set search_path = pg_catalog, pg_temp\n", "", [("search-path", 9)]
    ),
    "internal function with the owner's rights": Plant(
        REFUSE, "language plpgsql\n", "language plpgsql\nsecurity definer\n", [("definer", 9)]
    ),
    "granted function with the caller's rights": Plant(
        TOUCH, "security definer\n", "", [("definer", 10)]
    ),
    "grant of nothing": Plant(
        "grants.sql", "'touch'", "'torch'", [("definer", 1), ("definer", 10)]
    ),
    # bodies
    "now()": Plant(TOUCH, "seen_at = v_now", "seen_at = now()", [("clock", 25)]),
    "clock_timestamp() in a declaration": Plant(
        TOUCH, "jobengine._now()", "clock_timestamp()", [("clock", 16), ("header-calls", 6)]
    ),
    "pg_catalog.now()": Plant(TOUCH, "= v_now", "= pg_catalog.now()", [("clock", 25)]),
    "current_timestamp": Plant(TOUCH, "= v_now", "= current_timestamp", [("clock", 25)]),
    "'now'": Plant(TOUCH, "= v_now", "= 'now'::timestamptz", [("clock", 25)]),
    "clock in a default": Plant(MIGRATION, "not null", "not null default now()", [("clock", 3)]),
    "table without schema": Plant(
        TOUCH, "perform from jobengine.job j", "perform from job j", [("qualified", 21)]
    ),
    "table without schema in a migration": Plant(
        MIGRATION, "table jobengine.job", "table job", [("qualified", 3)]
    ),
    "function without schema": Plant(
        TOUCH,
        "perform jobengine._refuse()",
        "perform _refuse()",
        [("header-calls", 6), ("header-raises", 7), ("qualified", 20)],
    ),
    "type without schema": Plant(
        TOUCH, "select s.* from", "select null::_item, s.* from", [("qualified", 28)]
    ),
    "built SQL": Plant(
        REFUSE, "begin\n", "begin\n    execute 'select 1';\n", [("dynamic-sql", 14)]
    ),
    "loop over built SQL": Plant(
        REFUSE,
        "begin\n",
        "declare\n    v_row record;\nbegin\n"
        "    for v_row in execute 'select 1' loop\n        null;\n    end loop;\n",
        [("dynamic-sql", 16)],
    ),
    "star of a table": Plant(
        TOUCH, "select s.* from seen s", "select s.* from jobengine.job s", [("select-star", 28)]
    ),
    "bare star of a join": Plant(
        TOUCH,
        "select s.* from seen s",
        "select * from seen s join jobengine.job j on true",
        [("select-star", 28)],
    ),
    "star into another row type": Plant(
        TOUCH, "v_old jobengine.job;", "v_old record;", [("select-star", 22)]
    ),
    # the doctor's queries
    "query without its rights": Plant(LOOK, "-- Rights: the owner\n", "", [("doctor-query", 1)]),
    "query of another name": Plant(LOOK, "doctor, look:", "doctor, see:", [("doctor-query", 1)]),
    "query that writes": Plant(
        LOOK,
        "select j.job_id, clock_timestamp() - j.seen_at as age from jobengine.job j;",
        "delete from jobengine.job;",
        [("doctor-query", 1)],
    ),
    "query that locks": Plant(LOOK, "job j;", "job j for update;", [("doctor-query", 1)]),
    "query that reads what is not listed": Plant(
        LOOK, "Reads: jobengine.job", "Reads: jobengine.lease", [("doctor-query", 1)]
    ),
    # the text
    "long line": Plant(REFUSE, "refuses.", "refuses " + "x" * 100 + ".", [("line-length", 1)]),
    "capital keyword": Plant(TOUCH, "perform from", "PERFORM from", [("lower-case", 21)]),
    "capital name in a migration": Plant(MIGRATION, "seen_at", "seenAt", [("lower-case", 3)]),
    "tab": Plant(REFUSE, "    raise", "\traise", [("white-space", 14)]),
    "space at the end": Plant(REFUSE, "begin\n", "begin \n", [("white-space", 13)]),
    "no line end": Plant(REFUSE, "$$;\n", "$$;", [("white-space", 15)]),
    "typographic quote": Plant(
        REFUSE, "it always raises", "it\u2019s raising", [("characters", 3)]
    ),
}


@pytest.mark.parametrize("plant", PLANTS.values(), ids=PLANTS.keys())
def test_a_planted_violation_is_found(plant: Plant, tmp_path: Path) -> None:
    assert FILES[plant.file].count(plant.old) == 1, "the plant has no place"
    files = {**FILES, plant.file: FILES[plant.file].replace(plant.old, plant.new)}
    findings = own_rules(read(write(tmp_path, files)))
    assert sorted((finding.rule, finding.line) for finding in findings) == sorted(plant.found)


def test_an_engine_that_keeps_the_rules_has_no_findings(tmp_path: Path) -> None:
    assert own_rules(read(write(tmp_path, FILES))) == []


def test_the_engine_keeps_the_rules() -> None:
    assert own_rules(read(schema.sql_folder())) == []


def test_every_rule_has_a_plant() -> None:
    """A rule that nothing is planted for may be one that finds nothing."""
    assert {rule for plant in PLANTS.values() for rule, _ in plant.found} == RULES.keys()
