"""SQL and PL/pgSQL as trees, read by PostgreSQL's own parser (pglast), with their lines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pglast import ast, parse_plpgsql, parse_sql

SCHEMA = "jobengine"
# Schemas whose types the parser of PL/pgSQL does not know.
_OURS = rf"(?:{SCHEMA}|public)"
# What comes before a bare expression of PL/pgSQL, to make a statement of it.
_EXPRESSION = "select "
# Modes of PL/pgSQL's expressions: 0 is a statement, 2 an expression, above an assignment.
_STATEMENT_MODE, _EXPRESSION_MODE = 0, 2

# A node of the parser's tree. pglast types every slot as optional; the grammar says which are not.
Node = Any


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL statement or expression, wherever it stands."""

    text: str
    line: int
    tree: Node
    target: str | None = None
    """The variable that receives the row of `select … into`."""

    def find(self, kind: type[ast.Node]) -> Iterator[Node]:
        """Every node of this kind in it."""
        return (node for node in walk(self.tree) if isinstance(node, kind))

    def line_of(self, location: int) -> int:
        """The file's line of a place in the text; a place is counted in bytes."""
        return self.line + self.text.encode()[: max(location, 0)].count(b"\n")


@dataclass(frozen=True, slots=True)
class Block:
    """What a statement of PL/pgSQL tells beyond the SQL in it."""

    kind: str
    line: int


@dataclass(frozen=True, slots=True)
class Code:
    """A body: of a function, of a `do` block, or the statements of a plain file."""

    statements: tuple[Statement, ...]
    blocks: tuple[Block, ...] = ()
    raised: frozenset[str] = frozenset()
    """The error codes of its `raise` statements."""

    def find(self, kind: type[ast.Node]) -> Iterator[tuple[Statement, Node]]:
        """Every node of this kind, with the statement it stands in."""
        for statement in self.statements:
            for node in statement.find(kind):
                yield statement, node


def walk(node: object) -> Iterator[Node]:
    """Yield a node and all nodes below it."""
    if isinstance(node, ast.Node):
        yield node
        for slot in node:
            yield from walk(getattr(node, slot))
    elif isinstance(node, tuple):
        for part in node:
            yield from walk(part)


def is_a(node: Node, *kinds: type[ast.Node]) -> bool:
    """Tell the kind of a node, which stays untyped."""
    return isinstance(node, kinds)


def dotted(names: tuple[Any, ...]) -> str:
    """Write a qualified name as it is written in SQL."""
    return ".".join(name.sval for name in names)


def parsed(text: str) -> list[Node]:
    """Return the trees of the statements, with their places."""
    return list(parse_sql(text))


def statements(text: str, line: int) -> Iterator[Statement]:
    """Read the statements of a text that begins on this line."""
    encoded = text.encode()
    for raw in parsed(text):
        end = raw.stmt_location + raw.stmt_len if raw.stmt_len else len(encoded)
        part = encoded[raw.stmt_location : end]
        before = encoded[: end - len(part.lstrip())]
        inner = part.strip().decode()
        yield Statement(inner, line + before.count(b"\n"), parsed(inner)[0].stmt)


def procedural(text: str, line: int) -> Code:
    """Read a `create function` or `do` in PL/pgSQL whose body begins on this line of the file."""
    text = _readable(text)
    reader = _Reader(text, line - _body_line(text))
    for kind, content, at in _parts(parse_plpgsql(text)):
        reader.take(kind, content, at + _body_line(text) - 1)
    return Code(tuple(reader.statements), tuple(reader.blocks), frozenset(reader.raised))


class _Reader:
    """Collects what stands in one text; `shift` makes the file's lines of the text's."""

    def __init__(self, text: str, shift: int) -> None:
        self._lines = text.split("\n")
        self._shift = shift
        self.statements: list[Statement] = []
        self.blocks: list[Block] = []
        self.raised: set[str] = set()

    def take(self, kind: str, content: dict[str, Any], at: int) -> None:
        if kind == "PLpgSQL_expr":
            self._expression(content, at)
        elif kind == "PLpgSQL_stmt_execsql":
            target = content.get("target", {}).get("PLpgSQL_rec", {}).get("refname")
            self._expression(content["sqlstmt"]["PLpgSQL_expr"], at, target)
        elif kind == "PLpgSQL_stmt_raise":
            self.raised.update(_raised(content))
        self.blocks.append(Block(kind.removeprefix("PLpgSQL_"), at + self._shift))

    def _expression(self, content: dict[str, Any], at: int, target: str | None = None) -> None:
        query, mode = content["query"], content["parseMode"]
        line = self._line_of(query, at) + self._shift
        if mode > _EXPRESSION_MODE:
            query = query.partition(":=")[2].strip()
        text = query if mode == _STATEMENT_MODE else _EXPRESSION + query
        self.statements.append(Statement(text, line, parsed(text)[0].stmt, target))

    def _line_of(self, query: str, at: int) -> int:
        """A query begins on its statement's line or below it."""
        first = query.partition("\n")[0]
        below = enumerate(self._lines[at - 1 :], at)
        return next((number for number, content in below if first in content), at)


def _readable(text: str) -> str:
    """Replace our types in the declarations, which the parser looks up in a catalog it lacks."""
    head, begin, rest = text.partition("\nbegin\n")
    head = re.sub(rf"\b{_OURS}\.\w+\[\]", "text[]", head)
    head = re.sub(rf"(\n +\w+) {_OURS}\.\w+;", r"\1 record;", head)
    head = re.sub(rf"\b(setof|returns) {_OURS}\.\w+\b(?!\()", r"\1 text", head)
    return head + begin + rest


def _body_line(text: str) -> int:
    return text.count("\n", 0, text.index("$$")) + 1


def _parts(node: object, at: int = 0) -> Iterator[tuple[str, dict[str, Any], int]]:
    """Yield every node of PL/pgSQL's tree with the body's line of the statement it belongs to."""
    if isinstance(node, list):
        for part in node:
            yield from _parts(part, at)
    elif isinstance(node, dict):
        for kind, content in node.items():
            here = content.get("lineno", at) if isinstance(content, dict) else at
            if kind.startswith("PLpgSQL_"):
                yield kind, content, here
            # The SQL of such a statement is read together with the target of its `into`.
            if kind != "sqlstmt":
                yield from _parts(content, here)


def _raised(content: dict[str, Any]) -> Iterator[str]:
    for option in content.get("options", ()):
        query = option["PLpgSQL_raise_option"]["expr"]["PLpgSQL_expr"]["query"]
        yield from re.findall(r"'(JE\d{3})'", query)
