"""Who runs a function with whose rights, and where its names are looked up."""

from __future__ import annotations

from collections.abc import Iterator

from pglast import ast

from tools.sql_rules.code import SCHEMA
from tools.sql_rules.reading import Engine, Finding, Function, Script

GRANTS = "grants.sql"


def check(engine: Engine) -> Iterator[Finding]:
    """Check that what is granted, and nothing else, runs as its owner, safely."""
    granted = granted_functions(engine)
    for function in engine.functions.values():
        yield from _name(function)
        if not function.search_path:
            yield _finding(
                function, "search-path", "no `set search_path`: callers choose the names"
            )
        if function.security_definer and function.name not in granted:
            yield _finding(function, "definer", f"SECURITY DEFINER, but not granted in {GRANTS}")
        if not function.security_definer and function.name in granted:
            yield _finding(function, "definer", f"granted in {GRANTS}, but not SECURITY DEFINER")
    for script in engine.scripts:
        for name in sorted(_granted(script).keys() - engine.functions.keys()):
            yield Finding(script.path, 1, "definer", f"grants {name}, which no file creates")


def _name(function: Function) -> Iterator[Finding]:
    if (function.schema, function.name) != (SCHEMA, function.path.stem):
        message = f"creates {function.schema}.{function.name}: the file has the function's name"
        yield _finding(function, "file-name", message)


def _finding(function: Function, rule: str, message: str) -> Finding:
    return Finding(function.path, function.line, rule, message)


def granted_functions(engine: Engine) -> frozenset[str]:
    """Return the functions that some role may call: the engine's public ones."""
    return frozenset(granted_roles(engine))


def granted_roles(engine: Engine) -> dict[str, str]:
    """Return which roles may call each of them."""
    return {name: roles for script in engine.scripts for name, roles in _granted(script).items()}


def _granted(script: Script) -> dict[str, str]:
    """Read the list of functions and roles in grants.sql."""
    if script.path.name != GRANTS:
        return {}
    return {
        row[0].val.sval: row[1].val.sval
        for _, select in script.code.find(ast.SelectStmt)
        for row in select.valuesLists or ()
    }
