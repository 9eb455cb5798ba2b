"""The rules for `sql/platform`, whose functions are in schema `public` and move no job themselves.

A header has no Transition, and Notes in place of Concurrency. Calls of another schema's functions
are listed with the schema. Refusals go through `_refuse`, whose first argument is the code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pglast import ast

from tools.sql_rules import bodies, headers, layout
from tools.sql_rules.code import is_a
from tools.sql_rules.reading import Engine, Finding, Function

FOLDER = Path(__file__).parent.parent.parent / "sql" / "platform"
SCHEMA = "public"
FIELDS = ("Returns", "Writes", "Locks", "Calls", "Raises")
NOTES = "Notes"
REFUSE = "_refuse"
# Schemas whose functions a header names; what is in pg_catalog is PostgreSQL's.
OTHERS = ("jobengine", "auth")


def check(engine: Engine) -> Iterator[Finding]:
    """Check every file of the platform."""
    yield from engine.problems
    yield from layout.check(engine)
    for function in engine.functions.values():
        yield from _form(function)
        yield from bodies.length(function)
        yield from bodies.stars(function)
        yield from bodies.clocks(function)
        if not function.search_path:
            yield _finding(function, "search-path", "no `set search_path`: callers choose names")


def _finding(function: Function, rule: str, message: str) -> Finding:
    return Finding(function.path, function.line, rule, message)


def _form(function: Function) -> Iterator[Finding]:
    name = f"{SCHEMA}.{function.path.stem}"
    if f"{function.schema}.{function.name}" != name:
        message = f"creates {function.schema}.{function.name}: the file has the function's name"
        yield _finding(function, "file-name", message)
    problems = list(_header_form(function, name))
    yield from problems
    if not problems:
        yield from _truth(function, headers.parse(function))


def _header_form(function: Function, name: str) -> Iterator[Finding]:
    def broken(line: int, message: str) -> Finding:
        return Finding(function.path, line, "header-form", message)

    if not function.header or not re.fullmatch(rf"-- {name}: [^.]+\.", function.header[0]):
        yield broken(1, f"the first line is `-- {name}: one sentence.`")
        return
    if len(function.header) > headers.MAXIMUM_LINES:
        yield broken(1, f"{len(function.header)} lines, at most {headers.MAXIMUM_LINES}")
    for number, line in enumerate(function.header[1:], 2):
        if not re.match(r"-- (\w+: |  )\S", line):
            yield broken(number, "a line is `-- Field: text` or `--   more of it`")
    found = tuple(re.findall(r"^-- (\w+): ", "\n".join(function.header[1:]), re.MULTILINE))
    if found not in {FIELDS, (*FIELDS, NOTES)}:
        yield broken(2, f"the fields are {', '.join(FIELDS)} and perhaps {NOTES}, in this order")


def _truth(function: Function, header: headers.Header) -> Iterator[Finding]:
    for field, true in {
        "Writes": _written(function),
        "Calls": _called(function),
    }.items():
        said = _names(header, field)
        for name in sorted(true - said):
            yield headers.untrue(function, header, field, f"leaves out {name}")
        for name in sorted(said - true):
            yield headers.untrue(function, header, field, f"lists {name}, which the body does not")
    for code in sorted(_refusals(function) - _names(header, "Raises")):
        yield headers.untrue(function, header, "Raises", f"leaves out {code}")
    yield from headers.locks(function, header)


def _names(header: headers.Header, field: str) -> frozenset[str]:
    """Return what a field lists; a name of another schema has a dot in it."""
    listed = header.fields[field].split(";")[0]
    return frozenset() if listed == "nothing" else frozenset(listed.split(", "))


def _written(function: Function) -> frozenset[str]:
    """Tables that the body writes; those of another schema with it."""
    kinds = (ast.InsertStmt, ast.UpdateStmt, ast.DeleteStmt)
    relations = (node.relation for kind in kinds for _, node in function.code.find(kind))
    return frozenset(
        relation.relname
        if relation.schemaname == SCHEMA
        else f"{relation.schemaname}.{relation.relname}"
        for relation in relations
    )


def _called(function: Function) -> frozenset[str]:
    """Functions of the platform, the engine and `auth` that the body itself calls."""
    names = ([name.sval for name in node.funcname] for _, node in function.code.find(ast.FuncCall))
    return frozenset(
        name[-1] if name[0] == SCHEMA else ".".join(name)
        for name in names
        if name[0] in {SCHEMA, *OTHERS}
    )


def _refusals(function: Function) -> frozenset[str]:
    """Codes that the body itself raises, by `raise` or by `_refuse`."""
    calls = (node for _, node in function.code.find(ast.FuncCall))
    refusals = (call.args[0] for call in calls if call.funcname[-1].sval == REFUSE)
    return function.code.raised | {
        argument.val.sval for argument in refusals if is_a(argument, ast.A_Const)
    }
