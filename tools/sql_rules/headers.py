"""The contract above each function: its form, and whether the body keeps it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pglast import ast, enums

from tools.sql_rules.code import SCHEMA
from tools.sql_rules.reading import Engine, Finding, Function

FIELDS = ("Transition", "Returns", "Writes", "Locks", "Calls", "Raises", "Concurrency")
STATUSES = (
    "pending",
    "claimed",
    "running",
    "completed",
    "failed",
    "cancelled",
    "expired",
    "unknown",
)
NO_JOB = "none"
"""The status of a job that is not there: before enqueue, after prune."""
MAXIMUM_LINES = 25

Edge = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Header:
    """The comment above a function, read."""

    name: str
    sentence: str
    fields: dict[str, str]
    lines: dict[str, int]

    @property
    def transitions(self) -> frozenset[Edge]:
        """From which status to which, one pair each."""
        return transitions(self.fields["Transition"])

    def names(self, field: str) -> frozenset[str]:
        """Return the names that a field lists; what follows a `;` or a `.` explains them."""
        listed = re.split(r"[;.]", self.fields[field])[0]
        return frozenset() if listed.startswith("nothing") else frozenset(listed.split(", "))


def transitions(text: str) -> frozenset[Edge]:
    """Read `a | b → c; d → e` into pairs; `none` alone is no transition."""
    if text == NO_JOB:
        return frozenset()
    edges = set()
    for part in text.split("; "):
        left, _, right = part.partition(" → ")
        for before in left.split(" | "):
            for after in right.split(" | "):
                if {before, after} - {*STATUSES, NO_JOB} or before == after:
                    raise ValueError(f"{before} → {after}")
                edges.add((before, after))
    return frozenset(edges)


def parse(function: Function) -> Header:
    """Read a header that `form` finds nothing wrong with."""
    first, *rest = function.header
    match = re.match(r"-- ([\w.]+): (.*)", first)
    assert match is not None
    fields: dict[str, str] = {}
    lines: dict[str, int] = {}
    name = ""
    for number, line in enumerate(rest, 2):
        if found := re.match(r"-- (\w+): (.*)", line):
            name = found[1]
            fields[name], lines[name] = found[2], number
        elif name:
            fields[name] += " " + line.removeprefix("--").strip()
    return Header(match[1], match[2], fields, lines)


def check(engine: Engine) -> Iterator[Finding]:
    """Check all headers."""
    for function in engine.functions.values():
        problems = list(_form(function))
        yield from problems
        if not problems:
            yield from _truth(engine, function, parse(function))


def _form(function: Function) -> Iterator[Finding]:
    def broken(line: int, message: str) -> Finding:
        return Finding(function.path, line, "header-form", message)

    if len(function.header) > MAXIMUM_LINES:
        yield broken(1, f"{len(function.header)} lines, at most {MAXIMUM_LINES}")
    start = re.escape(f"-- {SCHEMA}.{function.path.stem}: ")
    if not function.header or not re.fullmatch(rf"{start}[^.]+\.", function.header[0]):
        yield broken(1, f"the first line is `-- {SCHEMA}.{function.path.stem}: one sentence.`")
        return
    for number, line in enumerate(function.header[1:], 2):
        if not re.match(r"-- (\w+: |  )\S", line):
            yield broken(number, "a line is `-- Field: text` or `--   more of it`")
    found = tuple(re.findall(r"^-- (\w+): ", "\n".join(function.header[1:]), re.MULTILINE))
    if found != FIELDS:
        yield broken(2, f"the fields are {', '.join(FIELDS)}, in this order, each once")
        return
    yield from _transition_form(function, parse(function))


def _transition_form(function: Function, header: Header) -> Iterator[Finding]:
    try:
        _ = header.transitions
    except ValueError as error:
        line = header.lines["Transition"]
        yield Finding(function.path, line, "header-form", f"no transition of a job: {error}")


def _truth(engine: Engine, function: Function, header: Header) -> Iterator[Finding]:
    for field, true in {
        "Writes": written(function),
        "Calls": called(function),
        "Raises": raised(engine, function.path.stem),
    }.items():
        said = header.names(field)
        for name in sorted(true - said):
            yield untrue(function, header, field, f"leaves out {name}")
        for name in sorted(said - true):
            yield untrue(function, header, field, f"lists {name}, which the body does not")
    yield from locks(function, header)


def locks(function: Function, header: Header) -> Iterator[Finding]:
    """`for update` says whether it waits; whoever changes rows says which it locks."""
    said = header.fields["Locks"]
    policies = {node.waitPolicy for _, node in function.code.find(ast.LockingClause)}
    if enums.LockWaitPolicy.LockWaitBlock in policies and "waits" not in said:
        yield untrue(function, header, "Locks", "`for update` without `skip locked` waits: say so")
    if enums.LockWaitPolicy.LockWaitSkip in policies and "skipping" not in said:
        yield untrue(function, header, "Locks", "`skip locked` skips: say so")
    changes = any(
        True for kind in (ast.UpdateStmt, ast.DeleteStmt) for _ in function.code.find(kind)
    )
    if (changes or policies) and said.startswith("nothing"):
        yield untrue(function, header, "Locks", "the body locks rows")


def untrue(function: Function, header: Header, field: str, message: str) -> Finding:
    rule = f"header-{field.lower()}"
    return Finding(function.path, header.lines[field], rule, message)


def written(function: Function) -> frozenset[str]:
    """Tables that the body itself inserts into, updates or deletes from."""
    kinds = (ast.InsertStmt, ast.UpdateStmt, ast.DeleteStmt, ast.MergeStmt)
    return frozenset(
        node.relation.relname for kind in kinds for _, node in function.code.find(kind)
    )


def called(function: Function) -> frozenset[str]:
    """Functions of ours that the body itself calls."""
    names = ([name.sval for name in node.funcname] for _, node in function.code.find(ast.FuncCall))
    return frozenset(name[-1] for name in names if name[:-1] == [SCHEMA])


def raised(engine: Engine, name: str) -> frozenset[str]:
    """Error codes that a call may end with, raised by it or by what it calls."""
    codes: set[str] = set()
    seen: set[str] = set()
    ahead = {name}
    while ahead:
        function = engine.functions.get(ahead.pop())
        if function is not None and function.path.stem not in seen:
            seen.add(function.path.stem)
            codes |= function.code.raised
            ahead |= called(function)
    return frozenset(codes)
