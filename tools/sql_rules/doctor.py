"""The doctor's queries: each one reading statement, under a header that says what it reads."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pglast import ast

from tools.sql_rules.code import SCHEMA, is_a
from tools.sql_rules.reading import Engine, Finding, Script

FOLDER = "doctor"
HEADER = re.compile(
    r"-- jobengine doctor, (?P<name>\w+): [^.]+\.\n-- Reads: (?P<reads>.+)\n-- Rights: .+\n"
)
# No table: current_setting reads them.
SETTINGS = "settings"


def queries(engine: Engine) -> list[Script]:
    """Return the scripts that are queries of the doctor."""
    return [script for script in engine.scripts if script.path.parent.name == FOLDER]


def check(engine: Engine) -> Iterator[Finding]:
    """Check header and statement of every query."""
    for script in queries(engine):
        for message in _faults(script):
            yield Finding(script.path, 1, "doctor-query", message)


def _faults(script: Script) -> Iterator[str]:
    header = HEADER.match(script.path.read_text())
    if header is None or header["name"] != script.path.stem:
        yield "it begins with `-- jobengine doctor, <name>: …`, `-- Reads: …`, `-- Rights: …`"
    trees = [statement.tree for statement in script.code.statements]
    if len(trees) != 1 or not is_a(trees[0], ast.SelectStmt):
        yield "a query is one `select`"
    if any([*script.code.find(ast.LockingClause)]):
        yield "a query locks nothing"
    if header and (wrong := set(header["reads"].split(", ")) - {SETTINGS} ^ _tables(script)):
        yield f"Reads: {', '.join(sorted(wrong))}: the header and the query differ"


def _tables(script: Script) -> set[str]:
    tables = {(table.schemaname, table.relname) for _, table in script.code.find(ast.RangeVar)}
    return {f"{SCHEMA}.{name}" if schema == SCHEMA else name for schema, name in tables}
