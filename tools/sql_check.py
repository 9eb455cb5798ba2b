"""Checks the SQL: our rules for engine and platform, plpgsql_check and the doctor's queries.

`python3 dev.py exec nox -s sql`. One line per finding: `file:line rule message`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from jobengine import schema
from tools.sql_rules import bodies, debian, doctor, headers, layout, platform, plpgsql, rights
from tools.sql_rules.reading import Engine, Finding, read

RULES = {
    "body-length": "a body has at most 80 lines",
    "characters": "ASCII, the arrow of transitions and the ellipsis",
    "clock": "only jobengine._now(), and the doctor, read a clock",
    "definer": "exactly the granted functions are SECURITY DEFINER",
    "doctor-query": "a query of the doctor is one `select` that its header describes",
    "dynamic-sql": "only _settle runs SQL that it builds",
    "file-name": "a file has the name of its function, which is in schema jobengine",
    "header-form": "one sentence, then the seven fields in their order, at most 25 lines",
    "header-writes": "the tables that the body itself inserts into, updates or deletes from",
    "header-calls": "the functions of ours that the body itself calls",
    "header-raises": "the error codes raised here or by what is called",
    "header-locks": "`for update` says whether it waits or skips; changed rows are named",
    "line-length": "at most 120 characters",
    "lower-case": "keywords and names are lower case",
    "one-function": "a file in functions/ is one `create function` and its header",
    "qualified": "tables, functions and types of ours are written with their schema",
    "search-path": "every function pins its search path",
    "select-star": "no star stands for the columns of a table",
    "white-space": "no tabs, none at the end of a line, one line end at the end of a file",
}


def own_rules(engine: Engine) -> list[Finding]:
    """Everything that our rules find, in the order of the files."""
    return sorted({*engine.problems, *_findings(engine)})


def _findings(engine: Engine) -> Iterator[Finding]:
    for rules in (layout, rights, headers, bodies, doctor):
        yield from rules.check(engine)


def show(findings: list[Finding]) -> None:
    """Print the findings, with paths as they are typed."""
    for finding in findings:
        path = finding.path.absolute()
        here = Path.cwd()
        shown = path.relative_to(here) if path.is_relative_to(here) else path
        print(f"{shown}:{finding.line} {finding.rule} {finding.message}")


def run_plpgsql_check(engine: Engine, host: Engine) -> tuple[list[Finding], bool]:
    """Return what plpgsql_check finds, and whether it could be asked."""
    try:
        return plpgsql.check(engine, host), True
    except debian.Unavailable as reason:
        print(f"NOT RUN: plpgsql_check on PostgreSQL 15: {reason}")
        return [], False


def main() -> int:
    """Run both parts and return the exit status: a part that CI cannot run has failed."""
    engine, host = read(schema.sql_folder()), read(platform.FOLDER)
    findings = own_rules(engine) + sorted(set(platform.check(host)))
    checked = True
    if not (engine.problems or host.problems):
        found, checked = run_plpgsql_check(engine, host)
        findings += found
    show(findings)
    print(f"{len(engine.files)} files, {len(engine.functions)} functions, {len(findings)} findings")
    return 1 if findings or (not checked and os.environ.get("CI") == "true") else 0


if __name__ == "__main__":
    sys.exit(main())
