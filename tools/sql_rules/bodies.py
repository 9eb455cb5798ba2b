"""What the bodies may not do: read a clock, name without a schema, build SQL, lock unsaid."""

from __future__ import annotations

from collections.abc import Iterator

from pglast import ast

from tools.sql_rules.code import SCHEMA, Code, Node, Statement, dotted, is_a, walk
from tools.sql_rules.doctor import FOLDER as DOCTOR
from tools.sql_rules.reading import Engine, Finding, Function, Script

MAXIMUM_LINES = 80
CLOCKS = {
    "now",
    "clock_timestamp",
    "statement_timestamp",
    "transaction_timestamp",
    "timeofday",
}
CLOCK_WORDS = {"now", "today", "tomorrow", "yesterday"}
CLOCK_ENDINGS = ("_DATE", "TIME", "TIMESTAMP", "TIME_N", "TIMESTAMP_N")
CLOCK_FUNCTION = "_now"  # the doctor's queries read the server's: they judge what is there now
# The list of migrations is no part of a job's life: its default may read the server's clock.
CLOCK_COLUMN = ("_migration", "applied_at")
DYNAMIC = {"stmt_dynexecute", "stmt_dynfors"}
DYNAMIC_FUNCTION = "_settle"
# Roles and grants are applied to names that come from a list.
DYNAMIC_SCRIPTS = {"grants.sql", "roles.sql"}
# Ours, and PostgreSQL's: unqualified it is PostgreSQL's, because only pg_catalog is searched.
BUILTIN_TOO = {"count"}


def check(engine: Engine) -> Iterator[Finding]:
    """Check all functions and scripts."""
    for function in engine.functions.values():
        yield from length(function)
        yield from stars(function)
    parts: list[Function | Script] = [*engine.functions.values(), *engine.scripts]
    for part in parts:
        yield from clocks(part)
        yield from _dynamic(part)
        yield from _unqualified(engine, part)


def length(function: Function) -> Iterator[Finding]:
    """Check that a body can be read at once."""
    lines = function.body.strip("\n").count("\n") + 1
    if lines > MAXIMUM_LINES:
        message = f"{lines} lines, at most {MAXIMUM_LINES}: this is two functions"
        yield Finding(function.path, function.line, "body-length", message)


def clocks(part: Function | Script) -> Iterator[Finding]:
    """Check that only one function reads a clock."""
    if part.path.stem == CLOCK_FUNCTION or part.path.parent.name == DOCTOR:
        return
    allowed = {id(node) for node in _allowed_clocks(part.code)}
    for statement in part.code.statements:
        for node in walk(statement.tree):
            if (name := _clock(node)) and id(node) not in allowed:
                line = statement.line_of(getattr(node, "location", 0) or 0)
                yield Finding(
                    part.path, line, "clock", f"{name}: only {SCHEMA}._now() reads a clock"
                )


def _clock(node: Node) -> str | None:
    """Name the clock that a node reads."""
    if is_a(node, ast.FuncCall) and node.funcname[-1].sval in CLOCKS:
        return f"{dotted(node.funcname)}()"
    if is_a(node, ast.SQLValueFunction) and node.op.name.endswith(CLOCK_ENDINGS):
        return str(node.op.name).removeprefix("SVFOP_").lower()
    if is_a(node, ast.TypeCast) and is_a(node.arg, ast.A_Const):
        text = getattr(node.arg.val, "sval", None)
        return f"'{text}'" if text in CLOCK_WORDS else None
    return None


def _allowed_clocks(code: Code) -> Iterator[Node]:
    table, column = CLOCK_COLUMN
    for _, created in code.find(ast.CreateStmt):
        for element in created.tableElts or ():
            if created.relation.relname == table and getattr(element, "colname", None) == column:
                yield from walk(element)


def _dynamic(part: Function | Script) -> Iterator[Finding]:
    if part.path.stem == DYNAMIC_FUNCTION or part.path.name in DYNAMIC_SCRIPTS:
        return
    for block in part.code.blocks:
        if block.kind in DYNAMIC:
            message = f"`execute`: only {DYNAMIC_FUNCTION} runs SQL that it builds"
            yield Finding(part.path, block.line, "dynamic-sql", message)


def _unqualified(engine: Engine, part: Function | Script) -> Iterator[Finding]:
    for statement in part.code.statements:
        for name, location in _bare_names(engine, statement):
            message = f"{name}: write {SCHEMA}.{name}"
            yield Finding(part.path, statement.line_of(location), "qualified", message)


def _bare_names(engine: Engine, statement: Statement) -> Iterator[tuple[str, int]]:
    """Names of ours that stand without their schema."""
    local = {node.ctename for node in statement.find(ast.CommonTableExpr)}
    local |= {
        table.relname  # `for update of alias`
        for locking in statement.find(ast.LockingClause)
        for table in locking.lockedRels or ()
    }
    for table in statement.find(ast.RangeVar):
        if not (table.schemaname or table.relname in local or table.relname.startswith("pg_")):
            yield table.relname, table.location
    ours = engine.functions.keys() - BUILTIN_TOO
    for call in statement.find(ast.FuncCall):
        if len(call.funcname) == 1 and call.funcname[0].sval in ours:
            yield call.funcname[0].sval, call.location
    for named in statement.find(ast.TypeName):
        if len(named.names) == 1 and named.names[0].sval in engine.types | engine.tables:
            yield named.names[0].sval, named.location


def stars(function: Function) -> Iterator[Finding]:
    """A table's star is fine only where the row type of that table receives it."""
    for statement in function.code.statements:
        for select in statement.find(ast.SelectStmt):
            for table, location in _starred(select, statement):
                receiver = function.declared.get(statement.target or "", function.returned)
                if table != receiver:
                    message = f"a star stands for the columns of {table}: name them"
                    yield Finding(
                        function.path, statement.line_of(location), "select-star", message
                    )


def _starred(select: Node, statement: Statement) -> Iterator[tuple[str, int]]:
    """Yield the tables whose columns a star of this select stands for."""
    local = {node.ctename for node in statement.find(ast.CommonTableExpr)}
    tables = dict(_sources(select.fromClause or ()))
    for target in select.targetList or ():
        if is_a(target.val, ast.ColumnRef) and is_a(target.val.fields[-1], ast.A_Star):
            prefix = [field.sval for field in target.val.fields[:-1]]
            for alias, table in tables.items():
                if (not prefix or prefix == [alias]) and table not in local:
                    yield table, target.val.location


def _sources(items: tuple[Node, ...]) -> Iterator[tuple[str, str]]:
    """Yield alias and name of the tables of a `from`; functions and subselects are none."""
    for item in items:
        if is_a(item, ast.RangeVar):
            name = ".".join(part for part in (item.schemaname, item.relname) if part)
            yield (item.alias.aliasname if item.alias else item.relname), name
        elif is_a(item, ast.JoinExpr):
            yield from _sources((item.larg, item.rarg))
